"""The rules that every task must keep, as checks that anyone can run on a task of their own.

    from visionrl.core.conformance import check
    check("visionrl/LandmarkLocalization-v0")

Every check takes an id and the task's constructor arguments, and raises ``AssertionError`` with the rule that is
broken. ``CHECKS`` lists them by name, for a test to loop over. Needs ``array-api-strict`` and torch.

Checks of one task share what they record (``conformance.moments``), so run them one after the other in one process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from visionrl.core.conformance.backends import check_array_api, check_no_device_leak, check_torch
from visionrl.core.conformance.chance import check_sampling, check_seeds, check_splits
from visionrl.core.conformance.experts import check_expert, check_good_actions, check_success
from visionrl.core.conformance.interface import check_docstring, check_gymnasium, check_spec
from visionrl.core.conformance.observations import check_hidden, check_observations
from visionrl.core.conformance.processes import check_new_process
from visionrl.core.conformance.rows import (
    check_rows_independent,
    check_rows_replay_on_torch,
    check_rows_replay_single,
)
from visionrl.core.conformance.states import check_ends, check_extremes, check_state_untouched

__all__ = ["CHECKS", "check"]

CHECKS: dict[str, Callable[..., None]] = {
    run.__name__.removeprefix("check_"): run
    for run in (
        check_spec,
        check_docstring,
        check_gymnasium,
        check_seeds,
        check_sampling,
        check_splits,
        check_new_process,
        check_rows_replay_single,
        check_rows_replay_on_torch,
        check_rows_independent,
        check_array_api,
        check_torch,
        check_no_device_leak,
        check_state_untouched,
        check_ends,
        check_extremes,
        check_observations,
        check_hidden,
        check_expert,
        check_success,
        check_good_actions,
    )
}


def check(task_id: str, **kwargs: Any) -> None:
    """Run every check on a registered task; ``kwargs`` go to its constructor."""
    for run in CHECKS.values():
        run(task_id, **kwargs)
