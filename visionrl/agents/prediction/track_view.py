"""Views of a tracker in a video: recorded frame by frame, drawn, and shown in a live window."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from visionrl.core import Task
from visionrl.rendering import PALETTE, Canvas, why_no_window

SMALLEST = 480  # smaller frames are enlarged, by a whole factor, to at least this longer side
ROOM = 0.9  # share of the screen that a window may take, for its frame and the desktop's bars
INSET = 0.25  # side of the agent's own view, in shorter sides of the picture
LINE = 640  # sides of a picture, pixels, for each pixel of a thin line's width
STRONG = 3  # width of the box's line, in thin lines


@dataclass(frozen=True)
class FrameView:
    """Everything that a tracker looked at in a finished frame.

    Attributes:
        number: of the frame.
        box: (4,) the edges it ended with, in pixels.
        boxes: (4,) each, around which the agent looked on the way, in their order; none of a classical method.
        squares: (4,) what the correlation filter searched last; none where there is no filter.
        window: (C, w, w) uint8, what the agent was shown last, if it is shown pixels.
    """

    number: int
    box: np.ndarray
    boxes: Sequence[np.ndarray] = ()
    squares: Sequence[np.ndarray] = ()
    window: np.ndarray | None = None


Show = Callable[[np.ndarray, FrameView], bool]  # (H, W, C) frame, what was viewed -> whether to go on


@dataclass
class TrackedTask:
    """Tracking task, one episode, that records observations and reports every finished frame.

    Everything else is the task's. Each observation counts as a view; classical methods place the box without one.

    Attributes:
        task: the task.
        tell: gets every finished frame; where it gives False, the episode ends there.
    """

    task: Task
    tell: Callable[[FrameView], bool]
    looks: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dataclass_fields__:  # not set yet, as where it is copied
            raise AttributeError(name)
        return getattr(self.task, name)

    def observe(self, state: Any) -> Any:
        """Observe as the task does, and record the view."""
        seen = self.task.observe(state)
        self.looks = {
            "boxes": [*self.looks.get("boxes", ()), state.box[0]],
            "squares": [square[0] for square in self.task.responses.search_squares(state.box)],  # type: ignore[attr-defined]
            "window": seen["window"][0] if "window" in seen else None,
        }
        return seen

    def step(self, state: Any, action: Any) -> Any:
        """Step as the task does; report the view when the frame is finished."""
        after = self.task.step(state, action)
        if after.finished[0] or after.frame[0] != state.frame[0]:
            looks, self.looks = self.looks, {}
            if not self.tell(FrameView(int(state.frame[0]), after.box[0], **looks)):
                return replace(after, finished=np.array([True]))
        return after


def draw_view(image: np.ndarray, view: FrameView, zoom: float | None = None) -> np.ndarray:
    """A frame, (H, W, C) uint8, with what was looked at in thin lines and the box that it ended with in a strong one.

    Args:
        image: the frame.
        view: of the frame.
        zoom: see ``Canvas``.

    Returns:
        (H', W', 3) uint8.
    """
    canvas = Canvas(image.transpose(2, 0, 1), zoom)
    canvas.text(str(view.number))  # under the lines, which it must not hide
    thin = max(round(max(canvas.pixels.shape) / LINE), 1)
    for edges in (*view.squares, *view.boxes):
        canvas.box(edges, "look", thin)
    canvas.box(view.box, "agent", STRONG * thin - 1)  # OpenCV draws 2 as 3 pixels
    return canvas.pixels


def draw_tracks(
    image: np.ndarray, ids: Sequence[int | str], boxes: np.ndarray, zoom: float | None = None
) -> np.ndarray:
    """A frame, (H, W, C) uint8, with boxes (N, 4) and the N numbers of their tracks: (H', W', 3) uint8."""
    canvas = Canvas(image.transpose(2, 0, 1), zoom)
    for identity, box in zip(ids, boxes, strict=True):
        canvas.box(box, "agent")
        canvas.text(str(identity), box[:2])
    return canvas.pixels


def inset(picture: np.ndarray, view: FrameView, wide: int) -> np.ndarray:
    """A picture, (H', W', 3), with the agent's own view in a lower corner, away from the box.

    Args:
        picture: of ``draw_view``.
        view: of the frame.
        wide: width of the frame, in its own pixels.
    """
    if view.window is None:
        return picture
    side = INSET * min(picture.shape[:2])
    shown = Canvas(view.window, side / view.window.shape[-1]).pixels
    shown[[0, -1]] = shown[:, [0, -1]] = PALETTE["look"]
    both, high = picture.copy(), len(shown)
    if view.box[[0, 2]].mean() < wide / 2:
        both[-high:, -high:] = shown
    else:
        both[-high:, :high] = shown
    return both


def fit_zoom(shape: Sequence[int], room: Sequence[float]) -> float:
    """Zoom at which a frame (height, width) fits into (width, height): a whole number, or below 1."""
    wanted = max(-(-SMALLEST // max(shape)), 1)
    most = min(room[0] / shape[1], room[1] / shape[0])
    return min(wanted, int(most)) if most >= 1 else most


@contextmanager
def live_window(fps: float) -> Iterator[Show]:
    """Open a window; yields a function that shows a frame, at most ``fps`` a second, False once closed.

    Raises:
        ValueError: no window can be opened.
    """
    pygame = display()

    def show(image: np.ndarray, view: FrameView) -> bool:
        picture = inset(draw_view(image, view, fit_zoom(image.shape[:2], room)), view, image.shape[1])
        size, screen = picture.shape[1::-1], pygame.display.get_surface()
        if screen is None or screen.get_size() != size:
            screen = pygame.display.set_mode(size)
        screen.blit(pygame.image.frombuffer(picture.tobytes(), size, "RGB"), (0, 0))
        pygame.display.flip()
        clock.tick(fps)
        return not any(map(ends, pygame.event.get()))

    def ends(event: Any) -> bool:
        return event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE)

    try:
        clock, room = pygame.time.Clock(), [ROOM * side for side in pygame.display.get_desktop_sizes()[0]]
        pygame.display.set_caption("visionrl predict: Escape ends")
        yield show
    finally:
        pygame.display.quit()


def display(needed: str = "live must not be asked for without a window") -> Any:
    """Pygame with its display at work; an error begins with what it is needed for.

    Raises:
        ValueError: there is no display, no pygame, or the display does not answer.
    """
    if missing := why_no_window():
        raise ValueError(f"{needed}: {missing}")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    try:
        pygame.display.init()
    except pygame.error as error:
        raise ValueError(f"{needed}: {error}") from error
    if pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
        pygame.display.quit()  # what SDL falls back to
        raise ValueError(f"{needed}: the display does not answer")
    return pygame
