"""Damaged data sets of every format: each loads, or is refused in one line that names file or sample; in time.

``python tests/robustness/test_fuzz.py FORMAT SEED`` writes the case of a seed to ./fuzz-case, and reads it;
``python tests/robustness/test_fuzz.py`` reads all, and prints how many of each format loaded and were refused.
"""

from __future__ import annotations

import shutil
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from mutations import FAULTS
from small_sets import SETS

from visionrl.datasets import (
    CaptionSample,
    ClipSample,
    ImageSample,
    MotSample,
    PairSample,
    QuestionSample,
    VideoSample,
    ViewSample,
    VolumeSample,
    clear_cache,
    list_formats,
    load,
)

KINDS = {form.name: form.kind for form in list_formats() if not form.embedded}
CASES, BLOCK = 75, 15  # of each format; in one test
SECONDS = 5.0  # for one case


def test_every_format_with_a_path_has_a_small_set():
    assert set(SETS) == set(KINDS)


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, Path]:
    """A folder with the small set of each format."""
    root = tmp_path_factory.mktemp("sets")
    for name, write in SETS.items():
        (root / name).mkdir()
        write(root / name)
    return root


def data_of(name: str, folder: Path) -> str:
    """What ``load`` gets."""
    return f"{name}:{folder / 'L_dataset.json' if name == 'learn2reg' else folder}"


@pytest.mark.parametrize("name", sorted(SETS))
def test_the_small_sets_are_valid(originals, name):
    clear_cache()
    samples = load(data_of(name, originals / name), kind=KINDS[name], split="all")
    for sample in samples:
        check(sample)
    assert samples


def damage(folder: Path, seed: int) -> str:
    """Give one file of a folder one fault, or two; says which."""
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(1 + (seed % 5 == 4)):
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        texts = [file for file in files if file.suffix not in (".png", ".jpg", ".tif", ".bmp", ".webp")]
        files = texts if texts and rng.random() < 0.5 else files
        if not files:
            break
        file = files[int(rng.integers(len(files)))]
        name = sorted(FAULTS)[int(rng.integers(len(FAULTS)))]
        FAULTS[name](file, rng)
        said.append(f"{name} of {file.relative_to(folder)}")
    return ", ".join(said)


def check(sample: Any) -> None:
    """Assert that a sample holds what it must, and nothing that is not finite."""
    fields = {
        ImageSample: ("boxes",),
        VideoSample: (),
        MotSample: (),
        ClipSample: ("segments", "features", "scores"),
        VolumeSample: ("spacing_mm",),
        CaptionSample: (),
        QuestionSample: ("places",),
        ViewSample: ("cameras", "scores"),
        PairSample: ("fixed_points", "moving_points", "transform", "start", "spacing_mm"),
    }[type(sample)]
    points = {} if isinstance(sample, ViewSample) else getattr(sample, "points", {}) or {}
    boxes = () if isinstance(sample, ViewSample) else getattr(sample, "detections", None) or ()
    lists = [*(getattr(sample, "visibility", None) or ()), *boxes]
    given = [value for name in fields if (value := getattr(sample, name)) is not None]
    for value in (*given, *points.values(), *lists):
        assert np.isfinite(value).all()
    if isinstance(sample, VideoSample):
        rows = np.isnan(sample.boxes)
        assert (rows.all(axis=1) | ~rows.any(axis=1)).all()
        assert not np.isinf(sample.boxes).any()


def outcome(name: str, folder: Path) -> str:
    """How a damaged set was met: "loaded" or "refused".

    Raises:
        AssertionError: it was met in any other way.
    """
    clear_cache()
    begin = time.perf_counter()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            samples = load(data_of(name, folder), kind=KINDS[name], split="all")
    except (ValueError, OSError) as error:
        text = str(error)
        assert "\n" not in text, f"more than one line: {text}"
        assert str(folder) in text or text.startswith("sample "), f"no file named: {text}"
        assert len(text) < 12_000, f"{len(text)} characters: {text[:300]}"
        found = "refused"
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    else:
        for sample in samples:
            check(sample)
        strange = [str(one.message) for one in caught if not issubclass(one.category, UserWarning)]
        assert not strange, f"warnings: {strange}"
        found = "loaded"
    spent = time.perf_counter() - begin
    assert spent < SECONDS, f"took {spent:.1f} s"
    return found


@pytest.mark.parametrize("first", range(0, CASES, BLOCK))
@pytest.mark.parametrize("name", sorted(SETS))
def test_a_damaged_set_loads_or_is_refused_by_name(originals, tmp_path, name, first):
    wrong = []
    for seed in range(first, first + BLOCK):
        folder = tmp_path / str(seed)
        shutil.copytree(originals / name, folder)
        said = damage(folder, seed)
        try:
            outcome(name, folder)
        except AssertionError as error:
            wrong.append(f"{name} seed {seed} ({said}): {str(error)[:600]}")
    assert not wrong, "\n".join(wrong)


def run_all(root: Path) -> None:
    """Print how many cases of each format loaded and were refused."""
    print("| format | cases | loaded | refused by name |\n|---|---|---|---|")
    total: Counter[str] = Counter()
    for name in sorted(SETS):
        (root / name).mkdir()
        SETS[name](root / name)
        count: Counter[str] = Counter()
        for seed in range(CASES):
            folder = root / f"{name}-{seed}"
            shutil.copytree(root / name, folder)
            damage(folder, seed)
            count[outcome(name, folder)] += 1
        print(f"| {name} | {CASES} | {count['loaded']} | {count['refused']} |", flush=True)
        total += count
    print(f"| all | {total.total()} | {total['loaded']} | {total['refused']} |")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        with TemporaryDirectory() as place:
            run_all(Path(place))
    else:
        case = Path("fuzz-case").resolve()
        case.mkdir()
        SETS[sys.argv[1]](case)
        print(damage(case, int(sys.argv[2])), "->", outcome(sys.argv[1], case))
