"""A model that answers without a look at the image: what the words of a question alone give away."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from visionrl.models._registry import register_model
from visionrl.models.language.answerer import Answerer


@register_model("vqa_question_only")
class QuestionOnly(Answerer):
    """The question's recurrent layer and two linear ones: the language-only row of VQA (Antol et al., ICCV 2015).

    Args:
        options: see ``Answerer``.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.image = None

    def fuse(self, places: Any, questions: Tensor) -> tuple[Tensor, Tensor | None]:
        """See the base."""
        return self.hear(questions), None
