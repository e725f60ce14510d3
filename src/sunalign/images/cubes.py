"""Cubes: which wavelengths to look at, which pixels to leave out, and what a correction means for sibling windows.

A spectral cube is aligned through one image made of it. ``cube.align_to(reference)`` takes the mean over everything
that is not celestial; `spectral_image` chooses a line or an interval, and what comes back of an alignment is still the
whole cube, corrected::

    cube.align_to(reference, wavelength=(70.55, 70.66) * u.nm)
    sunalign.align(sunalign.images.cubes.spectral_image(cube, line="Mg IX 706"), reference).aligned

The correction found on one window holds for all windows that share its pointing:
`sunalign.correctors.apply_to_windows`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import astropy.units as u

from ndcube.ndcube import NDCubeBase

from sunalign.exceptions import ImageError
from sunalign.images._cube_sky import CubeSky, cube_sky, window_name
from sunalign.images._image import Image, along_steps, clean_data
from sunalign.images._wavelengths import interval, lines, selected
from sunalign.wcs.plausible import pixel_grid, refuse_sit_and_stare

__all__ = ["CHOICES", "CubeSky", "cube_sky", "lines", "spectral_image", "window_name"]

Reduction = str | Callable[..., np.ndarray]

#: Keywords of `spectral_image`, which ``cube.align_to`` takes too.
CHOICES = ("wavelength", "width", "line", "reduce", "mask_dumbbells")

#: Pixels of the SPICE detectors along the slit, those lit through the slit, and those to leave out at either end: there
#: the line of sight slides off the slit, and beyond it are the dumbbells.
_DETECTOR, _LIT, _MARGIN = 1024, {"SW": 600, "LW": 626}, 20


def spectral_image(
    cube: NDCubeBase,
    *,
    wavelength: u.Quantity | None = None,
    width: u.Quantity | None = None,
    line: str | None = None,
    reduce: Reduction = "mean",
    mask_dumbbells: bool = True,
) -> Image:
    """Image of a cube to be aligned in its stead.

    Parameters
    ----------
    cube : `~ndcube.NDCube`
        Of any number of dimensions in any order, two of them celestial.
    wavelength : `~astropy.units.Quantity`, optional
        ``(lower, upper)``, or the middle of an interval of the given ``width``; in any spectral unit. All of the cube
        by default.
    width : `~astropy.units.Quantity`, optional
        Full width of the interval about ``wavelength`` or ``line``, as a wavelength or a velocity; by default a
        thousandth of the wavelength, which is 150 km/s either way.
    line : `str`, optional
        Name of a line, or its beginning, that the metadata list; see `lines`.
    reduce : {"mean", "sum", "max"} or callable
        What is done with the valid values along all axes that are not celestial. A callable is given an array of shape
        ``(n, ny, nx)``, NaN where a value is not valid, and ``axis=0``, as `numpy.nanmedian` would be.
    mask_dumbbells : `bool`
        Leave out rows of SPICE beyond the slit, where the dumbbells are, and the 20 detector pixels next to either of
        its ends. Nothing is done where the metadata do not have DETECTOR and PXBEG2.

    Returns
    -------
    `~sunalign.images.Image`
        With the whole cube as its source, so that an alignment of it returns the corrected cube.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        No such wavelength or line; a sit-and-stare or a single slit position; no two celestial axes.

    Examples
    --------
    >>> import astropy.units as u
    >>> from sunalign.images.cubes import spectral_image
    >>> from sunalign.testing.helpers import small_cube
    >>> cube = small_cube(n_wavelengths=5)
    >>> spectral_image(cube, wavelength=(97.71, 97.73) * u.nm).data.shape
    (48, 40)
    """
    label = window_name(cube)
    name = f"The cube {label}".strip()
    meta = cube.meta if isinstance(cube.meta, Mapping) else {}
    refuse_sit_and_stare(meta, name)
    sky = cube_sky(cube, name)
    _refuse_one_step(cube, sky, name)
    part = selected(cube, interval(cube, wavelength, width, line), name)
    data = _reduced(_valid(cube, part), sky, reduce)
    if mask_dumbbells:
        data[off_slit(meta, sky, data.shape[0], name)] = np.nan
    grid = pixel_grid(sky.wcs, data.shape, name)
    return along_steps(Image(data, grid, meta, cube, label or "cube", cube.unit))


def _refuse_one_step(cube: NDCubeBase, sky: CubeSky, name: str) -> None:
    if cube.data.shape[sky.x_axis] == 1:
        raise ImageError(
            f"{name} has one slit position only: a sit-and-stare or a single exposure, and no image. "
            f"sunalign.align takes it as a target all the same."
        )


def _valid(cube: NDCubeBase, chosen: tuple[tuple[slice, ...], np.ndarray | None]) -> np.ndarray:
    """Data where they were selected, NaN where they are not valid."""
    part, inside = chosen
    mask = None if cube.mask is None else np.broadcast_to(cube.mask, cube.data.shape)[part]
    values = clean_data(cube.data[part], mask)
    return values if inside is None else np.where(inside, values, np.nan)


def _reduced(values: np.ndarray, sky: CubeSky, reduce: Reduction) -> np.ndarray:
    values = np.moveaxis(values, (sky.y_axis, sky.x_axis), (-2, -1))
    values = values.reshape(-1, *values.shape[-2:])
    if callable(reduce):
        with warnings.catch_warnings():
            # That a pixel has no valid value at all is what the NaN it gets says.
            warnings.simplefilter("ignore", RuntimeWarning)
            image = np.asarray(reduce(values, axis=0), float)
        if image.shape != values.shape[1:]:
            raise ImageError(f"'reduce' returned an array of shape {image.shape}; it has to be {values.shape[1:]}.")
        return np.where(np.isfinite(image), image, np.nan)
    valid = np.isfinite(values)
    count = valid.sum(axis=0)
    if reduce == "max":
        image = np.where(valid, values, -np.inf).max(axis=0)
    elif reduce in ("mean", "sum"):
        image = np.where(valid, values, 0.0).sum(axis=0) / (np.maximum(count, 1) if reduce == "mean" else 1)
    else:
        raise ValueError(f"'reduce' is 'mean', 'sum', 'max' or a callable such as numpy.nanmedian; got {reduce!r}.")
    return np.where(count > 0, image, np.nan)


# Rows beyond the slit


def off_slit(meta: Mapping[str, Any], sky: CubeSky, n_rows: int, name: str) -> np.ndarray:
    """Rows of a SPICE window that are not well inside the slit.

    Parameters
    ----------
    meta : mapping
        Of the window.
    sky : `~sunalign.images._cube_sky.CubeSky`
        Which way its rows run over the detector.
    n_rows : `int`
    name : `str`
        How to speak of the cube in messages.

    Returns
    -------
    `numpy.ndarray` of `bool`, shape (n_rows,)
    """
    none = np.zeros(n_rows, bool)
    if "SPICE" not in str(meta.get("INSTRUME", "")).upper():
        return none
    if meta.get("DUMBBELL") in (1, 2):
        raise ImageError(
            f"{name} is a dumbbell, which lies beyond the slit; align one of the spectral windows, or say "
            f"mask_dumbbells=False."
        )
    lit, first = _LIT.get(str(meta.get("DETECTOR")).strip()), meta.get("PXBEG2")
    if lit is None or first is None or sky.core is None or sky.matrix is None or sky.offset is None:
        return none
    edges = _detector_edges(meta, sky, n_rows, float(first), float(meta.get("NBIN2") or 1))
    reach = lit / 2 - _MARGIN
    return np.asarray(np.abs(edges - (_DETECTOR + 1) / 2).max(axis=0) > reach + 1e-6)


def _detector_edges(meta: Mapping[str, Any], sky: CubeSky, n_rows: int, first: float, binning: float) -> np.ndarray:
    """Lower and upper edges, shape (2, n_rows), of a cube's rows in detector pixels, counted from 1."""
    assert sky.core is not None
    assert sky.matrix is not None
    assert sky.offset is not None
    lat = sky.core.wcs.lat
    edges = np.arange(n_rows) + np.array([[-0.5], [0.5]])
    rows = sky.matrix[lat, sky.matrix.shape[1] - 1 - sky.y_axis] * edges + sky.offset[lat]
    # The cube's WCS may have been cut to a part of the window whose keywords are in the metadata.
    rows = rows + float(meta.get(f"CRPIX{lat + 1}", sky.core.wcs.crpix[lat])) - sky.core.wcs.crpix[lat]
    return first - 0.5 + binning * (rows + 0.5)
