"""What is searched: which parameters are free, within which bounds, starting where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

import astropy.units as u

from sunalign.alignment.height import height_bounds, split_height
from sunalign.correction import PARAMETERS, UNITS, Correction
from sunalign.exceptions import AlignmentError, warn_user
from sunalign.geometry.coordinates import ARCSEC, PixelGrid, direction
from sunalign.model.search_space import Parameter, SearchSpace

__all__ = [
    "Search",
    "check_resolution",
    "free_parameters",
    "limits_of",
    "make_search",
    "make_space",
    "pivot_pixel",
    "pivot_sky",
    "reach",
    "start_values",
    "with_units",
]

_LARGEST_SHEAR = 0.01 * u.deg  # Of a start, left out without a word.
_SHORTHANDS = {"shift": ("shift_x", "shift_y"), "scale": ("scale_x", "scale_y"), "rotation": ("rotation",)}
_DEFAULT_BOUNDS = {"scale_x": (0.8, 1.25), "scale_y": (0.8, 1.25), "rotation": (-5.0, 5.0)}


@dataclass(frozen=True)
class Search:
    """What is searched, before anything is compared.

    Parameters
    ----------
    names : `tuple` of `str`
        The free parameters.
    limits : mapping
        Bounds of each of them, as plain numbers in `~sunalign.correction.UNITS`.
    begin : mapping
        All five parameters at the start.
    pivot : `tuple` of `float`
        Pixel of the target about which scale and rotation act.
    heights : `tuple` of `float`, optional
        Bounds of the height of the emission in Mm, where that is free as well.
    """

    names: tuple[str, ...]
    limits: Mapping[str, tuple[float, float]]
    begin: Mapping[str, float]
    pivot: tuple[float, float]
    heights: tuple[float, float] | None = None

    @property
    def fixed(self) -> dict[str, float]:
        """Values of the parameters that are held."""
        return {name: value for name, value in self.begin.items() if name not in self.names}


def make_search(
    target: PixelGrid,
    *,
    fit: str | Sequence[str],
    max_shift: u.Quantity,
    bounds: Mapping[str, Any] | None,
    start: Correction | Mapping[str, Any] | None,
    pivot: u.Quantity | None,
) -> Search:
    """Read the arguments of `sunalign.align` that say what is searched.

    Parameters
    ----------
    target : `~sunalign.geometry.coordinates.PixelGrid`
        Grid of the target as it is compared.
    fit, max_shift, bounds, start, pivot
        As in `sunalign.align`.
    """
    words, height_is_free = split_height(fit)
    bounds, heights = height_bounds(bounds) if height_is_free else (bounds, None)
    names, centre = free_parameters(words), pivot_pixel(target, pivot)
    begin = start_values(start, pivot_sky(target, centre), target.axes(*centre))
    return Search(names, limits_of(names, begin, max_shift, bounds), begin, centre, heights)


def free_parameters(fit: str | Sequence[str]) -> tuple[str, ...]:
    """Names of the free parameters, in the order of `~sunalign.correction.PARAMETERS`.

    Parameters
    ----------
    fit : `str` or sequence of `str`
        Names and shorthands, without drift and height.
    """
    wanted: set[str] = set()
    for word in [fit] if isinstance(fit, str) else fit:
        if word not in _SHORTHANDS and word not in PARAMETERS:
            known = ", ".join(dict.fromkeys([*_SHORTHANDS, *PARAMETERS, "drift", "height"]))
            raise AlignmentError(f"'fit' has no parameter {word!r}; choose among {known}.")
        wanted.update(_SHORTHANDS.get(word, (word,)))
    if not wanted:
        raise AlignmentError("'fit' names no parameter; give at least one, such as fit=('shift',).")
    return tuple(name for name in PARAMETERS if name in wanted)


def start_values(
    start: Correction | Mapping[str, Any] | None, pivot: u.Quantity, axes: np.ndarray | None = None
) -> dict[str, float]:
    """All five parameters at the start, as plain numbers.

    Parameters
    ----------
    start : `~sunalign.Correction` or mapping, optional
        A correction is described about the target's pivot and along the target's pixel axes, whatever its own are.
    pivot : `~astropy.units.Quantity`, shape (2,)
        (Tx, Ty) about which scale and rotation act.
    axes : `numpy.ndarray`, shape (2, 2), optional
        Columns: unit vectors on the sky of the target's pixel axes; +Tx and +Ty by default.
    """
    values = {name: (1.0 if name.startswith("scale") else 0.0) for name in PARAMETERS}
    if isinstance(start, Correction):
        here = replace(start.about(pivot), axes=np.eye(2) if axes is None else axes)
        if abs(here.shear) > _LARGEST_SHEAR:
            warn_user(
                f"Along the target's pixel axes the start has a shear of {here.shear:.3f}, which shift, scale and "
                f"rotation cannot express; the search begins without it."
            )
        return here.parameters
    if start is not None and not isinstance(start, Mapping):
        raise TypeError(
            f"'start' is a Correction or a mapping by parameter name, a table against time, or a path of one; "
            f"got {type(start).__name__}."
        )
    for name, value in (start or {}).items():
        values[name] = _number(name, value, "start")
    return values


def make_space(
    limits: Mapping[str, tuple[float, float]], start: Mapping[str, float], target: PixelGrid, reference_pixel: float
) -> SearchSpace:
    """Search space of the free parameters.

    Parameters
    ----------
    limits, start : mapping
        As `limits_of` and `start_values` give them.
    target : `~sunalign.geometry.coordinates.PixelGrid`
    reference_pixel : `float`
        In radians: the natural length of every parameter is what moves the target's edge by this much.
    """
    steps = _steps(target, reference_pixel)
    return SearchSpace(tuple(Parameter(name, *pair, start[name], steps[name]) for name, pair in limits.items()))


def limits_of(
    names: Sequence[str], start: Mapping[str, float], max_shift: u.Quantity, bounds: Mapping[str, Any] | None
) -> dict[str, tuple[float, float]]:
    """Bounds of the free parameters, as plain numbers.

    Parameters
    ----------
    names : sequence of `str`
        The free parameters.
    start : mapping
        Plain numbers, around which shifts are sought.
    max_shift : `~astropy.units.Quantity`
        Largest change of either shift, where ``bounds`` do not say otherwise.
    bounds : mapping or `None`
        Pairs by name, as a caller of `sunalign.align` gave them.
    """
    largest = _number("shift_x", max_shift, "max_shift")
    if not largest > 0:
        raise AlignmentError(f"'max_shift' is larger than 0; got {max_shift}.")
    limits: dict[str, tuple[float, float]] = {}
    for name in names:
        around = (start[name] - largest, start[name] + largest)
        limits[name] = around if name.startswith("shift") else _DEFAULT_BOUNDS[name]
    for name, pair in (bounds or {}).items():
        if name not in names:
            raise AlignmentError(
                f"'bounds' has {name!r}, which is not free; free are {', '.join(names)}. Add it to fit."
            )
        try:
            low, high = pair
        except (TypeError, ValueError):
            raise AlignmentError(f"The bounds of {name} are (lower, upper); got {pair!r}.") from None
        limits[name] = (_number(name, low, "bounds"), _number(name, high, "bounds"))
    for name, (low, high) in limits.items():
        if not low < high:
            raise AlignmentError(f"The bounds of {name} satisfy lower < upper; got {low:g} and {high:g}.")
        if name.startswith("scale") and low <= 0:
            raise AlignmentError(f"A scale is larger than 0; the lower bound of {name} is {low:g}.")
        if not low <= start[name] <= high:
            raise AlignmentError(
                f"The start of {name}, {start[name]:g}, is outside its bounds {low:g} to {high:g}; move one of them."
            )
    return limits


def reach(limits: Mapping[str, tuple[float, float]], start: Mapping[str, float], target: PixelGrid) -> float:
    """How far any pixel of the target can be moved within the bounds, in radians.

    Parameters
    ----------
    limits : mapping
        Bounds of the free parameters, as plain numbers.
    start : mapping
        Plain numbers of all parameters.
    target : `~sunalign.geometry.coordinates.PixelGrid`
    """

    def largest(name: str, neutral: float) -> float:
        return max(abs(value - neutral) for value in (*limits.get(name, ()), start[name]))

    half = np.array(target.pixel_size) * np.array(target.shape[::-1]) / 2
    shift = np.hypot(largest("shift_x", 0), largest("shift_y", 0)) * ARCSEC
    turn = np.radians(min(largest("rotation", 0), 90)) * np.hypot(*half)
    return float(shift + turn + np.hypot(largest("scale_x", 1) * half[0], largest("scale_y", 1) * half[1]))


def check_resolution(limits: Mapping[str, tuple[float, float]], pixels: Mapping[str, float]) -> None:
    """Refuse a search for shifts that is narrower than every pixel.

    Parameters
    ----------
    limits : mapping
        As in `reach`.
    pixels : mapping
        Sizes of pixels in radians, by whose they are.
    """
    shifts = [high - low for name, (low, high) in limits.items() if name.startswith("shift")]
    finest = min(pixels.values()) / ARCSEC
    if shifts and max(shifts) < 2 * finest:
        listed = " and ".join(f"{value / ARCSEC:.3g} arcsec ({name})" for name, value in pixels.items())
        raise AlignmentError(
            f"Shifts of up to {max(shifts) / 2:.3g} arcsec are smaller than a pixel: {listed}. Raise max_shift."
        )


def pivot_pixel(grid: PixelGrid, pivot: u.Quantity | None) -> tuple[float, float]:
    """Pixel about which scale and rotation act.

    Parameters
    ----------
    grid : `~sunalign.geometry.coordinates.PixelGrid`
        Of the target.
    pivot : `~astropy.units.Quantity`, shape (2,), or `None`
        On the sky; `None` for the centre.
    """
    if pivot is None:
        return grid.centre
    if not isinstance(pivot, u.Quantity) or not pivot.unit.is_equivalent(u.arcsec) or pivot.shape != (2,):
        raise TypeError(f"'pivot' is a Quantity (Tx, Ty) such as (100, -200) * u.arcsec; got {pivot!r}.")
    x, y = grid.from_directions(direction(*pivot.to_value(u.rad)))
    if not (np.isfinite(x) and np.isfinite(y)):
        raise AlignmentError(f"The pivot {pivot} is not on the target's sky.")
    return float(x), float(y)


def pivot_sky(grid: PixelGrid, pixel: tuple[float, float]) -> u.Quantity:
    """Helioprojective longitude and latitude of a pixel.

    Parameters
    ----------
    grid : `~sunalign.geometry.coordinates.PixelGrid`
    pixel : `tuple` of `float`
        ``(x, y)``, 0-based.
    """
    return np.array([float(a) for a in grid.angles(*pixel)]) / ARCSEC * u.arcsec


def with_units(values: Mapping[str, float]) -> dict[str, Any]:
    """Plain numbers as `Correction.from_parameters` takes them.

    Parameters
    ----------
    values : mapping
        By name, in the units of `sunalign.correction.UNITS`.
    """
    return {n: v if UNITS[n] == u.dimensionless_unscaled else v * UNITS[n] for n, v in values.items()}


def _steps(target: PixelGrid, pixel: float) -> dict[str, float]:
    ny, nx = target.shape
    width, height = target.pixel_size
    half_x, half_y = max(nx - 1, 1) * width / 2, max(ny - 1, 1) * height / 2
    return {
        "shift_x": pixel / ARCSEC,
        "shift_y": pixel / ARCSEC,
        "scale_x": pixel / half_x,
        "scale_y": pixel / half_y,
        "rotation": float(np.degrees(pixel / np.hypot(half_x, half_y))),
    }


def _number(name: str, value: Any, argument: str) -> float:
    """A parameter as a plain number in its unit: angles are Quantities, scales are not."""
    if name not in UNITS:
        raise AlignmentError(f"'{argument}' has no parameter {name!r}; choose among {', '.join(PARAMETERS)}.")
    unit, what = UNITS[name], f"'{argument}'" if argument == "max_shift" else f"'{argument}' of {name}"
    if unit == u.dimensionless_unscaled:
        if isinstance(value, u.Quantity) and not value.unit.is_equivalent(unit):
            raise u.UnitsError(f"{what} is a plain number; got {value}.")
        if np.ndim(value) or not isinstance(value, (Real, u.Quantity)):
            raise TypeError(f"{what} is a plain number; got {value!r}.")
        number = float(value)
    else:
        if not isinstance(value, u.Quantity):
            raise TypeError(f"{what} is an angle with a unit, such as 30 * u.{unit}; got {value!r}.")
        if not value.unit.is_equivalent(unit):
            raise u.UnitsError(f"{what} is an angle; {value} has unit '{value.unit}'.")
        if not value.isscalar:
            raise TypeError(f"{what} is one angle, such as 30 * u.{unit}; got {value}.")
        number = float(value.to_value(unit))
    if not np.isfinite(number):
        raise AlignmentError(f"{what} is a finite number; got {value}.")
    return number
