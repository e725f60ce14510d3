"""Times of raster steps from the header of an image.

In FITS the time of a column is a time axis that depends on the pixel axis x (``PC3_1`` in the maps of SPICE, ``PC4_1``
in its cubes; FITS paper IV, Rots et al. 2015, A&A 574, A36). A header without one has one time for all columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import astropy.units as u
from astropy.time import Time
from astropy.wcs import WCS

from ndcube.ndcube import NDCubeBase

from sunalign.exceptions import ImageError, warn_user
from sunalign.geometry.date_forms import is_time_axis, read_date, read_mjd, time_scale
from sunalign.geometry.dates import read_dates
from sunalign.geometry.times import StepTimes
from sunalign.wcs.header import card_of
from sunalign.wcs.plausible import refuse_sit_and_stare

if TYPE_CHECKING:
    from sunalign.images import Image

__all__ = ["header_runs_along_rows", "header_times", "time_epoch"]

#: Seconds by which a time axis may run over its header's own DATE-BEG and DATE-END, besides one step.
_SLACK = 5.0


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


def _header(image: Image) -> Mapping[str, Any]:
    source = image.source
    if isinstance(source, tuple) and isinstance(source[1], WCS):
        return source[1].to_header(relax=True)
    return image.meta


# A time axis in the header


class _Axes(NamedTuple):
    """FITS numbers of a time axis and of the pixel axes that an image's columns and rows run along."""

    time: int
    x: int
    y: int


def _time_axis(header: Mapping[str, Any], image: Image) -> _Axes | None:
    n_axes = max(int(card_of(header, key, 0)) for key in ("WCSAXES", "NAXIS")) or 4
    names = {i: str(card_of(header, f"CTYPE{i}", "")).upper() for i in range(1, n_axes + 1)}
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
    name = str(card_of(header, f"CTYPE{axis}")).strip().upper()
    epoch = time_epoch(header, name)
    if epoch is None:
        return None
    unit = u.Unit(str(card_of(header, f"CUNIT{axis}", "s")).strip() or "s").to(u.s)
    by_x, by_y, own = (unit * _slope(header, axis, pixel) for pixel in (x, y, axis))
    if abs(by_y) * image.grid.shape[0] > max(1.0, abs(by_x)):
        raise ImageError(
            f"The time of {image.name} runs along the slit (PC{axis}_{y} = {_slope(header, axis, y):g} s a pixel); "
            f"only rasters with one time for every column can be aligned."
        )
    if own and not by_x and not isinstance(image.source, NDCubeBase):
        _tell_of_frames(header, image, axis)
    size = _column_size(header, image, x, y)
    seconds = (
        unit * float(card_of(header, f"CRVAL{axis}", 0.0))
        + by_x * size * (np.arange(2.0) + 1 - image.wcs.wcs.crpix[0])
        # The data have one pixel along the time axis itself.
        + own * (1 - float(card_of(header, f"CRPIX{axis}", 0.0)))
    )
    times = StepTimes(
        epoch,
        seconds if by_x else seconds[:1],
        f"the header's time axis CTYPE{axis}={name!r}, {by_x:.6g} s a column",
    )
    _check_span(times, image)
    return times


def _tell_of_frames(header: Mapping[str, Any], image: Image, axis: int) -> None:
    """Warn where the header is that of a sequence, of which the image may be any frame."""
    frames = _number(header, f"NAXIS{axis}")
    if frames > 1:
        warn_user(
            f"{image.name} has the header of a sequence of {frames:.0f} (NAXIS{axis}), which does not say "
            f"which of them it is; it is taken to be the first. Take n off CRPIX{axis} for frame n, counted from 0, "
            f"or give the frame of an NDCube."
        )


def _column_size(header: Mapping[str, Any], image: Image, x: int, y: int) -> int:
    """Columns of the header in one of the image, which may be a part of a cube, binned, and have its own CRPIX."""
    if not isinstance(image.source, NDCubeBase):
        return 1
    there = float(np.hypot(_slope(header, x, x), _slope(header, y, x)))
    unit = u.Unit(str(card_of(header, f"CUNIT{x}", "deg")).strip().lower() or "deg")
    rows = image.wcs.pixel_scale_matrix
    here = float(np.hypot(rows[0, 0], rows[1, 0])) * float(u.deg.to(unit))
    return max(1, round(here / there)) if there > 0 else 1


def _slope(header: Mapping[str, Any], axis: int, pixel: int) -> float:
    """Derivative of world axis by pixel axis, in units of the world axis."""
    matrix = card_of(header, f"CD{axis}_{pixel}")
    if matrix is not None:
        return float(matrix)
    element = card_of(header, f"PC{axis}_{pixel}", float(axis == pixel))
    return float(card_of(header, f"CDELT{axis}", 1.0)) * float(element)


def time_epoch(header: Mapping[str, Any], ctype: str) -> Time | None:
    """Zero of a time axis: DATEREF, MJDREF, or else the beginning of the observation.

    Parameters
    ----------
    header : mapping
    ctype : `str`
        Name of the axis, which may be that of its time scale.
    """
    scale = time_scale(header, ctype)
    epoch = read_date(card_of(header, "DATEREF"), scale)
    if epoch is not None:
        return epoch
    whole, part = (_number(header, key) for key in ("MJDREFI", "MJDREFF"))
    epoch = read_mjd(whole or _number(header, "MJDREF"), part, scale)
    if epoch is not None:
        return epoch
    begin = read_dates(header).begin
    if begin is not None:
        return begin
    # IRIS has the second, and the beginning of the whole series in the third.
    found = (read_date(card_of(header, key), scale) for key in ("DATE-OBS", "DATE_OBS", "STARTOBS"))
    return next((time for time in found if time is not None), None)


def _number(header: Mapping[str, Any], key: str) -> float:
    value = card_of(header, key, 0.0)
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
    whole = card_of(image.meta, "NAXIS1", image.grid.shape[1])
    return "naxis1" in changed or x0 != 0 or bx != 1 or whole != image.grid.shape[1]


# One date


def _one_time(image: Image) -> StepTimes | None:
    if image.date is None:
        return None
    return StepTimes(image.date, np.zeros(1), image.dates.origin or "the date its coordinates refer to")
