"""When every raster step of a cube was taken, or the one image that was cut out of it.

A cube may say so in four places, which are asked in this order: a time among its world axes, an extra coordinate, a
global coordinate (where ndcube keeps what an axis had to say that was cut away: ``cube[4]`` of a sequence), and lists
in the metadata. Slicing changes the first three as it changes the data, and leaves the header in the metadata alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from erfa import DJM0, ErfaWarning

import astropy.units as u
from astropy.time import Time
from astropy.wcs import WCS
from astropy.wcs.wcsapi import BaseLowLevelWCS

from sunalign.exceptions import ImageError
from sunalign.geometry.coordinates import PixelGrid, direction
from sunalign.geometry.dates import wcs_dates
from sunalign.geometry.times import StepTimes, interpolate_columns
from sunalign.images._cube_sky import unwrapped
from sunalign.images.header_times import time_epoch
from sunalign.wcs.plausible import refuse_sit_and_stare

if TYPE_CHECKING:
    from sunalign.images import Image

__all__ = ["cube_runs_along_rows", "cube_times"]

#: Modified Julian day before which a time can only count from a zero that its axis does not say: 1960.
_UNANCHORED = 36934.0


class _Column(NamedTuple):
    """Pixel axis of a cube along an axis of its image; pixel ``a`` of the image is its pixel ``start + factor a``."""

    pixel: int
    start: float
    factor: float
    length: int


def cube_times(image: Image) -> StepTimes | None:
    """Times of the columns of an image of a cube before any crop or binning; `None` where the cube does not say.

    Parameters
    ----------
    image : `~sunalign.images.Image`
        With an `~ndcube.NDCube` as its source.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        A sit-and-stare sequence, a sequence of images, or a time that changes along the slit as much as from one slit
        position to the next.
    """
    x, y = _columns_and_rows(image)
    for times, axes, origin in time_sources(image):
        seconds = _by_column(times, axes, (x, y), image)
        if seconds is not None and _first(times).mjd > _UNANCHORED:
            return StepTimes(_first(times), seconds, f"{origin} of the cube")
    listed = None if x is None else _listed_times(image, x)
    if listed is None or x is None:
        return None
    seconds = np.asarray((listed - listed[0]).to_value(u.s))
    return StepTimes(listed[0], _on_columns(seconds, x, image), "the dates in the metadata of the cube")


def cube_runs_along_rows(image: Image) -> bool:
    """Whether the raster steps of a cube follow each other along axis y of its image as it was read, not along x.

    Parameters
    ----------
    image : `~sunalign.images.Image`
        Made of a cube.
    """
    x, y = _columns_and_rows(image)
    if x is None or y is None:
        return False
    for find in (_world_times, _extra_times):
        found = find(image)
        if found is not None:
            return y.pixel in found[1] and x.pixel not in found[1]
    return False


def _columns_and_rows(image: Image) -> tuple[_Column | None, _Column | None]:
    """Find where on the sky a step along each pixel axis of a cube goes, and so which are the image's x and y."""
    wcs, lengths = image.source.wcs.low_level_wcs, image.source.data.shape[::-1]
    names = [str(name) for name in wcs.world_axis_physical_types]
    lon, lat = ([i for i, name in enumerate(names) if name.endswith(end)] for end in (".lon", ".lat"))
    if len(lon) != 1 or len(lat) != 1:
        return None, None
    grid = PixelGrid(image.grid.wcs, image.grid.shape)
    middle = [np.full(2, (size - 1) // 2, float) for size in lengths]
    found: dict[str, _Column] = {}
    for pixel in np.flatnonzero(wcs.axis_correlation_matrix[lon[0]]).tolist():
        at = [*middle]
        at[pixel] = middle[pixel] + [0.0, 1.0]
        world = wcs.pixel_to_world_values(*at)
        angles = [np.asarray(world[i], float) * u.Unit(wcs.world_axis_units[i]).to(u.rad) for i in (lon[0], lat[0])]
        moved = grid.from_directions(direction(*angles))
        steps = [float(np.diff(along)[0]) for along in moved]
        axis = 0 if abs(steps[0]) > abs(steps[1]) else 1
        if steps[axis] and lengths[pixel] > 1:
            factor = 1 / steps[axis]
            start = float(middle[pixel][0]) - factor * float(moved[axis][0])
            found["xy"[axis]] = _Column(pixel, start, factor, lengths[pixel])
    return found.get("x"), found.get("y")


def _by_column(
    times: Time, axes: tuple[int, ...], plane: tuple[_Column | None, _Column | None], image: Image
) -> np.ndarray | None:
    """Seconds after the first of times that run along pixel axes (in the order of the array) for the columns."""
    seconds = np.asarray((times - _first(times)).to_value(u.s))
    x = plane[0]
    axes, seconds = _without_single(axes, seconds)
    step = _step(axes, seconds, x)
    for axis in axes:
        if x is not None and axis == x.pixel:
            continue
        along = axes.index(axis)
        if float(np.ptp(seconds, axis=along).max()) > step:
            _refuse(axis, seconds, along, plane, image)
        seconds, axes = seconds.mean(axis=along), axes[:along] + axes[along + 1 :]
    if not axes:
        return np.atleast_1d(seconds)
    return np.zeros(1) if x is None or np.ptp(seconds) == 0 else _on_columns(seconds, x, image)


def _first(times: Time) -> Time:
    return times if times.isscalar else times[(0,) * times.ndim]


def _without_single(axes: tuple[int, ...], values: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    kept = tuple(axis for axis, size in zip(axes, values.shape, strict=True) if size > 1)
    return kept, values.reshape([size for size in values.shape if size > 1])


def _step(axes: tuple[int, ...], seconds: np.ndarray, x: _Column | None) -> float:
    """Seconds from one slit position to the next, or a second: what may pass within one of them."""
    if x is None or x.pixel not in axes:
        return 1.0
    return max(1.0, float(np.median(np.abs(np.diff(seconds, axis=axes.index(x.pixel))))))


def _on_columns(seconds: np.ndarray, x: _Column, image: Image) -> np.ndarray:
    """Values at the columns of the uncropped image of values at a cube's pixels, which may run the other way."""
    x0, bx = image.grid.to_base[:2]
    last = int(np.ceil(x0 + bx * (image.grid.shape[1] - 1)))
    return interpolate_columns(seconds, x.start + x.factor * np.arange(max(last, 1) + 1))


def _refuse(
    axis: int, seconds: np.ndarray, along: int, plane: tuple[_Column | None, _Column | None], image: Image
) -> None:
    x, y = plane
    if y is not None and axis == y.pixel:
        whole = float(np.ptp(seconds, axis=along).max())
        raise ImageError(
            f"The time of {image.name} runs along the slit ({whole:g} s from one end to the other); only rasters with "
            f"one time for every column can be aligned."
        )
    # With time along an axis of its own a cube of one slit position is sit-and-stare, another a sequence.
    if x is None and image.grid.shape[1] == 1:
        refuse_sit_and_stare({"STUDYTYP": "sit-and-stare"}, "The cube")
    raise ImageError(
        f"The cube is a sequence of {seconds.shape[along]} images of different times; align one of them at a time, or "
        f"each with its own reference."
    )


# Where a cube says it


def time_sources(image: Image) -> Iterator[tuple[Time, tuple[int, ...], str]]:
    """Times with the pixel axes of the cube that their own axes run along, and whence they come; best first.

    Parameters
    ----------
    image : `~sunalign.images.Image`
        Made of a cube.
    """
    for find in (_world_times, _extra_times, _global_times):
        found = find(image)
        if found is not None:
            yield found


def _world_times(image: Image) -> tuple[Time, tuple[int, ...], str] | None:
    wcs, shape = image.source.wcs.low_level_wcs, image.source.data.shape
    worlds = [i for i, name in enumerate(wcs.world_axis_physical_types) if name == "time"]
    if len(worlds) != 1:
        return None
    along = np.flatnonzero(wcs.axis_correlation_matrix[worlds[0]]).tolist()
    axes = tuple(sorted(along, reverse=True))
    indices = np.indices([shape[len(shape) - 1 - axis] for axis in axes], dtype=float)
    pixels: list[Any] = [np.zeros(indices.shape[1:]) for _ in shape]
    for axis, index in zip(axes, indices, strict=True):
        pixels[axis] = index
    times = _as_time(wcs, np.asarray(wcs.pixel_to_world_values(*pixels)[worlds[0]]), worlds[0])
    return None if times is None else (_anchored(_in_its_unit(times, image), image), axes, "the time axis")


def _extra_times(image: Image) -> tuple[Time, tuple[int, ...], str] | None:
    cube = image.source
    extra = getattr(cube, "extra_coords", None)
    if extra is None or extra.is_empty:
        return None
    for name in extra.keys():
        one = _one_extra(extra, name)
        axes = [int(axis) for axis in one.mapping]
        indices = np.indices([cube.data.shape[cube.data.ndim - 1 - axis] for axis in axes], dtype=float)
        found = one.wcs.pixel_to_world(*indices)
        for value in found if isinstance(found, (list, tuple)) else [found]:
            if isinstance(value, Time) and value.ndim == len(axes):
                return value, tuple(axes), f"the extra coordinate {name!r}"
    return None


def _one_extra(extra: Any, name: str) -> Any:
    """One extra coordinate alone, with the pixel axes of the cube that it runs along."""
    try:
        return extra[name]
    except KeyError:
        # Extra coordinates that are a WCS come as one.
        return extra


def _global_times(image: Image) -> tuple[Time, tuple[int, ...], str] | None:
    known = getattr(image.source, "global_coords", None)
    if known is None:
        return None
    with warnings.catch_warnings():
        # See `_anchored`.
        warnings.simplefilter("ignore", ErfaWarning)
        times = {name: value for name, value in known.items() if isinstance(value, Time) and value.isscalar}
        kinds = known.physical_types
    # Of several, that which is called so or is one by its kind.
    names = sorted(times, key=lambda name: (name != "time", kinds.get(name) != "time"))
    if not names:
        return None
    time = times[names[0]]
    if names[0] in _dropped(image.source.wcs.low_level_wcs):
        time = _in_its_unit(time, image)
    return _anchored(time, image), (), f"the global coordinate {names[0]!r}"


def _listed_times(image: Image, x: _Column) -> Time | None:
    """One DATE-OBS for every column and the exposure times, as eispac gives them."""
    meta, n = image.meta, x.length
    dates = meta.get("date_obs")
    if dates is None or isinstance(dates, str) or np.shape(dates) != (n,):
        return None
    times = Time([str(date) for date in np.asarray(dates)])
    exposure = meta.get("duration")
    return times if exposure is None or np.shape(exposure) != (n,) else times + np.asarray(exposure, float) / 2 * u.s


def _as_time(wcs: BaseLowLevelWCS, values: np.ndarray, world: int) -> Time | None:
    """Values of a world axis as Time, made as the WCS says that its high-level objects are."""
    key, position = wcs.world_axis_object_components[world][:2]
    entry = wcs.world_axis_object_classes[key]
    cls, arguments, keywords = entry[:3]
    make = entry[3] if len(entry) > 3 else cls
    with warnings.catch_warnings():
        # Of a time that counts from no known zero the year is dubious; see `_anchored`.
        warnings.simplefilter("ignore", ErfaWarning)
        if isinstance(position, str):
            made = make(*arguments, **{**keywords, position: values})
        else:
            made = make(values, *arguments, **keywords)
    return made if isinstance(made, Time) else None


def _dropped(wcs: BaseLowLevelWCS) -> set[str]:
    """Names under which ndcube keeps the world axes that were cut away."""
    known = getattr(wcs, "dropped_world_dimensions", {})
    names, kinds = (known.get(f"world_axis_{key}", []) for key in ("names", "physical_types"))
    return {str(name or kind) for name, kind in zip(names, kinds, strict=True)}


def _in_its_unit(times: Time, image: Image) -> Time:
    """Times of a FITS time axis as its CUNIT has them: astropy takes minutes, hours and days for seconds."""
    core = unwrapped(image.source.wcs.low_level_wcs)[0]
    worlds = [i for i, name in enumerate(core.world_axis_physical_types) if name == "time"]
    if not isinstance(core, WCS) or len(worlds) != 1:
        return times
    unit = u.Unit(core.world_axis_units[worlds[0]] or "s")
    made = _as_time(core, np.arange(2.0), worlds[0])
    if made is None or not unit.is_equivalent(u.s):
        return times
    with warnings.catch_warnings():
        # See `_as_time`.
        warnings.simplefilter("ignore", ErfaWarning)
        factor = float(unit.to(u.s) / (made[1] - made[0]).to_value(u.s))
        return times if abs(factor - 1) < 1e-6 else made[0] + (times - made[0]) * factor


def _anchored(times: Time, image: Image) -> Time:
    """Times that count from a zero which the WCS keeps to itself, or which only the header in the metadata has.

    Where there is no such zero they are before `_UNANCHORED` still.
    """
    days = (times.jd1 - DJM0) + times.jd2
    if np.all(days > _UNANCHORED):
        return times
    core = unwrapped(image.source.wcs.low_level_wcs)[0]
    own = {"DATEREF": core.wcs.dateref, **wcs_dates(core)} if isinstance(core, WCS) else {}
    header = {**{str(key).upper(): value for key, value in image.meta.items()}, **{k: v for k, v in own.items() if v}}
    epoch = time_epoch(header, times.scale.upper())
    if epoch is None:
        # What differs can still be told, which is enough to know a sequence of images.
        epoch = Time(_UNANCHORED / 2, format="mjd", scale="tai")
    return epoch + days * u.day
