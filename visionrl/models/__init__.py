"""Trained networks beside agents: of language, of few examples, of clips, and pretexts, which need no labels.

Each is one file: network, loss, metrics, citation. ``list_models()`` names them, ``make_model(name)`` makes one,
``load_model(folder)`` reads a trained one. A model enters reinforcement learning by two doors only: as a backbone
(``backbone=model.image.trunk``, of a pretext ``model.backbone``; ``WordsExtractor``) and as a reward
(``visionrl.reward_models``).
"""

from visionrl.models._files import load_model, save_model, shipped_models
from visionrl.models._model import Model
from visionrl.models._registry import list_models, make_model, model_class, register_model

__all__ = [
    "Model",
    "list_models",
    "load_model",
    "make_model",
    "model_class",
    "register_model",
    "save_model",
    "shipped_models",
]
