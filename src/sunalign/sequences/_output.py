"""Corrected frames out: objects in memory, or files that are all there or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from sunalign._progress import tracked
from sunalign.correction import Correction
from sunalign.correctors import add_history, correct
from sunalign.exceptions import AlignmentError
from sunalign.files.io import apply_to_file

__all__ = ["corrected_item", "output_paths", "write_files"]


def corrected_item(item: Any, correction: Correction | None, provenance: str) -> Any:
    """A frame in memory with its correction and HISTORY; itself where there is no correction.

    Parameters
    ----------
    item : object
        As it was given.
    correction : `~sunalign.Correction` or `None`
    provenance : `str`
        Lines for HISTORY.
    """
    if correction is None:
        return item
    new = correct(item, correction)
    header = new[1] if isinstance(new, tuple) else getattr(new, "meta", None)
    if isinstance(header, MutableMapping):
        add_history(header, provenance)
    return new


def output_paths(items: Sequence[Any], output: str | os.PathLike[str], overwrite: bool) -> list[Path]:
    """Where the corrected copies of files go: by their own names into a directory.

    Parameters
    ----------
    items : sequence
        Frames as they were given.
    output : path-like
        Directory, which is made where it is missing.
    overwrite : `bool`
        Whether files that exist are replaced.

    Raises
    ------
    ~sunalign.exceptions.AlignmentError
        Frames are no paths, two have one name, or they are in that directory themselves.
    FileExistsError
        One exists and ``overwrite`` is False.
    """
    if not all(isinstance(item, (str, os.PathLike)) for item in items):
        raise AlignmentError(
            "'output' is for frames that are paths; corrected maps and cubes are in the result's 'aligned', and "
            "save() writes them."
        )
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise AlignmentError(f"{folder} is a file; 'output' is the directory that the corrected frames go to.")
    names = [Path(item).name for item in items]
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise AlignmentError(
            f"Two frames have the name {twice}, and cannot both go to {folder}; align them by directory, or rename one."
        )
    paths = [folder / name for name in names]
    for item, path in zip(items, paths, strict=True):
        if os.path.realpath(item) == os.path.realpath(path):
            raise AlignmentError(
                f"{path} is a frame itself; choose another directory, for frames are never written over."
            )
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"The output {path} exists; choose another directory, or pass overwrite=True to replace it."
            )
    return paths


def write_files(
    items: Sequence[Any],
    paths: Sequence[Path],
    corrections: Sequence[Correction | None],
    provenance: Callable[[int], str],
    readable: Callable[[int], bool],
    windows: Mapping[int, int],
    progress: bool | Callable[..., Any] | None,
) -> list[Path | None]:
    """Write corrected copies; if anything stops it none of them is there.

    A frame that was not placed is copied as it is, one that cannot be read is left out. ``windows`` are the HDUs that
    were looked at of cubes.
    """
    folder = paths[0].parent
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".sunalign-", dir=folder))
    done = False
    try:
        written: list[Path | None] = []
        for k in tracked(range(len(items)), progress, "writing"):
            if not readable(k):
                written.append(None)
                continue
            temporary = staging / paths[k].name
            correction = corrections[k]
            if correction is None:
                shutil.copyfile(items[k], temporary)
            else:
                apply_to_file(items[k], correction, temporary, provenance=provenance(k), hdu=windows.get(k))
            written.append(paths[k])
        _publish(staging, [path for path in written if path is not None])
        done = True
        return written
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made and not done and not any(folder.iterdir()):
            folder.rmdir()


def _publish(staging: Path, paths: Sequence[Path]) -> None:
    """Move files from the staging directory to where they belong, all of them or none."""
    kept = staging / "replaced"
    kept.mkdir()
    try:
        for path in paths:
            if path.exists():
                os.replace(path, kept / path.name)  # noqa: PTH105
            os.replace(staging / path.name, path)  # noqa: PTH105
    except BaseException:
        for path in paths:
            old = kept / path.name
            if old.exists():
                os.replace(old, path)  # noqa: PTH105
            elif not (staging / path.name).exists():
                path.unlink(missing_ok=True)
        raise
