"""Height of the emission as a free parameter, where two observers see the Sun from different sides.

It belongs to the reference builder, not to the target's coordinates, so it is searched outside of the others: for every
height a reference is built, and all else fitted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scipy.optimize import minimize_scalar

import astropy.units as u
from astropy.coordinates import angular_separation

from sunalign.abc import ReferenceBuilder
from sunalign.exceptions import AlignmentError, SunalignUserWarning
from sunalign.images import Image, to_image
from sunalign.model.budget import BudgetSpent

if TYPE_CHECKING:
    from sunalign.alignment.climb import Climb, Images

__all__ = ["at_best_height", "height_bounds", "split_height"]

_LEAST_SEPARATION = 1 * u.deg
_DEFAULT = (0.0, 50.0)  # Mm
_PRECISION = 0.05  # Mm


def split_height(fit: str | Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """What is fitted besides the height, and whether the height is.

    Parameters
    ----------
    fit : `str` or sequence of `str`
        As a caller of `sunalign.align` gave it.
    """
    words = (fit,) if isinstance(fit, str) else tuple(fit)
    return tuple(word for word in words if word != "height"), "height" in words


def height_bounds(bounds: Mapping[str, Any] | None) -> tuple[dict[str, Any], tuple[float, float]]:
    """Bounds of the other parameters, and those of the height in Mm.

    Parameters
    ----------
    bounds : mapping or `None`
        As a caller of `sunalign.align` gave them.
    """
    others = dict(bounds or {})
    if "height" not in others:
        return others, _DEFAULT
    try:
        low, high = (float(u.Quantity(value).to_value(u.Mm)) for value in others.pop("height"))
    except (TypeError, ValueError, u.UnitsError):
        raise AlignmentError("The bounds of height are two lengths, such as (0 * u.Mm, 50 * u.Mm).") from None
    if not low < high:
        raise AlignmentError(f"The bounds of height satisfy lower < upper; got {low:g} and {high:g} Mm.")
    return others, (low, high)


def at_best_height(
    builder: ReferenceBuilder,
    images: Images,
    bounds: tuple[float, float],
    climb: Callable[[ReferenceBuilder], Climb],
) -> Climb:
    """Find the height at which the best fit of all else scores highest.

    Parameters
    ----------
    builder : `~sunalign.abc.ReferenceBuilder`
        With a height among its options.
    images : `~sunalign.alignment.climb.Images`
    bounds : `tuple` of `float`
        Of the height, in Mm.
    climb : callable
        Fits all else with the reference that a builder makes, and draws on the budget of the alignment.

    Returns
    -------
    `~sunalign.alignment.climb.Climb`
        The fit at the best height.

    Raises
    ------
    ~sunalign.exceptions.AlignmentError
        The observers are too near to each other to tell, the builder knows no height, or no height gives a score.
    """
    if "height" not in builder.option_names():
        raise AlignmentError(
            f"The reference builder {type(builder).__name__} has no height to fit; use 'image', 'carrington' or "
            f"'synthetic-raster', or leave height out of fit."
        )
    _check_separation(to_image(images.references[0]), images.target)
    trials: dict[float, Climb] = {}
    refusals: list[AlignmentError] = []

    def loss(height: float) -> float:
        try:
            trials[float(height)] = climb(_raised(builder, float(height)))
        except AlignmentError as error:
            refusals.append(error)
            return 1.0
        return -float(trials[float(height)].found.fun)

    spent = False
    with warnings.catch_warnings():
        # What there is to say is said once, when the reference is built at the height that is found.
        warnings.simplefilter("ignore", SunalignUserWarning)
        try:
            minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": _PRECISION})
        except BudgetSpent:
            spent = True
    if not trials:
        raise refusals[0] if refusals else AlignmentError("'max_evaluations' does not suffice for one height.")
    best = max(trials, key=lambda height: float(trials[height].found.fun))
    found = trials[best].found
    if spent and found.success:
        found.success, found.message = False, "max_evaluations were spent before the search for the height ended."
    return trials[best]._replace(height=best * u.Mm)


def _raised(builder: ReferenceBuilder, height: float) -> ReferenceBuilder:
    # From its options, for a plugin need not be a dataclass.
    return type(builder)(**{**builder.options(), "height": height * u.Mm})


def _check_separation(reference: Image, target: Image) -> None:
    if reference.observer is None or target.observer is None:
        raise AlignmentError("A height can be fitted where both observers are known; complete the headers.")
    here, there = (image.observer.spherical for image in (target, reference))  # type: ignore[union-attr]
    apart = angular_separation(here.lon, here.lat, there.lon, there.lat).to(u.deg)
    if apart < _LEAST_SEPARATION:
        raise AlignmentError(
            f"The two observers are {apart:.2f} apart, and at least {_LEAST_SEPARATION:g} is needed to tell a height; "
            f"leave height out of fit."
        )
