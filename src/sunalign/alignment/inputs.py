"""Arguments of `sunalign.align` turned into what the road needs, or refused in plain words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from sunpy.map import GenericMap, MapSequence

from sunalign.exceptions import AlignmentError, warn_user
from sunalign.images import Image, to_image
from sunalign.wcs.distortion import pointing_tables

__all__ = [
    "as_references",
    "checked_budget",
    "checked_jobs",
    "checked_overlap",
    "make_rng",
    "neglected",
    "pair_of_limits",
    "prepare",
    "prepared_references",
]

Limits = tuple[float | None, float | None]


def as_references(reference: Any) -> list[Any]:
    """One reference or many as a list; paths and maps are not opened here.

    Parameters
    ----------
    reference : object
        One image or many in whatever holds them; an iterator is used up.
    """
    if isinstance(reference, MapSequence):
        references = list(reference.maps)
    elif isinstance(reference, (list, set, frozenset)) or (isinstance(reference, tuple) and not _is_image(reference)):
        references = list(reference)
    elif isinstance(reference, Iterator):
        references = list(reference)
    else:
        references = [reference]
    if not references:
        raise AlignmentError("The list of references is empty; give at least one image whose pointing is trusted.")
    return references


def _is_image(value: tuple[Any, ...]) -> bool:
    return len(value) == 2 and isinstance(value[0], np.ndarray) and not isinstance(value[1], (GenericMap, np.ndarray))


def prepare(image: Image, mask: np.ndarray | None, limits: Limits | None, word: str) -> Image:
    """Apply a mask and intensity limits, and make sure that something is left.

    Parameters
    ----------
    image : `~sunalign.images.Image`
    mask : `numpy.ndarray` of `bool`, optional
        True where a pixel is to be ignored.
    limits : `tuple`, optional
        (lower, upper) intensities to keep; `None` for no limit.
    word : {"target", "reference"}
        For the messages.
    """
    ctype = str(image.wcs.wcs.ctype[0])
    if word == "target" and ctype.startswith(("CRLN", "HGLN")):
        raise AlignmentError(
            f"The target {image.name} has CTYPE1 = {ctype}: a map in heliographic coordinates, which is only known as "
            f"a reference of 'carrington'. Give the image as it was seen, with HPLN-TAN and HPLT-TAN."
        )
    if mask is not None:
        # A mask has the shape of what was given.
        mask = np.asarray(mask).T if image.transposed else np.asarray(mask)
        if mask.shape != image.data.shape or mask.dtype != bool:
            theirs = [shape[::-1] if image.transposed else shape for shape in (image.data.shape, mask.shape)]
            raise AlignmentError(
                f"'{word}_mask' is a boolean array of the {word}'s shape {theirs[0]}, True where a pixel is to "
                f"be ignored; got {mask.dtype} of shape {theirs[1]}."
            )
        image = image.masked(mask)
    if limits is not None:
        lower, upper = pair_of_limits(limits, word)
        with np.errstate(invalid="ignore"):
            below = image.data < (-np.inf if lower is None else lower)
            image = image.masked(below | (image.data > (np.inf if upper is None else upper)))
    finite = image.data[np.isfinite(image.data)]
    if finite.size == 0:
        raise AlignmentError(
            f"The {word} {image.name} has no valid pixel: all are NaN, masked or beyond the limits. "
            f"Check the file, {word}_mask and {word}_limits."
        )
    if finite.size < 16:
        raise AlignmentError(f"The {word} {image.name} has only {finite.size} valid pixels; at least 16 are needed.")
    if finite.min() == finite.max():
        raise AlignmentError(
            f"The {word} {image.name} is constant: every valid pixel is {finite[0]:g}, so there is nothing to align."
        )
    return image


def pair_of_limits(limits: Any, word: str) -> Limits:
    """Check limits of intensity.

    Parameters
    ----------
    limits : `tuple`
        (lower, upper), `None` for no limit.
    word : `str`
        Whose they are: "target" or "reference".
    """
    try:
        lower, upper = limits
        if lower is None or upper is None or lower < upper:
            return lower, upper
    except (TypeError, ValueError):
        pass
    raise AlignmentError(f"'{word}_limits' is (lower, upper) with lower < upper, None for no limit; got {limits}.")


def neglected(image: Image) -> dict[str, str]:
    """What an image's header says of its pointing and nobody applies, as assumptions; a warning besides.

    Parameters
    ----------
    image : `~sunalign.images.Image`
        The target, as it was given.
    """
    tables = pointing_tables(image.meta, image.wcs)
    if not tables:
        return {}
    warn_user(
        f"{image.name} has pointing tables ({', '.join(tables)}) that are not applied: every slit position is taken to "
        f"be where CRVAL, CDELT and PC put it. Give the path of the file and put 'drift' into fit to test the tables, "
        f"and their sign; pointing='file' applies them, and pointing='ignore' leaves them alone."
    )
    return {"pointing tables": f"{', '.join(tables)} of the header not applied"}


def prepared_references(references: Sequence[Any], mask: np.ndarray | None, limits: Limits | None) -> list[Any]:
    """References with mask and limits applied; without those they stay unopened.

    Parameters
    ----------
    references : sequence
        As from `as_references`.
    mask : `numpy.ndarray` of `bool`, shape (ny, nx), or `None`
        True where a pixel is to be ignored.
    limits : pair, or `None`
        Lowest and highest intensity that counts.
    """
    if mask is None and limits is None:
        return list(references)
    return [prepare(to_image(reference), mask, limits, "reference") for reference in references]


def checked_jobs(n_jobs: int) -> int:
    """Number of worker processes: positive, or one a core for -1.

    Parameters
    ----------
    n_jobs : `int`
    """
    if not isinstance(n_jobs, Integral) or n_jobs == 0 or n_jobs < -1:
        raise ValueError(f"'n_jobs' is a number of processes, 1 or more, or -1 for one a core; got {n_jobs!r}.")
    return (
        len(os.sched_getaffinity(0))
        if n_jobs == -1 and hasattr(os, "sched_getaffinity")
        else (os.cpu_count() or 1 if n_jobs == -1 else int(n_jobs))
    )


def checked_budget(max_evaluations: int | None) -> int | None:
    """Largest number of evaluations: 1 or more, or `None` for no limit.

    Parameters
    ----------
    max_evaluations : `int` or `None`
    """
    if max_evaluations is None:
        return None
    if not isinstance(max_evaluations, Integral) or max_evaluations < 1:
        raise ValueError(f"'max_evaluations' is 1 or more, or None for no limit; got {max_evaluations!r}.")
    return int(max_evaluations)


def checked_overlap(min_overlap: float) -> float:
    """Fraction of the target that the reference has to cover.

    Parameters
    ----------
    min_overlap : `float`
        From 0 to 1.
    """
    if not (isinstance(min_overlap, Real) and 0 <= min_overlap <= 1):
        raise ValueError(f"'min_overlap' is a fraction of the target's valid pixels, 0 to 1; got {min_overlap!r}.")
    return float(min_overlap)


def make_rng(rng: np.random.Generator | int | None) -> np.random.Generator:
    """Normalise as SPEC 7 says.

    Parameters
    ----------
    rng : `numpy.random.Generator`, `int` or `None`
        `None` for another draw every time.
    """
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise TypeError(f"'rng' is a numpy.random.Generator, a seed of 0 or more, or None; got {rng!r}.") from None
