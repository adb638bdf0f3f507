"""Recipes are hyper-parameters: they name a preset, and change nothing else of the task."""

import pytest

from visionrl.agents.training.config import TrainConfig, load_recipe, resolve
from visionrl.core import TASKS, make_task
from visionrl.core.registry import argument_names

WITH_RECIPE = [task_id for task_id in sorted(TASKS) if load_recipe(task_id)]


def test_most_tasks_have_a_recipe():
    assert len(WITH_RECIPE) >= 12


@pytest.mark.parametrize("task_id", WITH_RECIPE)
def test_a_recipe_resolves_and_names_a_preset_of_the_task(task_id):
    config = resolve(TrainConfig(env=task_id))
    assert config.preset is None or config.preset in TASKS[task_id].presets
    assert set(config.env_kwargs) <= {"preset"}, "a recipe changes nothing of the task but by its preset"
    assert set(config.train_kwargs) <= argument_names(TASKS[task_id].task) | {"preset", "max_episode_steps"}


@pytest.mark.slow
@pytest.mark.parametrize("task_id", [name for name in WITH_RECIPE if "3D" not in name])
def test_the_task_of_a_recipe_is_that_of_gym_make(task_id):
    config = resolve(TrainConfig(env=task_id))
    task, made = make_task(task_id, **config.env_kwargs), make_task(task_id, preset=config.preset)
    assert task.observation_space == made.observation_space and task.action_space == made.action_space


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[dqn.clonned]\ngamma = 1", "has 'clonned'"),
        ("dqn = 3", "has 'dqn'"),
        ("[presets.cpus]\nclone_steps = 1", "presets of visionrl/Detection-v0, .* has 'cpus'"),
        ('preset = "big"', "has 'big'"),
        ("[env]\nwindow = 3", "has 'env'; arguments of a task are a preset's"),
        ("x = [", "is not"),
    ],
)
def test_a_misspelt_recipe_is_refused(tmp_path, text, words):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ValueError, match=words):
        load_recipe("Detection-v0", str(tmp_path / "r.toml"))
