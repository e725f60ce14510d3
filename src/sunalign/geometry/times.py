"""When every raster step was taken.

A slit raster has one time for every column. In FITS it is a time axis that depends on the pixel axis x (``PC3_1`` in
the maps of SPICE, ``PC4_1`` in its cubes; FITS paper IV, Rots et al. 2015, A&A 574, A36), in an `~ndcube.NDCube` a
world axis or an extra coordinate (see `sunalign.images.cube_times`). An image has one time for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import astropy.units as u
from astropy.time import Time
from astropy.wcs import WCS

from ndcube.ndcube import NDCubeBase

from sunalign.exceptions import ImageError, warn_user
from sunalign.geometry.dates import is_time_axis, read_date, read_dates, read_mjd, time_scale
from sunalign.wcs.plausible import standing_still

if TYPE_CHECKING:
    from sunalign.geometry.coordinates import PixelGrid
    from sunalign.images import Image

__all__ = ["StepTimes", "header_runs_along_rows", "header_times", "refuse_sit_and_stare", "time_epoch"]

#: Seconds by which a time axis may run over its header's own DATE-BEG and DATE-END, besides one step.
_SLACK = 5.0


@dataclass(frozen=True, eq=False)
class StepTimes:
    """Mid times of the columns of an image.

    Parameters
    ----------
    epoch : `~astropy.time.Time`
        From which seconds are counted.
    seconds : `numpy.ndarray`, shape (nx,) or (1,)
        Time of every column; one value stands for all.
    origin : `str`
        Where in the header this comes from, in words.
    """

    epoch: Time
    seconds: np.ndarray
    origin: str

    def __call__(self, columns: np.ndarray | float) -> np.ndarray:
        """Seconds after ``epoch`` at columns, 0-based, between and beyond which times run on linearly."""
        columns = np.asarray(columns, float)
        return np.broadcast_to(interpolate_columns(self.seconds, columns), columns.shape)

    def on(self, grid: PixelGrid) -> StepTimes:
        """Times of the columns of a grid, cropped or binned, from those of the grid it was made of.

        Parameters
        ----------
        grid : `~sunalign.geometry.coordinates.PixelGrid`
            Made of the grid that these times belong to.
        """
        x0, bx = grid.to_base[:2]
        if len(self.seconds) == 1:
            return self
        columns = x0 + bx * np.arange(grid.shape[1], dtype=float)
        return StepTimes(self.epoch, interpolate_columns(self.seconds, columns), self.origin)

    def at(self, columns: np.ndarray | float) -> Time:
        """Times at columns.

        Parameters
        ----------
        columns : `numpy.ndarray` or `float`
            0-based; between and beyond those that are listed, times run on linearly.
        """
        return self.epoch + self(columns) * u.s

    @property
    def is_instant(self) -> bool:
        """Whether all columns have one time."""
        return self.span == 0

    @cached_property
    def span(self) -> float:
        """Seconds from the first to the last column in time."""
        return float(np.ptp(self.seconds))

    @cached_property
    def step(self) -> float:
        """Seconds from one column to the next, of either sign."""
        return float(np.median(np.diff(self.seconds))) if len(self.seconds) > 1 else 0.0


def interpolate_columns(table: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Values at columns of a table with one value a column along its last axis; linear between and beyond them.

    From a table of a single column come single values.

    Parameters
    ----------
    table : `numpy.ndarray`, shape (..., n)
        One value a column.
    columns : `numpy.ndarray`
        0-based, fractions too.
    """
    if table.shape[-1] == 1:
        return table[..., 0]
    first = np.clip(np.floor(columns).astype(np.intp), 0, table.shape[-1] - 2)
    part = columns - first
    return table[..., first] * (1 - part) + table[..., first + 1] * part


def header_times(image: Image) -> StepTimes | None:
    """Times that a header gives the columns of an image before any crop or binning; `None` where nothing dates it.

    Columns run on linearly beyond those that are listed; see `StepTimes.on`.

    Parameters
    ----------
    image : `~sunalign.images.Image`
        Whose ``source`` has the header.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        A sit-and-stare sequence, whose columns are one place at many times; or a time that changes along the slit as
        much as from one slit position to the next.
    """
    header = _header(image)
    refuse_sit_and_stare(header, image.name)
    return _axis_times(header, image) or _one_time(image)


def header_runs_along_rows(image: Image) -> bool:
    """Whether the raster steps of an image as it was read follow each other along its axis y, and not along x.

    Parameters
    ----------
    image : `~sunalign.images.Image`
        Not yet transposed.
    """
    axis = _time_axis(_header(image), image)
    if axis is None:
        return False
    by_x, by_y = (abs(_slope(_header(image), axis.time, pixel)) for pixel in (axis.x, axis.y))
    return by_x == 0 and by_y > 0


def refuse_sit_and_stare(header: Mapping[str, Any], name: str) -> None:
    """Raise an `~sunalign.exceptions.ImageError` for an image of one slit position, exposed again and again.

    Parameters
    ----------
    header : mapping
    name : `str`
        What the error calls the image.
    """
    still = standing_still(header, name)
    if still is not None:
        raise ImageError(still)
    if str(_get(header, "STUDYTYP", "")).lower().startswith("sit"):
        raise ImageError(
            f"{name} is a sit-and-stare observation: its columns are one slit position at many times, so there is no "
            f"image to align; align a raster of the same pointing instead."
        )


def _header(image: Image) -> Mapping[str, Any]:
    source = image.source
    if isinstance(source, tuple) and isinstance(source[1], WCS):
        return source[1].to_header(relax=True)
    return image.meta


def _get(header: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Value of a card in a FITS header, a sunpy MetaDict or a dictionary of either case."""
    value = header.get(key)
    if value is None:
        value = header.get(key.lower())
    return default if value is None else value


# A time axis in the header


class _Axes(NamedTuple):
    """FITS numbers of a time axis and of the pixel axes that an image's columns and rows run along."""

    time: int
    x: int
    y: int


def _time_axis(header: Mapping[str, Any], image: Image) -> _Axes | None:
    n_axes = max(int(_get(header, key, 0)) for key in ("WCSAXES", "NAXIS")) or 4
    names = {i: str(_get(header, f"CTYPE{i}", "")).upper() for i in range(1, n_axes + 1)}
    time = [i for i, name in names.items() if is_time_axis(name)]
    lon = [i for i, name in names.items() if name[2:5] == "LN-"]
    lat = [i for i, name in names.items() if name[2:5] == "LT-"]
    if len(time) != 1 or len(lon) != 1 or len(lat) != 1:
        return None
    # The image of a cube has longitude along x; a map or an array keeps the order of its header.
    x, y = (lon[0], lat[0]) if isinstance(image.source, NDCubeBase) else sorted((lon[0], lat[0]))
    return _Axes(time[0], y, x) if image.transposed else _Axes(time[0], x, y)


def _axis_times(header: Mapping[str, Any], image: Image) -> StepTimes | None:
    axes = _time_axis(header, image)
    if axes is None:
        return None
    axis, x, y = axes
    name = str(_get(header, f"CTYPE{axis}")).strip().upper()
    epoch = time_epoch(header, name)
    if epoch is None:
        return None
    unit = u.Unit(str(_get(header, f"CUNIT{axis}", "s")).strip() or "s").to(u.s)
    by_x, by_y, own = (unit * _slope(header, axis, pixel) for pixel in (x, y, axis))
    if abs(by_y) * image.grid.shape[0] > max(1.0, abs(by_x)):
        raise ImageError(
            f"The time of {image.name} runs along the slit (PC{axis}_{y} = {_slope(header, axis, y):g} s a pixel); "
            f"only rasters with one time for every column can be aligned."
        )
    size = _column_size(header, image, x, y)
    seconds = (
        unit * float(_get(header, f"CRVAL{axis}", 0.0))
        + by_x * size * (np.arange(2.0) + 1 - image.wcs.wcs.crpix[0])
        # The data have one pixel along the time axis itself.
        + own * (1 - float(_get(header, f"CRPIX{axis}", 0.0)))
    )
    times = StepTimes(
        epoch,
        seconds if by_x else seconds[:1],
        f"the header's time axis CTYPE{axis}={name!r}, {by_x:.6g} s a column",
    )
    _check_span(times, image)
    return times


def _column_size(header: Mapping[str, Any], image: Image, x: int, y: int) -> int:
    """Columns of the header in one of the image, which may be a part of a cube, binned, and have its own CRPIX."""
    if not isinstance(image.source, NDCubeBase):
        return 1
    there = float(np.hypot(_slope(header, x, x), _slope(header, y, x)))
    unit = u.Unit(str(_get(header, f"CUNIT{x}", "deg")).strip().lower() or "deg")
    rows = image.wcs.pixel_scale_matrix
    here = float(np.hypot(rows[0, 0], rows[1, 0])) * float(u.deg.to(unit))
    return max(1, round(here / there)) if there > 0 else 1


def _slope(header: Mapping[str, Any], axis: int, pixel: int) -> float:
    """Derivative of world axis by pixel axis, in units of the world axis."""
    matrix = _get(header, f"CD{axis}_{pixel}")
    if matrix is not None:
        return float(matrix)
    element = _get(header, f"PC{axis}_{pixel}", float(axis == pixel))
    return float(_get(header, f"CDELT{axis}", 1.0)) * float(element)


def time_epoch(header: Mapping[str, Any], ctype: str) -> Time | None:
    """Zero of a time axis: DATEREF, MJDREF, or else the beginning of the observation.

    Parameters
    ----------
    header : mapping
    ctype : `str`
        Name of the axis, which may be that of its time scale.
    """
    scale = time_scale(header, ctype)
    epoch = read_date(_get(header, "DATEREF"), scale)
    if epoch is not None:
        return epoch
    whole, part = (_number(header, key) for key in ("MJDREFI", "MJDREFF"))
    epoch = read_mjd(whole or _number(header, "MJDREF"), part, scale)
    if epoch is not None:
        return epoch
    dates = read_dates(header)
    return next((time for time in (dates.begin, read_date(_get(header, "DATE-OBS"), scale)) if time is not None), None)


def _number(header: Mapping[str, Any], key: str) -> float:
    value = _get(header, key, 0.0)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _check_span(times: StepTimes, image: Image) -> None:
    """Warn where a time axis says something else than DATE-BEG and DATE-END of the same header."""
    found = read_dates(image.meta)
    on = times.on(image.grid)
    if found.begin is None or found.end is None or not on.step:
        return
    half = abs(on.step) / 2
    early = float((found.begin - times.epoch).to_value(u.s)) - (on.seconds.min() - half)
    late = on.seconds.max() + half - float((found.end - times.epoch).to_value(u.s))
    wrong = max(early, late)
    if not _is_cropped(image):
        # A part of a raster takes less time than the whole; the whole does not.
        wrong = max(abs(early), abs(late))
    if wrong > abs(times.step) + _SLACK:
        first, last = (times.epoch + t * u.s for t in (on.seconds.min() - half, on.seconds.max() + half))
        warn_user(
            f"{image.name} has a header whose time axis is wrong by its own DATE-END: it runs from "
            f"{first.utc.isot[:19]} to {last.utc.isot[:19]}, but DATE-BEG is {found.begin.utc.isot[:19]} and DATE-END "
            f"is {found.end.utc.isot[:19]}. The time axis is used; mend PC, CRPIX or CRVAL of the time axis if it is "
            f"the one that errs.",
        )


def _is_cropped(image: Image) -> bool:
    changed = getattr(image.meta, "modified_items", {})
    x0, bx = image.grid.to_base[:2]
    whole = _get(image.meta, "NAXIS1", image.grid.shape[1])
    return "naxis1" in changed or x0 != 0 or bx != 1 or whole != image.grid.shape[1]


# One date


def _one_time(image: Image) -> StepTimes | None:
    if image.date is None:
        return None
    return StepTimes(image.date, np.zeros(1), image.dates.origin or "the date its coordinates refer to")
