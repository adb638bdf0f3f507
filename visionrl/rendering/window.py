"""Windows on a display: why none can be opened."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec


def why_no_window() -> str:
    """Why no window can be opened; empty where one can."""
    screen = (
        sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if not screen:
        return "there is no display"
    return "" if find_spec("pygame") else 'pygame is missing: pip install "visionrl[play]"'
