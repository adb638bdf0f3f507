"""Models that say or answer: captioners, question answerers, and an encoder of images and text alike."""

from visionrl.models.language import (
    caption_transformer,
    dual_encoder,
    prefix_captioner,
    show_and_tell,
    show_attend_and_tell,
    vqa_cnn_rnn,
    vqa_film,
    vqa_question_only,
    vqa_stacked_attention,
    vqa_transformer,
)

__all__ = [
    "caption_transformer",
    "dual_encoder",
    "prefix_captioner",
    "show_and_tell",
    "show_attend_and_tell",
    "vqa_cnn_rnn",
    "vqa_film",
    "vqa_question_only",
    "vqa_stacked_attention",
    "vqa_transformer",
]
