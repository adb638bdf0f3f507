"""Rules of array libraries: the middle runs on any of them and on any device, and never goes by way of the host."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.core import batch
from visionrl.core.conformance.moments import middle, moments
from visionrl.core.conformance.rules import alike, close, equal, require
from visionrl.core.registry import entry_of

TO_HOST = {
    *("__array__", "__bool__", "__contains__", "__dlpack__", "__float__", "__index__", "__int__", "__iter__"),
    *("cpu", "item", "nonzero", "numpy", "tolist"),
}
LIBRARIES = ("torch.", "array_api_compat")
CHOICES = ("expert", "good_actions")  # ties of these may fall either way by rounding


def check_array_api(task_id: str, **kwargs: Any) -> None:
    """The middle keeps to the array API standard: array-api-strict, on its second device, gives what NumPy gives."""
    if "torch" not in entry_of(task_id).task.backends:
        return
    import array_api_strict as strict

    device = strict.Device("device1")
    for task, state, action in moments(task_id, **kwargs):
        here = middle(task, state, action)
        there = batch.each(state, lambda x: strict.asarray(x, device=device))
        for name, value in middle(task, there, strict.asarray(action, device=device)).items():
            _require_home(name, value.device, device)
            got = ops.to_numpy(value)
            _require_dtype(name, got.dtype, here[name].dtype)
            close(got, here[name], name)


def check_torch(task_id: str, **kwargs: Any) -> None:
    """The middle on torch gives what NumPy gives, writes into nothing, and brings no array to the host."""
    if "torch" not in entry_of(task_id).task.backends:
        return
    import torch

    for task, state, action in moments(task_id, **kwargs):
        here = middle(task, state, action)
        there, act = batch.each(state, _tensor), _tensor(action)
        middle(task, there, act)  # fills tables that are kept
        with _host_guard()():
            out = middle(task, there, act)
        for name, value in out.items():
            _require_dtype(name, ops.to_numpy(value).dtype, here[name].dtype)
            if name not in CHOICES:
                alike(value, here[name], name)
        kept = {key: ops.to_numpy(value) for key, value in vars(there).items()}
        require(equal(kept, vars(state)), "the middle must not write into a state of torch")
        require(torch.equal(act, _tensor(action)), "step must not write into the action")


def check_no_device_leak(task_id: str, **kwargs: Any) -> None:
    """The middle runs on torch's meta device, which refuses any mix with the CPU."""
    if "torch" not in entry_of(task_id).task.backends:
        return
    import torch

    for task, state, action in (moments(task_id, **kwargs)[k] for k in (0, -1)):
        there = batch.each(state, lambda x: torch.asarray(x, device="meta"))
        for name, value in middle(task, there, torch.asarray(action, device="meta")).items():
            _require_home(name, value.device.type, "meta")


def _require_home(name: str, got: Any, wanted: Any) -> None:
    require(got == wanted, f"{name} must stay on the device of the state, it is on {got}")


def _require_dtype(name: str, got: Any, wanted: Any) -> None:
    require(got == wanted, f"{name} must be {wanted} everywhere, got {got}")


def _tensor(x: np.ndarray) -> Any:
    import torch

    return torch.asarray(np.array(x))


def _host_guard() -> Any:
    """A mode of torch in which bringing values to the host raises; a class, made late since torch is heavy."""
    from torch.overrides import TorchFunctionMode

    class HostGuard(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = getattr(func, "__name__", "")
            allowed = name not in TO_HOST or _asked_by_a_kernel()
            require(allowed, f"the middle must not bring arrays to the host, it calls Tensor.{name}")
            return func(*args, **(kwargs or {}))

    return HostGuard


def _asked_by_a_kernel() -> bool:
    """Tell if a kernel of ``visionrl.ops`` asks, which on the CPU may be one of OpenCV; it chooses by the device."""
    frame: Any = sys._getframe(2)
    while frame.f_globals["__name__"].startswith(LIBRARIES) or frame.f_code.co_name == "to_numpy":
        frame = frame.f_back
    return frame.f_globals["__name__"].startswith("visionrl.ops")
