"""The images of a FITS file: which of them share a pointing, and what a correction changes in each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sunalign._fits_blocks import HDU
from sunalign.correction import Correction
from sunalign.correctors._refit import refit
from sunalign.correctors._solve import sample_pixels
from sunalign.correctors._still import ACROSS
from sunalign.exceptions import CorrectionError

__all__ = ["base_image", "changed_cards", "chosen_images"]


def base_image(found: Sequence[HDU], hdu: int | str | None, path: Path) -> HDU:
    """Image the correction was found on: the one asked for, or the first with celestial coordinates."""
    if hdu is not None:
        base = _named(found, hdu, path)
        if base.sky is None:
            raise CorrectionError(f"HDU {base.label} of {path} is no image with celestial coordinates.")
        return base
    images = [item for item in found if item.sky is not None]
    if not images:
        raise CorrectionError(
            f"{path} has no image to correct: none of its {len(found)} HDUs has one longitude and one latitude axis "
            f"such as HPLN-TAN and HPLT-TAN."
        )
    return next((item for item in images if item.shape), images[0])


def _named(found: Sequence[HDU], name: int | str, path: Path) -> HDU:
    for item in found:
        if name in (item.number, str(item.header.get("EXTNAME", "")).strip()):
            return item
    raise CorrectionError(f"{path} has no HDU {name!r}; it has {', '.join(item.label for item in found)}.")


def chosen_images(
    found: Sequence[HDU], base: HDU, hdus: str | Sequence[int | str], path: Path
) -> tuple[list[HDU], list[HDU]]:
    """Images to correct, and images left alone because they point elsewhere."""
    images = [item for item in found if item.sky is not None]
    if hdus == "all":
        return images, []
    if hdus == "same-pointing":
        same = [item for item in images if item is base or _same_pointing(base, item)]
        return same, [item for item in images if item not in same]
    if isinstance(hdus, str):
        hdus = (hdus,)
    chosen = [_named(found, name, path) for name in hdus]
    for item in chosen:
        if item.sky is None:
            raise CorrectionError(f"HDU {item.label} of {path} is no image with celestial coordinates.")
    return chosen, []


def changed_cards(hdu: HDU, base: HDU, correction: Correction, tolerance: float) -> dict[str, float]:
    """Keywords of an image that a correction changes."""
    try:
        cards = refit(hdu.placed, correction, _shape(hdu, base), tolerance)[0]
    except CorrectionError as error:
        raise CorrectionError(f"HDU {hdu.label}: {error}") from error
    # A raster axis without extent keeps it.
    return {key: value for key, value in cards.items() if hdu.placed is hdu.header or key not in ACROSS}


def _same_pointing(base: HDU, other: HDU) -> bool:
    one, two = base.sky, other.sky
    assert one is not None
    assert two is not None
    corners = sample_pixels(one, _shape(base, base), count=2)
    theirs = np.zeros((two.rows.shape[1], corners.shape[1]))
    theirs[list(two.axes)] = corners[list(one.axes)]
    difference = one.from_sky(two.to_sky(two.to_plane(theirs))) - one.to_plane(corners)
    return bool((one.in_pixels(difference) < 0.1).all())


def _shape(hdu: HDU, base: HDU) -> tuple[int, ...]:
    """Array shape; where the data are elsewhere, one centred on CRPIX, which only says where the fit is checked."""
    if hdu.shape or base.shape:
        return hdu.shape or base.shape
    assert hdu.sky is not None
    return tuple(max(1, round(2 * c + 1)) for c in hdu.sky.crpix[::-1])
