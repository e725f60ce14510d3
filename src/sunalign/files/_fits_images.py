"""The images of a FITS file: which of them share a pointing, and what a correction changes in each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sunalign.correction import Correction
from sunalign.exceptions import CorrectionError
from sunalign.files.fits_blocks import HDU
from sunalign.wcs.refit import refit
from sunalign.wcs.same_pointing import same_pointing
from sunalign.wcs.sky_part import SkyPart
from sunalign.wcs.still import ACROSS

__all__ = ["base_image", "changed_cards", "chosen_images"]


def base_image(found: Sequence[HDU], hdu: int | str | None, path: Path) -> HDU:
    """Image the correction was found on: the one asked for, or the first with celestial coordinates.

    Parameters
    ----------
    found : sequence of `~sunalign.files.fits_blocks.HDU`
        All of the file, in order.
    hdu : `int`, `str` or `None`
        Number or EXTNAME; `None` for the first image that has more than one row, if there is one.
    path : `~pathlib.Path`
        Of the file, for errors.
    """
    if hdu is not None:
        base = _named(found, hdu, path)
        _usable(base, path)
        return base
    # One whose axes are at fault is the one meant all the same; it is what is read as the target of an alignment.
    images = [item for item in found if item.sky is not None or item.fault]
    if not images:
        raise CorrectionError(
            f"{path} has no image to correct: none of its {len(found)} HDUs has one longitude and one latitude axis "
            f"such as HPLN-TAN and HPLT-TAN."
        )
    base = next((item for item in images if len(item.shape) > 1), images[0])
    _usable(base, path)
    return base


def _usable(item: HDU, path: Path) -> None:
    if item.fault:
        raise CorrectionError(f"{path.name}: {item.fault}")
    if item.sky is None:
        raise CorrectionError(f"HDU {item.label} of {path} is no image with celestial coordinates.")


def _named(found: Sequence[HDU], name: int | str, path: Path) -> HDU:
    for item in found:
        if name in (item.number, str(item.header.get("EXTNAME", "")).strip()):
            return item
    raise CorrectionError(f"{path} has no HDU {name!r}; it has {', '.join(item.label for item in found)}.")


def chosen_images(
    found: Sequence[HDU], base: HDU, hdus: str | Sequence[int | str], path: Path
) -> tuple[list[HDU], list[HDU]]:
    """Images to correct, and images left alone because they point elsewhere.

    Parameters
    ----------
    found : sequence of `~sunalign.files.fits_blocks.HDU`
        All of the file, in order.
    base : `~sunalign.files.fits_blocks.HDU`
        Image the correction was found on.
    hdus : `str` or sequence of `int` or `str`
        ``"all"``, ``"same-pointing"``, or numbers and EXTNAMEs.
    path : `~pathlib.Path`
        Of the file, for errors.
    """
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
        _usable(item, path)
    return chosen, []


def changed_cards(hdu: HDU, base: HDU, correction: Correction, tolerance: float) -> dict[str, float]:
    """Keywords of an image that a correction changes.

    Parameters
    ----------
    hdu : `~sunalign.files.fits_blocks.HDU`
        The image.
    base : `~sunalign.files.fits_blocks.HDU`
        Image the correction was found on, whose shape counts where this one's is another binning of it.
    correction : `~sunalign.Correction`
    tolerance : `float`
        Largest error of the coordinates that are written, in pixels.

    Returns
    -------
    `dict`
        Numbers by keyword, in the units of the header.
    """
    try:
        cards = refit(hdu.placed, correction, _shape(hdu, base), tolerance)[0]
    except CorrectionError as error:
        raise CorrectionError(f"HDU {hdu.label}: {error}") from error
    # A raster axis without extent keeps it.
    return {key: value for key, value in cards.items() if hdu.placed is hdu.header or key not in ACROSS}


def _same_pointing(base: HDU, other: HDU) -> bool:
    (one, lengths), (two, others) = (_celestial(item, base) for item in (base, other))
    return same_pointing(one, lengths, two, others)


def _celestial(hdu: HDU, base: HDU) -> tuple[SkyPart, list[int]]:
    """Celestial part of the WCS of an image, and how long its two axes are."""
    assert hdu.sky is not None
    shape = _shape(hdu, base)
    return hdu.sky, [shape[-1 - axis] if axis < len(shape) else 1 for axis in hdu.sky.axes]


def _shape(hdu: HDU, base: HDU) -> tuple[int, ...]:
    """Array shape; where the data are elsewhere, one centred on CRPIX, which only says where the fit is checked."""
    if hdu.shape or base.shape:
        return hdu.shape or base.shape
    assert hdu.sky is not None
    return tuple(max(1, round(2 * c + 1)) for c in hdu.sky.crpix[::-1])
