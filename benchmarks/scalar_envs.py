"""The two tasks as a user would write them by hand: one episode, plain Python, one OpenCV call a window.

They follow the rules of ``visionrl/LandmarkLocalization-v0`` and ``visionrl/Tracking-v0``, and draw their
starts in the same order, so an equal seed gives the equal episode. They know no batches, banks or pyramids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
from gymnasium import spaces

ACTIONS_KEPT = 10
LANDMARK_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))
TRACKING_MOVES = (
    *((-1, 0, 0), (-2, 0, 0), (1, 0, 0), (2, 0, 0), (0, -1, 0), (0, -2, 0), (0, 1, 0), (0, 2, 0)),
    *((0, 0, -1), (0, 0, 1), (0, 0, 0)),
)
Box = tuple[float, float, float, float]


def one_hot(index: int, count: int) -> np.ndarray:
    """A (count,) float32 vector with a 1 at ``index``."""
    vector = np.zeros(count, np.float32)
    vector[index] = 1
    return vector


def history(actions: deque[int], count: int) -> np.ndarray:
    """The last actions one-hot, newest last: (10 * count,) float32."""
    table = np.zeros((ACTIONS_KEPT, count), np.float32)
    for row, action in enumerate(actions, start=ACTIONS_KEPT - len(actions)):
        table[row, action] = 1
    return table.ravel()


class ScalarLandmark(gym.Env):
    """Walk a window to a landmark; each view is one bilinear ``cv2.warpAffine`` of the full image.

    Args:
        images: (H, W, C) uint8 each.
        pairs: the items: (number of the image, number of the structure, (x, y) of the landmark).
        goals: number of structures.
        window: side of the window, pixels.
        step_sizes: pixels per move of each stage.
        scales: pixels of the image per pixel of the window, one a view.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        pairs: Sequence[tuple[int, int, tuple[float, float]]],
        goals: int,
        window: int,
        step_sizes: Sequence[int],
        scales: Sequence[int],
    ) -> None:
        self.images, self.pairs, self.goals = images, pairs, goals
        self.window, self.step_sizes, self.scales = window, step_sizes, scales
        self.channels = 1 if images[0].ndim == 2 else images[0].shape[2]
        keys = {
            "window": spaces.Box(0, 255, (len(scales) * self.channels, window, window), np.uint8),
            "position": spaces.Box(-1, 1, (2,), np.float32),
            "stage": spaces.Box(0, 1, (len(step_sizes),), np.float32),
            "history": spaces.Box(0, 1, (ACTIONS_KEPT * 4,), np.float32),
            "goal": spaces.Box(0, 1, (goals,), np.float32),
        }
        self.observation_space = spaces.Dict({k: box for k, box in keys.items() if box.shape != (1,)})
        self.action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Start at a random place of a random item."""
        super().reset(seed=seed)
        number, self.goal, self.landmark = self.pairs[self.np_random.integers(len(self.pairs))]
        self.image = self.images[number]
        self.width, self.height = self.image.shape[1], self.image.shape[0]
        x, y = self.np_random.uniform(0.2, 0.8, 2)
        self.x, self.y, self.stage = float(x * self.width // 1), float(y * self.height // 1), 0
        self.trail: deque[tuple[float, float]] = deque([(self.x, self.y)], maxlen=20)
        self.actions: deque[int] = deque(maxlen=ACTIONS_KEPT)
        return self._observe(), self._info()

    def step(self, action: int) -> tuple[dict, float, bool, bool, dict]:
        """Move, notice an oscillation, look."""
        stride, before = self.step_sizes[self.stage], self._distance()
        dx, dy = LANDMARK_MOVES[action]
        x, y = self.x + dx * stride, self.y + dy * stride
        inside = 0 <= x <= self.width - 1 and 0 <= y <= self.height - 1
        if inside:
            self.x, self.y = x, y
        self.trail.append((self.x, self.y))
        self.actions.append(int(action))
        finished = False
        if self.trail.count((self.x, self.y)) >= 4:
            finished = self._settle()
        reward = (before - self._distance()) / stride if inside else -1.0
        return self._observe(), reward, finished, False, self._info()

    def _settle(self) -> bool:
        """Go to the mean of the last four places and to the next stage; whether there is none."""
        last = list(self.trail)[-4:]
        self.x, self.y = (float(round(sum(place[axis] for place in last) / 4)) for axis in (0, 1))
        self.trail.clear()
        self.trail.append((self.x, self.y))
        finished = self.stage == len(self.step_sizes) - 1
        self.stage = min(self.stage + 1, len(self.step_sizes) - 1)
        return finished

    def _observe(self) -> dict[str, np.ndarray]:
        ends = (self.width - 1, self.height - 1)
        seen = {
            "window": self._windows(),
            "position": np.array([2 * self.x / ends[0] - 1, 2 * self.y / ends[1] - 1], np.float32),
            "stage": one_hot(self.stage, len(self.step_sizes)),
            "history": history(self.actions, 4),
            "goal": one_hot(self.goal, self.goals),
        }
        return {key: seen[key] for key in self.observation_space}

    def _windows(self) -> np.ndarray:
        out = np.empty((len(self.scales), self.channels, self.window, self.window), np.uint8)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        for view, scale in zip(out, self.scales, strict=True):
            shift = scale * (self.window // 2)
            matrix = np.array([[scale, 0, self.x - shift], [0, scale, self.y - shift]], float)
            seen = cv2.warpAffine(self.image, matrix, (self.window, self.window), flags=flags)
            view[:] = seen if self.channels == 1 else seen.transpose(2, 0, 1)
        return out.reshape(-1, self.window, self.window)

    def _distance(self) -> float:
        return ((self.x - self.landmark[0]) ** 2 + (self.y - self.landmark[1]) ** 2) ** 0.5

    def _info(self) -> dict[str, Any]:
        distance = self._distance()
        return {"distance_px": distance, "is_success": distance <= 2.0}


class ScalarTracking(gym.Env):
    """Keep a box on an object; each window is one ``cv2.resize`` out of the full frame.

    Args:
        videos: (T, H, W, C) uint8 each.
        boxes: (T, 4) each, (x0, y0, x1, y1) edges in pixels.
        window: side of the window, pixels.
        clip: frames of an episode.
    """

    def __init__(
        self, videos: Sequence[np.ndarray], boxes: Sequence[np.ndarray], window: int, clip: int = 10
    ) -> None:
        self.videos, self.truths = videos, [[tuple(box) for box in rows.tolist()] for rows in boxes]
        self.window, self.clip = window, clip
        self.observation_space = spaces.Dict(
            {
                "window": spaces.Box(0, 255, (videos[0].shape[3], window, window), np.uint8),
                "history": spaces.Box(0, 1, (ACTIONS_KEPT * len(TRACKING_MOVES),), np.float32),
            }
        )
        self.action_space = spaces.Discrete(len(TRACKING_MOVES))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Start on the object in a random frame of a random video."""
        super().reset(seed=seed)
        self.video = int(self.np_random.integers(len(self.videos)))
        length = len(self.videos[self.video])
        clip = min(self.clip, length)
        self.frame = int(self.np_random.integers(length - clip + 1))
        self.last = self.frame + clip - 1
        self.box: Box = self.truths[self.video][self.frame]
        self.actions: deque[int] = deque(maxlen=ACTIONS_KEPT)
        self._arrive()
        return self._observe(), self._info()

    def step(self, action: int) -> tuple[dict, float, bool, bool, dict]:
        """Move the box; go to the next frame when this one is over."""
        before = self._iou()
        self.box = self._moved(int(action))
        self.actions.append(int(action))
        self.moves += 1
        after, rounded = self._iou(), tuple(map(round, self.box))
        over = action == len(TRACKING_MOVES) - 1 or rounded in self.visited or self.moves >= 20
        self.visited.add(rounded)
        finished = over and self.frame == self.last
        if over and not finished:
            self.frame += 1
        if over:
            self._arrive()
        return self._observe(), float((after > before) - (after < before)), finished, False, self._info()

    def _arrive(self) -> None:
        self.moves, self.visited = 0, {tuple(map(round, self.box))}

    def _moved(self, action: int) -> Box:
        dx, dy, growth = TRACKING_MOVES[action]
        x0, y0, x1, y1 = self.box
        height, width = self.videos[self.video].shape[1:3]
        w, h = x1 - x0, y1 - y0
        step_x, step_y = max(0.03 * w, 1.0), max(0.03 * h, 1.0)
        unit = growth * min(step_x, step_y) / min(w, h)
        new_w, new_h = w + unit * w, h + unit * h
        if not (5 <= new_w <= width and 5 <= new_h <= height):
            new_w, new_h = w, h
        x = min(max((x0 + x1) / 2 + dx * step_x, 0.0), width)
        y = min(max((y0 + y1) / 2 + dy * step_y, 0.0), height)
        return x - new_w / 2, y - new_h / 2, x + new_w / 2, y + new_h / 2

    def _observe(self) -> dict[str, np.ndarray]:
        return {"window": self._window(), "history": history(self.actions, len(TRACKING_MOVES))}

    def _window(self) -> np.ndarray:
        x0, y0, x1, y1 = self.box
        x, y, w, h = (x0 + x1) / 2, (y0 + y1) / 2, 1.4 * (x1 - x0) / 2, 1.4 * (y1 - y0) / 2
        left, top, right, bottom = round(x - w), round(y - h), round(x + w), round(y + h)
        image = self.videos[self.video][self.frame]
        height, width = image.shape[:2]
        cut = image[max(top, 0) : bottom, max(left, 0) : right]
        if left < 0 or top < 0 or right > width or bottom > height:
            edges = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
            cut = cv2.copyMakeBorder(cut, *edges, cv2.BORDER_CONSTANT, value=0)
        return np.ascontiguousarray(cv2.resize(cut, (self.window, self.window)).transpose(2, 0, 1))

    def _iou(self) -> float:
        (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = self.box, self.truths[self.video][self.frame]
        shared = max(min(ax1, bx1) - max(ax0, bx0), 0) * max(min(ay1, by1) - max(ay0, by0), 0)
        union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared
        return shared / union if union > 0 else 0.0

    def _info(self) -> dict[str, Any]:
        (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = self.box, self.truths[self.video][self.frame]
        gap = ((ax0 + ax1 - bx0 - bx1) ** 2 + (ay0 + ay1 - by0 - by1) ** 2) ** 0.5 / 2
        return {"iou": self._iou(), "center_error_px": gap}
