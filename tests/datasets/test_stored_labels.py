"""Folders of images and masks: labels as files store them, lists of names as tools write them, masks that lack."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_mask_readers import LABELS, bad, folder, photo, read, write

from visionrl.datasets import ImageSample, load
from visionrl.datasets.readers.masks import read_partly_masked


def packed_png(file: Path, labels: np.ndarray, bits: int) -> None:
    """Write a grey PNG of 1, 2 or 4 bits a pixel, as tools that shrink files do."""
    places = np.unpackbits(labels[..., None], axis=-1)[..., 8 - bits :]
    rows = np.packbits(places.reshape(len(labels), -1), axis=1)
    whole = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", *labels.shape[::-1], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", whole), (b"IEND", b""))
    packed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


@pytest.mark.parametrize("bits", [2, 4])
def test_greys_of_few_bits_are_labels_as_the_file_stores_them(tmp_path: Path, bits: int) -> None:
    photo(tmp_path / "images/a.jpg")
    packed_png(tmp_path / "masks/a.png", LABELS, bits)
    assert np.array_equal(read(tmp_path).mask, LABELS)


@pytest.mark.parametrize("most", [2, 3, 20, 254, 700])
def test_a_pgm_of_a_range_of_its_own_holds_labels(tmp_path: Path, most: int) -> None:
    photo(tmp_path / "images/a.jpg")
    (tmp_path / "masks").mkdir()
    content = LABELS.astype(">u2" if most > 255 else np.uint8).tobytes()
    (tmp_path / "masks/a.pgm").write_bytes(f"P5\n16 12\n{most}\n".encode() + content)
    assert np.array_equal(read(tmp_path).mask, LABELS)


@pytest.mark.parametrize(
    "options", [{"format": "WEBP", "quality": 60}, {"format": "TIFF", "compression": "jpeg"}]
)
def test_a_lossy_mask_of_any_format_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    photo(tmp_path / "images/a.png")
    (tmp_path / "masks").mkdir()
    name = tmp_path / ("masks/a.webp" if options["format"] == "WEBP" else "masks/a.tif")
    Image.fromarray(LABELS * 100).save(name, **options)
    bad(tmp_path, "must be stored without loss")


def test_a_mask_is_turned_by_its_own_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right
    for place, pixels in (("images", np.stack([LABELS * 90] * 3, -1)), ("masks", LABELS)):
        (tmp_path / place).mkdir()
        Image.fromarray(pixels).save(tmp_path / place / "a.png", exif=exif)
    sample = read(tmp_path)
    assert np.array_equal(sample.mask, np.rot90(LABELS, -1)) and np.array_equal(
        sample.image[0], sample.mask * 90
    )


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize(("first", "objects"), [(2, 0), (1, 28)])
def test_255_alone_is_void_where_others_of_the_set_have_labels(
    tmp_path: Path, first: int, objects: int, palette: bool
) -> None:
    """Masks of 0 and 1 beside those of 0 and 255 show the same object."""
    for name, mask in (("a", (LABELS == 1) * np.uint8(first)), ("b", (LABELS == 2) * np.uint8(255))):
        photo(tmp_path / f"images/{name}.jpg")
        write(tmp_path / f"masks/{name}.png", mask, palette)
    samples = load(f"masks:{tmp_path}", kind=ImageSample, split="all")
    assert [(sample.mask > 0).sum() for sample in samples] == [24, objects]
    assert [set(sample.names) for sample in samples] == [{first}, {1} if objects else set()]


@pytest.mark.parametrize(
    "text",
    [
        '1 "big cat"\n2 "dog, brown"',
        '# labels\nbig cat\n# more\n"dog, brown"',
        '"big cat";1\n"dog, brown";2\n"void";255',
    ],
)
def test_names_may_be_quoted_and_lists_may_have_comments(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert read(folder(tmp_path)).names == {1: "big cat", 2: "dog, brown"}


def test_a_list_of_several_forms_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("floor\nwall 5\ndoor\n")
    bad(folder(tmp_path), "line 2: must have as many numbers as the first, 0")


def test_what_is_called_void_is_background_wherever_it_stands(tmp_path: Path) -> None:
    rows = {"cat": (250, 10, 3), "Void": (0, 0, 0), "dog": (9, 200, 10)}
    text = "# label:color_rgb:parts:actions\n" + "\n".join(
        f"{n}:{r},{g},{b}::" for n, (r, g, b) in rows.items()
    )
    (tmp_path / "labelmap.txt").write_text(text)
    colours = np.array([rows["Void"], rows["cat"], rows["dog"]], np.uint8)
    sample = read(folder(tmp_path, colours[LABELS]))
    assert np.array_equal(sample.mask, np.array([0, 1, 3])[LABELS]) and sample.names == {1: "cat", 3: "dog"}


def test_images_without_masks_are_bad_samples(tmp_path: Path) -> None:
    for name in "bc":
        photo(folder(tmp_path) / f"images/{name}.jpg")
    bad(tmp_path, "2 of 3 samples of .* found none for .*b.jpg; .* found none for .*c.jpg")
    with pytest.warns(UserWarning, match="2 of 3 samples"):
        assert [s.name for s in load(f"masks:{tmp_path}", kind=ImageSample, split="all", skip_bad=True)] == [
            "a"
        ]


def test_all_bad_images_of_a_set_are_named(tmp_path: Path) -> None:
    for name in "abc":
        photo(tmp_path / f"{name}.png")
    assert [sample.name for sample in read_partly_masked(tmp_path)] == ["a", "b", "c"]
    for name in "ac":
        (tmp_path / f"{name}.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"2 of 3 images of .* are bad: .*a.png .*; .*c.png") as caught:
        read_partly_masked(tmp_path)
    assert "\n" not in str(caught.value)
