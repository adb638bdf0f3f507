"""Models that tell classes apart from a few examples of each, or from their attributes."""

from visionrl.models.fewshot import attributes, maml, matching, prototypical, siamese

__all__ = ["attributes", "maml", "matching", "prototypical", "siamese"]
