"""Any image in; data, celestial grid, times and observer inside.

`to_image` takes a `~sunpy.map.GenericMap`, an `~ndcube.NDCube` with two celestial axes (see `sunalign.images.cubes`),
``(data, header)``, ``(data, wcs)`` or the path of a FITS file. The rest of the package sees `Image`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, singledispatch
from pathlib import Path
from typing import Any

import numpy as np

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from astropy.wcs.wcsapi import BaseLowLevelWCS

import sunpy.map
from sunpy.coordinates.wcs_utils import solar_wcs_frame_mapping
from sunpy.map import GenericMap
from sunpy.util.exceptions import SunpyMetadataWarning

from sunalign.exceptions import ImageError, told
from sunalign.geometry.coordinates import PixelGrid
from sunalign.geometry.times import StepTimes, refuse_sit_and_stare, step_times
from sunalign.wcs.celestial import celestial_wcs, two_axes

__all__ = ["Image", "celestial_wcs", "clean_data", "read_map", "to_image"]


@dataclass(frozen=True, eq=False)
class Image:
    """A two-dimensional image on the sky.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
        Native float64; NaN where there is no valid value.
    grid : `~sunalign.geometry.coordinates.PixelGrid`
        Where the pixels are.
    meta : mapping
        Header the image came with; may be empty.
    source : object
        What was given: the corrected copy is of its type.
    name : `str`
        How to speak of it in messages and titles.
    unit : `~astropy.units.UnitBase`, optional
    """

    data: np.ndarray
    grid: PixelGrid
    meta: Mapping[str, Any] = field(default_factory=dict)
    source: Any = None
    name: str = "image"
    unit: u.UnitBase | None = None

    @property
    def wcs(self) -> WCS:
        """Two-dimensional celestial WCS of the image as it was given (before any crop or binning)."""
        return self.grid.wcs

    @property
    def mask(self) -> np.ndarray:
        """True where the image has no valid value."""
        return ~np.isfinite(self.data)

    @cached_property
    def observer(self) -> SkyCoord | None:
        """Where the image was seen from, in Heliographic Stonyhurst; `None` where the header does not say."""
        if isinstance(self.source, GenericMap):
            # The map would assume Earth and only warn; a missing observer is for the caller to decide about.
            known = self.source._supported_observer_coordinates
            if not any(all(key in self.source.meta for key in keys) for keys, _ in known):
                return None
            return self.source.observer_coordinate
        frame = solar_wcs_frame_mapping(self.wcs)
        observer = getattr(frame, "observer", None)
        if observer is None or isinstance(observer, str):
            return None
        return SkyCoord(observer)

    @cached_property
    def date(self) -> Time | None:
        """Time the coordinates refer to, which is the map's reference date, else DATE-AVG, DATE-OBS or DATE-BEG."""
        if isinstance(self.source, GenericMap):
            # A map without a date would take the current time for one.
            dated = ("_date_obs", "date_average", "date_start", "date_end")
            return self.source.reference_date if any(getattr(self.source, name) for name in dated) else None
        for key in ("DATE-AVG", "DATE-OBS", "DATE-BEG"):
            value = self.meta.get(key) or self.meta.get(key.lower())
            if value:
                return Time(value)
        return Time(self.wcs.wcs.dateobs) if self.wcs.wcs.dateobs else None

    @cached_property
    def times(self) -> StepTimes | None:
        """Time of every column; `None` where nothing dates the image."""
        return step_times(self)

    def crop(self, y: slice, x: slice) -> Image:
        """Sub-image of rows ``y`` and columns ``x``."""
        return replace(self, data=self.data[y, x], grid=self.grid.crop(y, x))

    def binned(self, by: int, bx: int) -> Image:
        """Means over blocks of ``by`` x ``bx`` pixels; NaN where fewer than half of a block's pixels are valid."""
        if by == bx == 1:
            return self
        grid = self.grid.binned(by, bx)
        return replace(self, data=_block_mean(self.data, by, bx, grid.shape), grid=grid)

    def masked(self, mask: np.ndarray) -> Image:
        """Copy without the pixels where ``mask`` is True."""
        return replace(self, data=np.where(mask, np.nan, self.data))

    def to_map(self) -> GenericMap:
        """Return the image as a Map on its own, possibly cropped or binned, grid."""
        x0, bx, y0, by = self.grid.to_base
        header = self.wcs.to_header()
        for axis, (start, factor) in enumerate(((x0, bx), (y0, by)), start=1):
            header[f"CRPIX{axis}"] = (self.wcs.wcs.crpix[axis - 1] - 1 - start) / factor + 1
            for row in (1, 2):
                header[f"PC{row}_{axis}"] = header.get(f"PC{row}_{axis}", float(row == axis)) * factor
        kept = {k: self.meta[k] for k in _PICTURE_KEYS if k in self.meta}
        if self.date is not None:
            kept.setdefault("date-obs", self.date.isot)
        picture = sunpy.map.Map(self.data, {**kept, **dict(header)})
        if isinstance(self.source, GenericMap):
            picture.plot_settings.update({k: v for k, v in self.source.plot_settings.items() if k != "norm"})
        return picture


def _block_mean(data: np.ndarray, by: int, bx: int, shape: tuple[int, int]) -> np.ndarray:
    data = data[: shape[0] * by, : shape[1] * bx]
    valid = np.isfinite(data)
    if valid.all():
        return _block_sum(data, by, bx) / (by * bx)
    count = _block_sum(valid.astype(float), by, bx)
    total = _block_sum(np.where(valid, data, 0.0), by, bx)
    return np.where(2 * count >= by * bx, total / np.maximum(count, 1), np.nan)


def _block_sum(data: np.ndarray, by: int, bx: int) -> np.ndarray:
    # Whole rows first: sums along short inner axes are slow.
    rows = data[::by].copy()
    for k in range(1, by):
        rows += data[k::by]
    total = rows[:, ::bx].copy()
    for k in range(1, bx):
        total += rows[:, k::bx]
    return total


@singledispatch
def to_image(source: Any) -> Image:
    """Read anything that is an image.

    Parameters
    ----------
    source : `~sunpy.map.GenericMap`, `~ndcube.NDCube`, `tuple`, `str` or `~pathlib.Path`
        A map; a cube with two celestial axes (as `sunalign.images.cubes.spectral_image` reduces it by default: the mean
        of the valid values along its other axes); ``(data, header)`` or ``(data, wcs)``; the path of a FITS file whose
        first image has two dimensions.

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
    refuse_sit_and_stare(source.meta, name)
    with warnings.catch_warnings():
        # That an observer or a date is missing is told by what needs them; a unit is never needed.
        warnings.filterwarnings("ignore", "Missing metadata for observ", SunpyMetadataWarning)
        warnings.filterwarnings("ignore", "Could not parse unit string", SunpyMetadataWarning)
        warnings.simplefilter("ignore", u.UnitsWarning)
        grid, unit = PixelGrid(two_axes(source.wcs, name), source.data.shape), source.unit
    return Image(clean_data(source.data, source.mask), grid, source.meta, source, name, unit)


@to_image.register
def _(source: tuple) -> Image:  # type: ignore[type-arg]
    if len(source) != 2 or not hasattr(source[0], "shape"):
        raise ImageError("A tuple is (data, header) or (data, wcs), with data a two-dimensional array.")
    data, header = source
    if np.ndim(data) != 2:
        raise ImageError(f"The data of a (data, header) image have two dimensions; these have {np.ndim(data)}.")
    meta = {} if isinstance(header, BaseLowLevelWCS) else header
    wcs = two_axes(header if isinstance(header, BaseLowLevelWCS) else celestial_wcs(header), "The header")
    mask = data.mask if isinstance(data, np.ma.MaskedArray) else None
    return Image(clean_data(np.ma.getdata(data), mask), PixelGrid(wcs, np.shape(data)), meta, source, "array")


@to_image.register(str)
@to_image.register(os.PathLike)
def _(source: Any) -> Image:
    return replace(to_image(read_map(source)), name=Path(source).name)


def read_map(path: str | os.PathLike[str]) -> GenericMap:
    """Open the first image of a FITS file as a Map, or say what is wrong with the file."""
    path = Path(path)
    if not path.exists():
        raise ImageError(f"There is no file {path}.")
    if path.is_dir():
        raise ImageError(f"{path} is a directory; give one FITS file of it.")
    try:
        with _quiet_about_length(), fits.open(path) as hdus:
            images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) >= 2]
            if not images:
                raise ImageError(f"{path} holds no image: none of its {len(hdus)} HDUs has two axes.")
            # A private copy in memory: the file is closed on return, and big-endian or scaled data are read once.
            data, header = np.array(images[0].data), images[0].header.copy()
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, ImageError):
            raise
        if "No SIMPLE card" in str(error):
            raise ImageError(f"{path} cannot be read as FITS: it does not begin with the keyword SIMPLE.") from error
        raise ImageError(
            f"{path} cannot be read as FITS ({told(error)}). If it is a FITS file it may be truncated; fetch it again."
        ) from error
    data = data.reshape([n for n in data.shape if n > 1]) if data.ndim > 2 else data
    if data.ndim != 2:
        raise ImageError(
            f"{path} holds a cube of shape {data.shape}; choose a window and a wavelength range first: "
            f"read it with sunraster or ndcube, and align that cube (see sunalign.images.cubes)."
        )
    celestial_wcs(header)
    return sunpy.map.Map(data, header)


@contextmanager
def _quiet_about_length() -> Iterator[None]:
    # Data that are missing are an error of their own, and blanks that are missing after them do no harm.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="File may have been truncated")
        yield


_PICTURE_KEYS = (
    "telescop", "instrume", "detector", "obsrvtry", "wavelnth", "waveunit", "bunit", "rsun_ref", "rsun_obs",
    "dsun_obs", "hgln_obs", "hglt_obs", "crln_obs", "crlt_obs", "date-obs", "date-avg", "date-beg", "date-end",
    "exptime",
)  # fmt: skip


def clean_data(data: Any, mask: Any) -> np.ndarray:
    """Native float64 copy of data, NaN where they are not finite or masked (True, as in NDData)."""
    clean = np.array(data, dtype=np.float64)
    clean[~np.isfinite(clean)] = np.nan
    if mask is not None and mask is not False:
        clean[np.broadcast_to(mask, clean.shape)] = np.nan
    return clean
