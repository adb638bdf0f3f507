"""NumPy's archives of arrays, read within a limit."""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from visionrl.datasets.guard import decoding
from visionrl.datasets.limits import limit_of


def read_npz(file: Path, what: str) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; none of objects.

    Args:
        file: the archive.
        what: "an .npz file of poses", for messages.

    Raises:
        ValueError: it is no such archive, is damaged, or its arrays are larger than VISIONRL_VOLUME_LIMIT.
    """
    with decoding(file, f"must be {what}"):
        content = io.BytesIO(file.read_bytes())
        with ZipFile(content) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > limit_of("VOLUME"):
            limit = limit_of("VOLUME") >> 20
            raise ValueError(
                f"{file} must have arrays of at most {limit} MiB (VISIONRL_VOLUME_LIMIT), got {size} bytes"
            )
        content.seek(0)
        with np.load(content, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
