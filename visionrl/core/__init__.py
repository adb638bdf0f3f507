"""The engine: tasks, their adapters to Gymnasium, the registry, and the checks that every task must pass."""

from visionrl.core.arguments import arguments, checked, describe_arguments, did_you_mean
from visionrl.core.env import TaskEnv
from visionrl.core.registry import (
    BASELINES,
    TASKS,
    UnknownArgumentError,
    baseline,
    entry_of,
    make_task,
    register,
)
from visionrl.core.task import Task, check_choice
from visionrl.core.vector_env import TaskVectorEnv

__all__ = [
    "BASELINES",
    "TASKS",
    "Task",
    "TaskEnv",
    "TaskVectorEnv",
    "UnknownArgumentError",
    "arguments",
    "baseline",
    "check_choice",
    "checked",
    "describe_arguments",
    "did_you_mean",
    "entry_of",
    "make_task",
    "register",
]
