"""A person at a keyboard in the place of an agent: what they find in new files is written as an agent's results are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import cv2
import numpy as np
from gymnasium import spaces

from visionrl.agents.prediction.agent import Agent
from visionrl.agents.prediction.track_view import ROOM, display
from visionrl.core import Task, batch, entry_of
from visionrl.core.capabilities import Clickable, Reports, name_of

ENTER = (13, 1073741912)  # SDL's key codes, of the keypad too


class Click(NamedTuple):
    """A click in a picture.

    Attributes:
        place: (2,) x and y in [0, 1], in sides of the picture.
        first_button: True for the left button, False for the right one.
    """

    place: np.ndarray
    first_button: bool


# (H, W, 3) picture -> code of the key that is pressed, or the click
Ask = Callable[[np.ndarray], int | Click]


class Closed(Exception):
    """Raised when the person ends the play."""


class Person(Agent):
    """A person who is shown each state, and acts by a key or a click; Enter leaves the episode as it is.

    Args:
        env: id of the task.
        env_kwargs: arguments of the task.
        ask: see ``key_window``.
        keys: code of a key -> action.
    """

    def __init__(self, env: str, env_kwargs: Mapping[str, Any], ask: Ask, keys: Mapping[int, int]) -> None:
        own = getattr(entry_of(env).task, "by_hand", {})
        super().__init__(entry_of(env).id, None, {**own, **env_kwargs}, name="person")
        self.ask, self.keys = ask, keys

    def run_episodes(self, task: Task, states: list[Any]) -> tuple[Any, int]:
        """The last states of episodes one after another, and the number of actions.

        Raises:
            Closed: the person ends the play.
            ValueError: the task's actions are not a choice among a few.
        """
        if not isinstance(task.action_space, spaces.Discrete):
            rule = "actions must be a choice among a few to be played"
            raise ValueError(f"{rule}, got {name_of(task.action_space)}")
        count, ends, steps = int(task.action_space.n), [], 0
        for start in states:
            state = batch.stack([start])
            while not task.terminated(state)[0]:
                task.observe(state)  # a task that is watched notes what is looked at
                key = self.ask(task.draw(batch.take(state, 0)))
                if key in ENTER:
                    break
                action = self.action_of(task, batch.take(state, 0), key)
                if action < count:
                    sure = task.with_confidence(state, np.ones(1)) if isinstance(task, Reports) else state
                    state, steps = task.step(sure, np.array([action])), steps + 1
            ends.append(batch.take(state, 0))
        return batch.stack(ends), steps

    def action_of(self, task: Task, state: Any, given: int | Click) -> int:
        """The action of a key or a click; the number of all actions for what is none."""
        count = int(task.action_space.n)  # type: ignore[attr-defined]
        if isinstance(task, Clickable):
            return task.click_action(state, *given) if isinstance(given, Click) else count
        return count if isinstance(given, Click) else self.keys.get(given, count)


@contextmanager
def key_window(title: str) -> Iterator[Ask]:
    """Open a window; yields a function that shows a picture and waits for a key or a click.

    It raises ``Closed`` at Escape, and when the window is closed.

    Raises:
        ValueError: no window can be opened.
    """
    pygame = display("files without labels must be played in a window")

    def ask(picture: np.ndarray) -> int | Click:
        show(picture)
        while True:
            event = pygame.event.wait()
            if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE):
                raise Closed
            if event.type == pygame.KEYDOWN:
                return event.key
            if event.type == pygame.MOUSEBUTTONDOWN and event.button in (1, 3):
                size = np.array(pygame.display.get_surface().get_size(), float)
                return Click((np.array(event.pos) + 0.5) / size, event.button == 1)

    def show(picture: np.ndarray) -> None:
        factor = min(1, room[0] / picture.shape[1], room[1] / picture.shape[0])
        fitted = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        size, screen = fitted.shape[1::-1], pygame.display.get_surface()
        if screen is None or screen.get_size() != size:
            screen = pygame.display.set_mode(size)
        screen.blit(pygame.image.frombuffer(fitted.tobytes(), size, "RGB"), (0, 0))
        pygame.display.flip()

    try:
        room = [ROOM * side for side in pygame.display.get_desktop_sizes()[0]]
        pygame.display.set_caption(title)
        yield ask
    finally:
        pygame.display.quit()
