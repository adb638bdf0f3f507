"""Videos in one folder a class: ``"clips:FOLDER"``.

FOLDER holds ``jump/1.mp4``, ``jump/second/0001.jpg``, ``run/3.avi``, ...: the name of the folder is the class; a clip
is a video file, or a folder of pictures in order of their numbers. Clips that lie in FOLDER itself have no class.
Frames stay on the disk and are decoded on access. A clip is named by its path in FOLDER and is a subject of its own.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.frames import VIDEO_SUFFIXES, open_frames
from visionrl.datasets.readers.files import check_folder, has_suffix, is_hidden, list_folders, list_images
from visionrl.datasets.samples import ClipSample


@register_format("clips", kind=ClipSample)
def read_clips(path: Path, options: ReadOptions) -> list[Entry]:
    """The clips by class and name.

    Raises:
        ValueError: there is none, a class has none, or clips with and without a class lie side by side.
    """
    if list_images(check_folder(path)):
        return [_entry(path, path.resolve().name, "")]
    alone = clips_in(path)
    classes = [folder for folder in list_folders(path) if folder not in alone]
    if alone and classes:
        raise ValueError(
            f"{path} must hold clips or folders of classes, got the clip {alone[0].name} beside {classes[0].name}"
        )
    if not alone and not classes:
        raise ValueError(f"{path} must hold videos ({', '.join(VIDEO_SUFFIXES)}) or folders of pictures")
    found = [_entry(clip, clip.name, "") for clip in alone]
    for folder in classes:
        clips = clips_in(folder)
        if not clips:
            raise ValueError(
                f"the class folder {folder} must hold videos ({', '.join(VIDEO_SUFFIXES)}) or folders of pictures"
            )
        found += [_entry(clip, f"{folder.name}/{clip.name}", folder.name) for clip in clips]
    return found


def clips_in(folder: Path) -> list[Path]:
    """The video files and the folders of pictures in a folder, by name."""
    files = [one for one in folder.iterdir() if has_suffix(one, VIDEO_SUFFIXES) and not is_hidden(one.name)]
    return sorted([*files, *(one for one in list_folders(folder) if list_images(one))])


def _entry(clip: Path, name: str, label: str) -> Entry:
    """One clip of a class."""
    return Entry(name, name, partial(_read, clip, label))


def _read(clip: Path, label: str) -> ClipSample:
    """One clip; its frames stay on the disk."""
    frames, fps = open_frames(clip)
    return ClipSample(frames, label=label, fps=fps)
