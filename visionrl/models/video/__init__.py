"""Models that recognise the action of a clip."""

from visionrl.models.video import recognisers

__all__ = ["recognisers"]
