"""``visionrl track``."""

from visionrl.agents.prediction.track import Track

__all__ = ["Track"]
