"""Learned rewards: what a network thinks of an observation, as the reward of any environment."""

from visionrl.reward_models.confidence import ClassifierConfidence
from visionrl.reward_models.few_shot import AttributeMatch, PrototypeSimilarity, SiameseSimilarity
from visionrl.reward_models.language import AnswerReward, CaptionReward, TextMatch
from visionrl.reward_models.perceptual import GramDistance, PerceptualDistance
from visionrl.reward_models.self_critical import SelfCritical
from visionrl.reward_models.single import LearnedReward
from visionrl.reward_models.vector import VecLearnedReward

__all__ = [
    "AnswerReward",
    "AttributeMatch",
    "CaptionReward",
    "ClassifierConfidence",
    "GramDistance",
    "LearnedReward",
    "PerceptualDistance",
    "PrototypeSimilarity",
    "SelfCritical",
    "SiameseSimilarity",
    "TextMatch",
    "VecLearnedReward",
]
