"""Whatever holds an image, read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from astropy.io import fits
from astropy.wcs import WCS, WcsError
from astropy.wcs.wcsapi import BaseLowLevelWCS

import sunpy.map
from ndcube import NDCollection
from ndcube.ndcube import NDCubeBase
from ndcube.ndcube_sequence import NDCubeSequenceBase
from sunpy.map import GenericMap, MapSequence

from sunalign.exceptions import ImageError, describe_error
from sunalign.images._image import Image, along_steps, clean_data
from sunalign.images.cubes import spectral_image
from sunalign.wcs.celestial import celestial_wcs, two_axes
from sunalign.wcs.distortion import misread_by_map
from sunalign.wcs.fits_plane import first_on_sky, no_file, one_position, plane_of
from sunalign.wcs.header import plain_values, sky_axes
from sunalign.wcs.plausible import number_of, pixel_grid, refuse_sit_and_stare, unusable
from sunalign.wcs.readable import quiet_about_metadata, readable_map

__all__ = ["map_image", "map_wcs", "read_map", "to_image"]


@singledispatch
def to_image(source: Any) -> Image:
    """Read anything that is an image.

    Parameters
    ----------
    source : `~sunpy.map.GenericMap`, `~ndcube.NDCube`, `tuple`, `str` or `~pathlib.Path`
        A map; a cube with two celestial axes (as `sunalign.images.cubes.spectral_image` reduces it by default: the mean
        of the valid values along its other axes); ``(data, header)`` or ``(data, wcs)``; the path of a FITS file. There
        the first image with celestial axes is taken, whose other axes are one pixel long.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        It is none of these, or has no celestial coordinates.
    """
    raise ImageError(
        f"An image is a sunpy Map, an NDCube, (data, header), (data, wcs) or the path of a FITS file; "
        f"got {type(source).__name__}."
    )


@to_image.register
def _(source: Image) -> Image:
    return source


@to_image.register
def _(source: GenericMap) -> Image:
    name = str(
        source.meta.get("filename") or f"{source.observatory} {source.detector or source.instrument}".strip() or "map"
    )
    return _of_map(source, name)


def _of_map(source: GenericMap, name: str) -> Image:
    refuse_sit_and_stare(source.meta, name)
    _refuse_squeezed(source.meta, source.data.shape, name)
    return along_steps(map_image(source, clean_data(source.data, source.mask), name))


def map_image(source: GenericMap, data: np.ndarray, name: str) -> Image:
    """Image of a map.

    Parameters
    ----------
    source : `~sunpy.map.GenericMap`
    data : `numpy.ndarray`, shape (ny, nx)
        Float64 with NaN, which may stand for the map's own.
    name : `str`
        How to speak of it in messages.
    """
    with quiet_about_metadata():
        readable = readable_map(source)
        grid, unit = pixel_grid(map_wcs(readable, name), source.data.shape, name), source.unit
    image = Image(data, grid, source.meta, source, name, unit)
    image._once("readable", lambda: readable)
    return image


@to_image.register(MapSequence)
@to_image.register(list)
@to_image.register(set)
@to_image.register(frozenset)
@to_image.register(Iterator)
def _(source: Any) -> Image:
    raise ImageError(_several(source))


def _several(source: Any) -> str:
    return (
        f"A {type(source).__name__} holds several images where one is needed. Align a sequence with "
        f"sunalign.align_sequence(frames, reference), or each image by itself with sunalign.align(frame, reference)."
    )


def map_wcs(source: GenericMap, name: str) -> WCS:
    """Celestial WCS of a map, with what its own ``wcs`` leaves out of its header.

    Parameters
    ----------
    source : `~sunpy.map.GenericMap`
    name : `str`
        How to speak of it in messages.
    """
    if misread_by_map(source.meta):
        return celestial_wcs(source.meta, name)
    try:
        return two_axes(source.wcs, name)
    except WcsError as error:
        raise ImageError(unusable(source.meta, name)) from error


def _refuse_squeezed(header: Mapping[str, Any], shape: tuple[int, ...], name: str) -> None:
    """Refuse an array that is not longitude and latitude but what was left of a larger one after squeezing.

    Its header still says how long each axis was.
    """
    axes = sky_axes(plain_values(header))
    upper = {str(key).upper(): header[key] for key in header if str(key).upper().startswith("NAXIS")}
    if axes is None or number_of(upper.get("NAXIS")) <= 2 or 1 in shape:
        return
    single = [f"NAXIS{axis}" for axis in axes if number_of(upper.get(f"NAXIS{axis}")) == 1]
    if single:
        raise ImageError(one_position(name, f"{single[0]} = 1, and data of shape {shape}"))


@to_image.register
def _(source: tuple) -> Image:  # type: ignore[type-arg]
    if source and all(isinstance(item, (GenericMap, Image, str, os.PathLike)) for item in source):
        raise ImageError(_several(source))
    if len(source) != 2 or not hasattr(source[0], "shape"):
        raise ImageError("A tuple is (data, header) or (data, wcs), with data a two-dimensional array.")
    data, header = source
    if np.ndim(data) != 2:
        raise ImageError(f"The data of a (data, header) image have two dimensions; these have {np.ndim(data)}.")
    if not isinstance(header, (BaseLowLevelWCS, Mapping)):
        raise ImageError(
            f"The header of a (data, header) image is a FITS header, a dict of its cards or a WCS; "
            f"got {type(header).__name__}."
        )
    meta = {} if isinstance(header, BaseLowLevelWCS) else header
    if not isinstance(header, BaseLowLevelWCS):
        _refuse_squeezed(header, np.shape(data), "The observation")
    wcs = two_axes(header if isinstance(header, BaseLowLevelWCS) else celestial_wcs(header), "The header")
    mask = data.mask if isinstance(data, np.ma.MaskedArray) else None
    grid = pixel_grid(wcs, np.shape(data), "The image")
    return along_steps(Image(clean_data(np.ma.getdata(data), mask), grid, meta, source, "array"))


@to_image.register
def _(source: NDCubeBase) -> Image:
    return spectral_image(source)


@to_image.register(NDCubeSequenceBase)
@to_image.register(NDCollection)
def _(source: Any) -> Image:
    raise ImageError(
        f"A {type(source).__name__} holds several cubes; align one of them, and give the correction to all with "
        f"sunalign.correctors.apply_to_windows."
    )


@to_image.register(str)
@to_image.register(os.PathLike)
def _(source: Any) -> Image:
    return _of_map(read_map(source), Path(source).name)


def read_map(path: str | os.PathLike[str]) -> GenericMap:
    """Open the first image with celestial axes of a FITS file as a Map.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    `~sunpy.map.GenericMap`
        In memory; the file is closed.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        Says what is wrong with the file.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(no_file(path))
    if path.is_dir():
        raise ImageError(f"{path} is a directory; give one FITS file of it.")
    try:
        with _quiet_about_length(), fits.open(path) as hdus:
            hdu = first_on_sky(hdus, path)
            refuse_sit_and_stare(hdu.header, str(path))
            plane = plane_of(hdu.shape, hdu.header, path)
            # A private copy in memory: the file is closed on return, and big-endian or scaled data are read once.
            data, header = plane.image(np.array(hdu.data)), plane.header.copy()
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, ImageError):
            raise
        if "No SIMPLE card" in str(error):
            raise ImageError(f"{path} cannot be read as FITS: it does not begin with the keyword SIMPLE.") from error
        raise ImageError(
            f"{path} cannot be read as FITS ({describe_error(error)}). If it is a FITS file it may be truncated; "
            f"fetch it again."
        ) from error
    celestial_wcs(header, str(path))
    return sunpy.map.Map(data, header)


@contextmanager
def _quiet_about_length() -> Iterator[None]:
    # Data that are missing are an error of their own, and blanks that are missing after them do no harm.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="File may have been truncated")
        yield
