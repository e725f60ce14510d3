"""An image on the sky: data, grid, times and observer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

import sunpy.map
from ndcube.ndcube import NDCubeBase
from sunpy.coordinates.frames import HeliographicStonyhurst
from sunpy.coordinates.wcs_utils import solar_wcs_frame_mapping
from sunpy.map import GenericMap

from sunalign.exceptions import ImageError, warn_user
from sunalign.geometry.coordinates import PixelGrid
from sunalign.geometry.dates import Dates, read_dates, wcs_dates, without_dates
from sunalign.geometry.times import StepTimes
from sunalign.images.cube_times import cube_runs_along_rows, cube_times
from sunalign.images.header_times import header_runs_along_rows, header_times
from sunalign.wcs.celestial import flat_wcs
from sunalign.wcs.distortion import without_distortion
from sunalign.wcs.readable import dates_itself, quiet_about_metadata, readable_map

__all__ = ["Image", "along_steps", "clean_data"]


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
        """Sub-image.

        Parameters
        ----------
        y, x : slice
            Rows and columns, with explicit non-negative ends.
        """
        return replace(self, data=self.data[y, x], grid=self.grid.crop(y, x))

    def binned(self, by: int, bx: int) -> Image:
        """Means over blocks of ``by`` x ``bx`` pixels; NaN where fewer than half of a block's pixels are valid.

        Parameters
        ----------
        by, bx : `int`
            Rows and columns of a block; an incomplete last one is dropped.
        """
        if by == bx == 1:
            return self
        grid = self.grid.binned(by, bx)
        return replace(self, data=_block_mean(self.data, by, bx, grid.shape), grid=grid)

    def masked(self, mask: np.ndarray) -> Image:
        """Copy without some of its pixels.

        Parameters
        ----------
        mask : `numpy.ndarray` of `bool`, shape (ny, nx)
            True where a pixel is to be left out.
        """
        return replace(self, data=np.where(mask, np.nan, self.data))

    def to_map(self) -> GenericMap:
        """Return the image as a Map on its own, possibly cropped or binned, grid."""
        x0, bx, y0, by = self.grid.to_base
        with warnings.catch_warnings():
            # A distortion is dealt with below.
            warnings.filterwarnings("ignore", "Some non-standard WCS keywords were excluded", AstropyWarning)
            header = self.wcs.to_header()
        for axis, (start, factor) in enumerate(((x0, bx), (y0, by)), start=1):
            header[f"CRPIX{axis}"] = (self.wcs.wcs.crpix[axis - 1] - 1 - start) / factor + 1
            for row in (1, 2):
                header[f"PC{row}_{axis}"] = header.get(f"PC{row}_{axis}", float(row == axis)) * factor
        kept = {k: self.meta[k] for k in _PICTURE_KEYS if k in self.meta}
        dates = replace(self.dates, reference=self.date).cards()
        cards = {**kept, **(without_dates(header) if dates else header), **dates}
        # A Map has no place for a distortion, so the pixels are moved to where its coordinates will say they are.
        distorted = self.wcs.has_distortion
        data = without_distortion(self.data, self.wcs, self.grid.to_base) if distorted else self.data
        picture = sunpy.map.Map(data, cards)
        if isinstance(self.source, GenericMap):
            picture.plot_settings.update({k: v for k, v in self.source.plot_settings.items() if k != "norm"})
        return picture


# When and from where


def _told_dates(image: Image) -> Dates:
    dates = read_dates(image.meta)
    silent = dates.reference is None and not (dates.problems or dates.unreadable)
    if silent and not isinstance(image.source, GenericMap):
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
    if observer is None or image.date is None or _is_at(observer, image.date):
        return observer
    # At the image's own date: where in a sequence the header's is another, it is the best that is known.
    return SkyCoord(observer.lon, observer.lat, observer.radius, frame="heliographic_stonyhurst", obstime=image.date)


def _is_at(observer: SkyCoord, date: Time) -> bool:
    """Whether an observer is given at a date as it is needed: making another SkyCoord takes long."""
    own = observer.frame
    return isinstance(own, HeliographicStonyhurst) and own.obstime is not None and bool(own.obstime == date)


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


def along_steps(image: Image) -> Image:
    """Transpose an image whose raster steps follow each other along y, as in a header with latitude first.

    Parameters
    ----------
    image : `~sunalign.images.Image`
        As it was read.
    """
    cube = isinstance(image.source, NDCubeBase)
    if not (cube_runs_along_rows(image) if cube else header_runs_along_rows(image)):
        return image
    wcs = flat_wcs(image.wcs, np.array([[0.0, 1.0], [1.0, 0.0]]), np.zeros(2), image.name)
    grid = PixelGrid(wcs, image.data.T.shape)
    return replace(image, data=np.ascontiguousarray(image.data.T), grid=grid, transposed=True)


_PICTURE_KEYS = (
    "telescop", "instrume", "detector", "obsrvtry", "wavelnth", "waveunit", "bunit", "rsun_ref", "rsun_obs",
    "dsun_obs", "hgln_obs", "hglt_obs", "crln_obs", "crlt_obs", "exptime",
)  # fmt: skip


def clean_data(data: Any, mask: Any) -> np.ndarray:
    """Native float64 copy of data, NaN where they are not finite or masked (True, as in NDData).

    Parameters
    ----------
    data : array-like
        Any shape, type and byte order.
    mask : array-like of `bool`, or `None`
        True where a value does not count; it broadcasts against the data.
    """
    clean = np.array(data, dtype=np.float64)
    clean[~np.isfinite(clean)] = np.nan
    if mask is not None and mask is not False:
        clean[np.broadcast_to(mask, clean.shape)] = np.nan
    return clean
