"""Computer-vision tasks as Gymnasium environments, and the agents that solve them."""

import multiprocessing
from typing import Any

from visionrl import (  # registers every task in Gymnasium, and the classical methods beside them
    baselines,
    envs,
)

__version__ = "0.1.0"
__all__ = ["__version__", "baselines", "envs", "load_agent", "make_vec_env"]


WORKER_IMPORTS = ("stable_baselines3.common.vec_env.subproc_vec_env", "gymnasium", "cv2")


def _share_imports() -> None:
    """Let the server that forks worker processes import once what each of them would: torch alone takes 260 MiB.

    ``SubprocVecEnv`` of Stable-Baselines3 starts its workers so where the system can. A list that the user has given to
    ``multiprocessing.set_forkserver_preload`` before stays, and one that is given later replaces this one.
    """
    if "forkserver" in multiprocessing.get_all_start_methods():
        from multiprocessing import forkserver

        server = getattr(forkserver, "_forkserver", None)
        if getattr(server, "_preload_modules", None) == ["__main__"]:
            multiprocessing.set_forkserver_preload(["__main__", *WORKER_IMPORTS])


_share_imports()


def make_vec_env(env_id: str, n_envs: int = 1, **kwargs: Any) -> Any:
    """A batched environment for Stable-Baselines3; see ``visionrl.agents.make_vec_env``."""
    from visionrl.agents import make_vec_env as make

    return make(env_id, n_envs, **kwargs)


def load_agent(run: str, device: str = "auto") -> Any:
    """A trained agent, ready for new files; see ``visionrl.agents.load_agent``."""
    from visionrl.agents import load_agent as load

    return load(run, device)
