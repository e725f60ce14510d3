"""Frames aligned with a trusted image, each by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sunalign._progress import tracked
from sunalign.alignment.align import align
from sunalign.alignment.inputs import as_references
from sunalign.correction import Correction
from sunalign.exceptions import AlignmentError, CoverageError
from sunalign.geometry.dates import seconds_between
from sunalign.images import Image, to_image
from sunalign.images.cube_files import CubeFile
from sunalign.sequences._frames import SequenceFrame

__all__ = ["Anchor", "anchor_numbers", "find_anchors"]

_MOST = 16  # Anchors that are enough for any sequence, unless it is asked for more.


@dataclass(frozen=True, eq=False)
class Anchor:
    """One frame's absolute correction.

    Parameters
    ----------
    number : `int`
        Of the frame in the order of time.
    correction : `~sunalign.Correction` or `None`
        `None` where there is none.
    success : `bool`
        Whether it can be trusted.
    message : `str`
    """

    number: int
    correction: Correction | None
    success: bool
    message: str


def anchor_numbers(good: np.ndarray, every: int | None) -> np.ndarray:
    """Numbers of the frames that become anchors: every so many, the first and the last among them.

    Parameters
    ----------
    good : `numpy.ndarray` of `int`
        Numbers of the frames that can be used, in order.
    every : `int` or `None`
        How many frames lie from one anchor to the next; chosen by their number for `None`.
    """
    every = max(1, -(-len(good) // _MOST)) if every is None else every
    chosen = np.arange(0, len(good), every)
    if len(good) - 1 - chosen[-1] > every // 2:
        chosen = np.append(chosen, len(good) - 1)
    return good[chosen]


def find_anchors(
    frames: Sequence[SequenceFrame],
    numbers: np.ndarray,
    reference: Any,
    options: Mapping[str, Any],
    progress: bool | Callable[..., Any] | None,
) -> list[Anchor]:
    """Align frames with the reference that is nearest to each in time.

    Raises
    ------
    ~sunalign.exceptions.CoverageError
        No reference covers any of them.
    """
    references = [to_image(item) for item in as_references(reference)]
    found, missed = [], []
    for number in tracked(numbers, progress, "anchors"):
        frame = frames[number]
        try:
            result = align(_whole(frame), _nearest(references, frame), on_doubt="ignore", **options)
        except CoverageError as error:
            missed.append(str(error))
            found.append(Anchor(int(number), None, False, "the reference does not cover it"))
            continue
        except AlignmentError as error:
            found.append(Anchor(int(number), None, False, str(error)))
            continue
        found.append(Anchor(int(number), result.correction, result.success, result.message))
    if missed and len(missed) == len(numbers):
        raise CoverageError(
            f"No reference covers any of the {len(numbers)} frames that were compared with it. {missed[0]}"
        )
    return found


def _whole(frame: SequenceFrame) -> Image:
    """The frame with its pixels. A path is read as a map: nothing is to be written for an anchor."""
    pixels = frame.frame.pixels
    if isinstance(pixels, CubeFile):
        return pixels.image()
    # One that was made of a cube shows what was chosen of it.
    return pixels if isinstance(pixels, Image) else to_image(frame.path or frame.source)


def _nearest(references: Sequence[Image], frame: SequenceFrame) -> Image:
    def gap(image: Image) -> float:
        return 0.0 if image.date is None else abs(seconds_between(image.date, frame.date))

    return min(references, key=gap)
