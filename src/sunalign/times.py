"""When every raster step was taken.

A slit raster has one time for every column. In FITS it is a time axis that depends on the pixel axis x (``PC3_1`` in
the maps of SPICE, ``PC4_1`` in its cubes; FITS paper IV, Rots et al. 2015, A&A 574, A36), in an `~ndcube.NDCube` a
world axis or an extra coordinate. An image has one time for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import astropy.units as u
from astropy.time import Time
from astropy.wcs.wcsapi import BaseLowLevelWCS

from ndcube.ndcube import NDCubeBase
from sunpy.time import parse_time

from sunalign.coordinates import direction
from sunalign.exceptions import ImageError, warn_user

if TYPE_CHECKING:
    from sunalign.images import Image

__all__ = ["StepTimes", "refuse_sit_and_stare", "step_times"]

#: Names of a time axis, and of the time scales that may stand in its place (FITS paper IV, table 2).
_TIME_AXES = {"TIME", "UTC", "UT", "GMT", "UT1", "TAI", "IAT", "TT", "TDT", "ET", "TDB", "TCB", "TCG", "GPS"}
_SCALES = {"GMT": "utc", "UT": "utc", "IAT": "tai", "TDT": "tt", "ET": "tt"}

#: Keys that date an image, and what they say about its exposure.
_DATES = {
    "DATE-AVG": "the middle of the exposure",
    "DATE-OBS": "usually the beginning of the exposure",
    "DATE_OBS": "usually the beginning of the exposure",
    "DATE-BEG": "the beginning of the exposure",
    "DATE-END": "the end of the exposure",
}

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

    def at(self, columns: np.ndarray | float) -> Time:
        """Times at columns."""
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
    """
    if table.shape[-1] == 1:
        return table[..., 0]
    first = np.clip(np.floor(columns).astype(np.intp), 0, table.shape[-1] - 2)
    part = columns - first
    return table[..., first] * (1 - part) + table[..., first + 1] * part


def step_times(image: Image) -> StepTimes | None:
    """Times of the columns of an image; `None` where nothing dates it.

    Parameters
    ----------
    image : `~sunalign.images.Image`
        Cropped and binned ones are told their own columns' times.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        A sit-and-stare sequence, whose columns are one place at many times; or a time axis that runs along the slit.
    """
    x0, bx = image.grid.to_base[:2]
    columns = x0 + bx * np.arange(image.grid.shape[1], dtype=float)
    if isinstance(image.source, NDCubeBase):
        found = _cube_times(image)
        if found is not None:
            return found
    header = _header(image)
    refuse_sit_and_stare(header, image.name)
    return _axis_times(header, columns, image) or _one_time(image, header)


def refuse_sit_and_stare(header: Mapping[str, Any], name: str) -> None:
    """Raise an `~sunalign.exceptions.ImageError` for an image of one slit position, exposed again and again."""
    celestial = [i for i in range(1, 5) if str(_get(header, f"CTYPE{i}", "")).upper().startswith(("HPLN", "SOLARX"))]
    still = any(_get(header, f"CDELT{i}", 1.0) == 0 for i in celestial)
    if still or str(_get(header, "STUDYTYP", "")).lower().startswith("sit"):
        raise ImageError(
            f"{name} is a sit-and-stare observation{' (CDELT1 = 0)' if still else ''}: its columns are one slit "
            f"position at many times, and no image. sunalign.align takes it as a target all the same."
        )


def _header(image: Image) -> Mapping[str, Any]:
    source = image.source
    if isinstance(source, tuple) and isinstance(source[1], BaseLowLevelWCS) and hasattr(source[1], "to_header"):
        return source[1].to_header(relax=True)
    return image.meta


def _get(header: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Value of a card in a FITS header, a sunpy MetaDict or a dictionary of either case."""
    value = header.get(key)
    if value is None:
        value = header.get(key.lower())
    return default if value is None else value


# A time axis in the header


def _axis_times(header: Mapping[str, Any], columns: np.ndarray, image: Image) -> StepTimes | None:
    n_axes = max(int(_get(header, key, 0)) for key in ("WCSAXES", "NAXIS")) or 4
    names = {i: str(_get(header, f"CTYPE{i}", "")).upper() for i in range(1, n_axes + 1)}
    time = [i for i, name in names.items() if name.partition("-")[0].rstrip("()") in _TIME_AXES]
    lon = [i for i, name in names.items() if name[2:5] == "LN-"]
    lat = [i for i, name in names.items() if name[2:5] == "LT-"]
    if len(time) != 1 or len(lon) != 1 or len(lat) != 1:
        return None
    axis, x, y = time[0], lon[0], lat[0]
    epoch = _epoch(header, names[axis])
    if epoch is None:
        return None
    unit = u.Unit(str(_get(header, f"CUNIT{axis}", "s")).strip() or "s").to(u.s)
    by_x, by_y, own = (unit * _slope(header, axis, pixel) for pixel in (x, y, axis))
    if abs(by_y) * image.grid.shape[0] > max(1.0, abs(by_x)):
        raise ImageError(
            f"The time of {image.name} runs along the slit (PC{axis}_{y} = {_slope(header, axis, y):g} s a pixel); "
            f"only rasters with one time for every column can be aligned."
        )
    seconds = (
        unit * float(_get(header, f"CRVAL{axis}", 0.0))
        + by_x * (columns + 1 - float(_get(header, f"CRPIX{x}", 0.0)))
        # The data have one pixel along the time axis itself.
        + own * (1 - float(_get(header, f"CRPIX{axis}", 0.0)))
    )
    origin = f"the header's time axis CTYPE{axis}={names[axis]!r}, {by_x:.6g} s a column"
    _check_span(header, epoch, seconds, abs(by_x * image.grid.to_base[1]), image)
    return StepTimes(epoch, seconds if by_x else seconds[:1], origin)


def _slope(header: Mapping[str, Any], axis: int, pixel: int) -> float:
    """Derivative of world axis by pixel axis, in units of the world axis."""
    matrix = _get(header, f"CD{axis}_{pixel}")
    if matrix is not None:
        return float(matrix)
    element = _get(header, f"PC{axis}_{pixel}", float(axis == pixel))
    return float(_get(header, f"CDELT{axis}", 1.0)) * float(element)


def _epoch(header: Mapping[str, Any], ctype: str) -> Time | None:
    """Zero of a time axis: DATEREF, MJDREF, or else the beginning of the observation."""
    date = _get(header, "DATEREF")
    if date:
        return _date(header, date, ctype)
    whole, part = (float(_get(header, key, 0.0)) for key in ("MJDREFI", "MJDREFF"))
    whole = whole or float(_get(header, "MJDREF", 0.0))
    if whole or part:
        return Time(whole, part, format="mjd", scale=_scale(header, ctype))
    date = _get(header, "DATE-BEG") or _get(header, "DATE-OBS")
    return _date(header, date, ctype) if date else None


def _scale(header: Mapping[str, Any], ctype: str = "") -> str:
    word = ctype.partition("-")[0].rstrip("()")
    name = word if word in _TIME_AXES - {"TIME"} else str(_get(header, "TIMESYS", "UTC")).upper()
    scale = _SCALES.get(name, name.lower())
    return scale if scale in Time.SCALES else "utc"


def _date(header: Mapping[str, Any], value: Any, ctype: str = "") -> Time:
    return parse_time(value, scale=_scale(header, ctype)) if isinstance(value, str) else Time(value)


def _check_span(header: Mapping[str, Any], epoch: Time, seconds: np.ndarray, step: float, image: Image) -> None:
    """Warn where a time axis says something else than DATE-BEG and DATE-END of the same header."""
    begin, end = _get(header, "DATE-BEG"), _get(header, "DATE-END")
    if not begin or not end or not step:
        return
    allowed = step + _SLACK
    early = float((_date(header, begin) - epoch).to_value(u.s)) - (seconds.min() - step / 2)
    late = seconds.max() + step / 2 - float((_date(header, end) - epoch).to_value(u.s))
    wrong = max(early, late)
    if not _is_cropped(image):
        # A part of a raster takes less time than the whole; the whole does not.
        wrong = max(abs(early), abs(late))
    if wrong > allowed:
        first, last = (epoch + t * u.s for t in (seconds.min() - step / 2, seconds.max() + step / 2))
        warn_user(
            f"{image.name} has a header whose time axis is wrong by its own DATE-END: it runs from "
            f"{first.utc.isot[:19]} to {last.utc.isot[:19]}, but DATE-BEG is {begin} and DATE-END is {end}. "
            f"The time axis is used; mend PC, CRPIX or CRVAL of the time axis if it is the one that errs.",
        )


def _is_cropped(image: Image) -> bool:
    changed = getattr(image.meta, "modified_items", {})
    x0, bx = image.grid.to_base[:2]
    whole = _get(image.meta, "NAXIS1", image.grid.shape[1])
    return "naxis1" in changed or x0 != 0 or bx != 1 or whole != image.grid.shape[1]


# One date


def _one_time(image: Image, header: Mapping[str, Any]) -> StepTimes | None:
    date = image.date
    if date is None:
        return None
    for key, meaning in _DATES.items():
        value = _get(header, key)
        if isinstance(value, str) and value:
            try:
                same = abs(float((_date(header, value) - date).to_value(u.s))) < 1e-3
            except ValueError:
                continue
            if same:
                return StepTimes(date, np.zeros(1), f"{key}, {meaning}")
    return StepTimes(date, np.zeros(1), "the date its coordinates refer to")


# Cubes


def _cube_times(image: Image) -> StepTimes | None:
    """Times from a world axis, extra coordinates or the metadata of a cube, in this order."""
    cube = image.source
    steps = _steps_of(image)
    if steps is None:
        return None
    n = cube.data.shape[cube.data.ndim - 1 - steps.pixel]
    found = (
        (_world_times, "the time axis"),
        (_extra_times, "the extra coordinate time"),
        (_listed_times, "the dates in the metadata"),
    )
    for find, origin in found:
        times = find(cube, steps.pixel, n)
        if times is not None:
            epoch = times[0]
            seconds = np.atleast_1d((times - epoch).to_value(u.s))
            if np.ptp(seconds) == 0:
                return StepTimes(epoch, np.zeros(1), f"{origin} of the cube")
            columns = steps.start + steps.factor * np.arange(image.grid.shape[1])
            return StepTimes(epoch, interpolate_columns(seconds, columns), f"{origin} of the cube")
    return None


class _Steps(NamedTuple):
    """Pixel axis of a cube that an image's columns run along; column x is its pixel ``start + factor x``."""

    pixel: int
    start: float
    factor: float


def _steps_of(image: Image) -> _Steps | None:
    """Find where on the sky a step along each pixel axis of a cube goes, and so which one is the image's x."""
    wcs = image.source.wcs.low_level_wcs
    names = [str(name) for name in wcs.world_axis_physical_types]
    lon, lat = ([i for i, name in enumerate(names) if name.endswith(end)] for end in (".lon", ".lat"))
    if len(lon) != 1 or len(lat) != 1:
        return None
    middle = [np.full(2, (size - 1) // 2, float) for size in reversed(image.source.data.shape)]
    for pixel in np.flatnonzero(wcs.axis_correlation_matrix[lon[0]]):
        at = [*middle]
        at[pixel] = middle[pixel] + [0.0, 1.0]
        world = wcs.pixel_to_world_values(*at)
        angles = [np.asarray(world[i], float) * u.Unit(wcs.world_axis_units[i]).to(u.rad) for i in (lon[0], lat[0])]
        x, y = image.grid.from_directions(direction(*angles))
        if abs(np.diff(x)[0]) > abs(np.diff(y)[0]):
            factor = 1 / float(np.diff(x)[0])
            return _Steps(int(pixel), float(middle[pixel][0]) - factor * float(x[0]), factor)
    return None


def _world_times(cube: Any, x_pixel: int, n: int) -> Time | None:
    wcs = cube.wcs.low_level_wcs
    worlds = [i for i, name in enumerate(wcs.world_axis_physical_types) if name == "time"]
    if len(worlds) != 1:
        return None
    depends = wcs.axis_correlation_matrix[worlds[0]]
    if not depends[x_pixel]:
        _refuse_own_axis(cube, depends, n)
        return None
    pixels: list[Any] = [np.full(n, (size - 1) / 2) for size in reversed(cube.data.shape)]
    pixels[x_pixel] = np.arange(n, dtype=float)
    return _as_time(wcs, wcs.pixel_to_world_values(*pixels)[worlds[0]], worlds[0])


def _refuse_own_axis(cube: Any, depends: np.ndarray, n_columns: int) -> None:
    """A cube with time along an axis of its own is sit-and-stare if it has one slit position, else a sequence."""
    lengths = [size for size, on in zip(reversed(cube.data.shape), depends, strict=True) if on]
    longest = max(lengths, default=1)
    if longest > 1 and n_columns == 1:
        refuse_sit_and_stare({"STUDYTYP": "sit-and-stare"}, "The cube")
    if longest > 1:
        raise ImageError(
            f"The cube is a sequence of {longest} images of different times; align one of them at a time, or each with "
            f"its own reference."
        )


def _as_time(wcs: BaseLowLevelWCS, values: np.ndarray, world: int) -> Time | None:
    """Values of a world axis as Time, made as the WCS says that its high-level objects are."""
    key, position = wcs.world_axis_object_components[world][:2]
    entry = wcs.world_axis_object_classes[key]
    cls, arguments, keywords = entry[:3]
    make = entry[3] if len(entry) > 3 else cls
    if isinstance(position, str):
        made = make(*arguments, **{**keywords, position: values})
    else:
        made = make(values, *arguments, **keywords)
    return made if isinstance(made, Time) else None


def _extra_times(cube: Any, x_pixel: int, n: int) -> Time | None:
    extra = getattr(cube, "extra_coords", None)
    if extra is None or extra.is_empty:
        return None
    for name in extra.keys():
        values = cube.axis_world_coords(name, wcs=extra)
        for value in values if isinstance(values, tuple) else (values,):
            if isinstance(value, Time) and value.shape == (n,) and x_pixel in extra.mapping:
                return value
    return None


def _listed_times(cube: Any, _: int, n: int) -> Time | None:
    """One DATE-OBS for every column and the exposure times, as eispac gives them."""
    meta = cube.meta if isinstance(cube.meta, Mapping) else {}
    dates = meta.get("date_obs")
    if dates is None or isinstance(dates, str) or np.shape(dates) != (n,):
        return None
    times = Time([str(date) for date in np.asarray(dates)])
    exposure = meta.get("duration")
    return times if exposure is None or np.shape(exposure) != (n,) else times + np.asarray(exposure, float) / 2 * u.s
