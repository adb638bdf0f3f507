"""Computer-vision tasks as Gymnasium environments, and the agents that solve them."""

from typing import Any

from visionrl import (  # registers every task in Gymnasium, and the classical methods beside them
    baselines,
    envs,
)

__version__ = "0.1.0"
__all__ = ["__version__", "baselines", "envs", "load_agent", "make_vec_env"]


def make_vec_env(env_id: str, n_envs: int = 1, **kwargs: Any) -> Any:
    """A batched environment for Stable-Baselines3; see ``visionrl.agents.make_vec_env``."""
    from visionrl.agents import make_vec_env as make

    return make(env_id, n_envs, **kwargs)


def load_agent(run: str, device: str = "auto") -> Any:
    """A trained agent, ready for new files; see ``visionrl.agents.load_agent``."""
    from visionrl.agents import load_agent as load

    return load(run, device)
