"""Any image in; data, celestial grid, times and observer inside.

`to_image` takes a `~sunpy.map.GenericMap`, an `~ndcube.NDCube` with two celestial axes (see `sunalign.images.cubes`),
``(data, header)``, ``(data, wcs)`` or the path of a FITS file. The rest of the package sees `Image`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import singledispatch
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
from ndcube import NDCollection
from ndcube.ndcube import NDCubeBase
from ndcube.ndcube_sequence import NDCubeSequenceBase
from sunpy.coordinates.wcs_utils import solar_wcs_frame_mapping
from sunpy.map import GenericMap

from sunalign.exceptions import ImageError, told, warn_user
from sunalign.geometry.coordinates import PixelGrid
from sunalign.geometry.dates import Dates, read_dates, wcs_dates, without_dates
from sunalign.geometry.times import StepTimes, header_runs_along_rows, header_times, refuse_sit_and_stare
from sunalign.images._cube_times import cube_runs_along_rows, cube_times
from sunalign.wcs.celestial import celestial_wcs, flat_wcs, two_axes
from sunalign.wcs.readable import dates_itself, quiet_about_metadata, readable_map

__all__ = ["Image", "celestial_wcs", "clean_data", "read_map", "to_image"]


@dataclass(frozen=True, eq=False)
class _Known:
    """What was read once of an image and holds for all its crops and binnings: of one source and one WCS."""

    source: Any
    wcs: WCS
    found: dict[str, Any] = field(default_factory=dict)


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
    transposed : `bool`
        Whether rows and columns of the source have changed places, so that raster steps follow each other along x.
    """

    data: np.ndarray
    grid: PixelGrid
    meta: Mapping[str, Any] = field(default_factory=dict)
    source: Any = None
    name: str = "image"
    unit: u.UnitBase | None = None
    transposed: bool = False
    _known: _Known | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        known = self._known
        if known is None or known.source is not self.source or known.wcs is not self.grid.wcs:
            object.__setattr__(self, "_known", _Known(self.source, self.grid.wcs))

    @property
    def wcs(self) -> WCS:
        """Two-dimensional celestial WCS of the image as it was given (before any crop or binning)."""
        return self.grid.wcs

    @property
    def mask(self) -> np.ndarray:
        """True where the image has no valid value."""
        return ~np.isfinite(self.data)

    @property
    def observer(self) -> SkyCoord | None:
        """Where the image was seen from, in Heliographic Stonyhurst; `None` where the header does not say."""
        return self._once("observer", lambda: _observer(self))

    @property
    def dates(self) -> Dates:
        """What the header says about when the image was taken; a warning where it contradicts itself."""
        return self._once("dates", lambda: _told_dates(self))

    @property
    def date(self) -> Time | None:
        """Time the coordinates refer to; `None` where nothing dates the image.

        The reference date of a map: DATE-AVG, else T_OBS, DATE-OBS or what there is (see `sunalign.geometry.dates`). Of
        one image out of a sequence it is that image's own time.
        """
        return self._once("date", lambda: _date(self))

    @property
    def times(self) -> StepTimes | None:
        """Time of every column; `None` where nothing dates the image."""
        times = self._once("times", lambda: _times(self))
        return None if times is None else times.on(self.grid)

    def _once(self, name: str, find: Callable[[], Any]) -> Any:
        """Find something that crops and binnings of an image have in common."""
        found = self._known.found  # type: ignore[union-attr]
        if name not in found:
            found[name] = find()
        return found[name]

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
        dates = replace(self.dates, reference=self.date).cards()
        cards = {**kept, **(without_dates(header) if dates else header), **dates}
        picture = sunpy.map.Map(self.data, cards)
        if isinstance(self.source, GenericMap):
            picture.plot_settings.update({k: v for k, v in self.source.plot_settings.items() if k != "norm"})
        return picture


# When and from where


def _told_dates(image: Image) -> Dates:
    dates = read_dates(image.meta)
    if dates.reference is None and not dates.problems and not isinstance(image.source, GenericMap):
        # A map without a date gives its WCS the current time.
        dates = read_dates(wcs_dates(image.wcs))
    for problem in dates.problems:
        warn_user(f"{image.name} has {problem}.")
    return dates


def _date(image: Image) -> Time | None:
    if isinstance(image.source, NDCubeBase):
        # What time has to say about one image out of a sequence; the header in the metadata is that of the first.
        with suppress(ImageError):
            times = image._once("cube", lambda: cube_times(image))
            if times is not None and times.is_instant:
                return times.at(0.0)
    if isinstance(image.source, GenericMap) and dates_itself(type(image.source)):
        return image.source.reference_date
    return image.dates.reference


def _times(image: Image) -> StepTimes | None:
    if isinstance(image.source, NDCubeBase):
        found = image._once("cube", lambda: cube_times(image))
        if found is not None:
            return found
    return header_times(image)


def _observer(image: Image) -> SkyCoord | None:
    observer = _map_observer(image) if isinstance(image.source, GenericMap) else _wcs_observer(image)
    if observer is None or image.date is None:
        return observer
    # At the image's own date: where in a sequence the header's is another, it is the best that is known.
    return SkyCoord(observer.lon, observer.lat, observer.radius, frame="heliographic_stonyhurst", obstime=image.date)


def _map_observer(image: Image) -> SkyCoord | None:
    # The map would assume Earth and only warn; a missing observer is for the caller to decide about.
    known = image.source._supported_observer_coordinates
    if not any(all(key in image.source.meta for key in keys) for keys, _ in known):
        return None
    with quiet_about_metadata():
        return image._once("readable", lambda: readable_map(image.source)).observer_coordinate


def _wcs_observer(image: Image) -> SkyCoord | None:
    wcs = image.wcs.deepcopy()
    wcs.wcs.dateobs = wcs.wcs.dateavg = "" if image.dates.reference is None else image.dates.reference.utc.isot
    observer = getattr(solar_wcs_frame_mapping(wcs), "observer", None)
    if observer is None or isinstance(observer, str):
        return None
    return SkyCoord(observer)


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
    return along_steps(map_image(source, clean_data(source.data, source.mask), name))


def map_image(source: GenericMap, data: np.ndarray, name: str) -> Image:
    """Image of a map, with data that may stand for the map's own."""
    with quiet_about_metadata():
        readable = readable_map(source)
        grid, unit = PixelGrid(two_axes(readable.wcs, name), source.data.shape), source.unit
    image = Image(data, grid, source.meta, source, name, unit)
    image._once("readable", lambda: readable)
    return image


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
    image = Image(clean_data(np.ma.getdata(data), mask), PixelGrid(wcs, np.shape(data)), meta, source, "array")
    return along_steps(image)


@to_image.register
def _(source: NDCubeBase) -> Image:
    from sunalign.images.cubes import spectral_image  # cubes are images made of several; they need this module

    return spectral_image(source)


@to_image.register(NDCubeSequenceBase)
@to_image.register(NDCollection)
def _(source: Any) -> Image:
    raise ImageError(
        f"A {type(source).__name__} holds several cubes; align one of them, and give the correction to all with "
        f"sunalign.correctors.apply_to_windows."
    )


def along_steps(image: Image) -> Image:
    """Transpose an image whose raster steps follow each other along y, as in a header with latitude first."""
    cube = isinstance(image.source, NDCubeBase)
    if not (cube_runs_along_rows(image) if cube else header_runs_along_rows(image)):
        return image
    wcs = flat_wcs(image.wcs, np.array([[0.0, 1.0], [1.0, 0.0]]), np.zeros(2), image.name)
    grid = PixelGrid(wcs, image.data.T.shape)
    return replace(image, data=np.ascontiguousarray(image.data.T), grid=grid, transposed=True)


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
    "dsun_obs", "hgln_obs", "hglt_obs", "crln_obs", "crlt_obs", "exptime",
)  # fmt: skip


def clean_data(data: Any, mask: Any) -> np.ndarray:
    """Native float64 copy of data, NaN where they are not finite or masked (True, as in NDData)."""
    clean = np.array(data, dtype=np.float64)
    clean[~np.isfinite(clean)] = np.nan
    if mask is not None and mask is not False:
        clean[np.broadcast_to(mask, clean.shape)] = np.nan
    return clean
