"""Where a model looked, as a picture."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.explain.words import GAP, LABEL, PANEL, attention_sheet


def test_each_word_has_a_panel_and_the_heat_is_where_it_looked() -> None:
    maps = np.zeros((7, 2, 2), np.float32)
    maps[:, 0, 1] = 1
    sheet = attention_sheet(np.full((1, 40, 40), 100, np.uint8), maps, list("abcdefg"))
    assert sheet.shape == (2 * (PANEL + LABEL) + GAP, 6 * PANEL + 5 * GAP, 3)
    second = sheet[:PANEL, PANEL + GAP : 2 * PANEL + GAP].astype(int)
    redness = second[..., 0] - second[..., 2]
    assert redness[:40, -40:].mean() > 50 and abs(redness[-40:, :40].mean()) < 5
    plain = sheet[:PANEL, :PANEL]
    assert np.abs(plain.astype(int) - 100).max() <= 1
    assert (sheet[PANEL : PANEL + LABEL, PANEL + GAP : 2 * PANEL + GAP] < 100).any()


def test_as_many_maps_as_words() -> None:
    with pytest.raises(ValueError, match="maps must be one a word, got 2 for 1 words"):
        attention_sheet(np.zeros((3, 9, 9), np.uint8), np.zeros((2, 3, 3)), ["a"])


def test_a_strip_and_a_read_only_image_are_drawn() -> None:
    strip = np.full((3, 1, 3000), 90, np.uint8)
    strip.flags.writeable = False
    sheet = attention_sheet(strip, np.ones((2, 3, 3)), ["a", "coin"])
    assert sheet.shape[1] == 3 * 640 + 2 * 6 and sheet.shape[0] < 100
