"""Height of the emission as a free parameter, where two observers see the Sun from different sides.

It belongs to the reference builder, not to the target's coordinates, so it is searched outside of the others: for every
height a reference is built, and all else fitted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

import astropy.units as u

from sunalign.abc import ReferenceBuilder
from sunalign.exceptions import AlignmentError, SunalignUserWarning
from sunalign.images import Image, to_image

__all__ = ["at_best_height", "height_bounds", "split_height"]

_LEAST_SEPARATION = 1 * u.deg
_DEFAULT = (0.0, 50.0)  # Mm
_PRECISION = 0.05  # Mm


def split_height(fit: str | Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """What is fitted besides the height, and whether the height is."""
    words = (fit,) if isinstance(fit, str) else tuple(fit)
    return tuple(word for word in words if word != "height"), "height" in words


def height_bounds(bounds: Mapping[str, Any] | None) -> tuple[dict[str, Any], tuple[float, float]]:
    """Bounds of the other parameters, and those of the height in Mm."""
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
    references: Sequence[Any],
    target: Image,
    bounds: tuple[float, float],
    score: Callable[[ReferenceBuilder], float],
) -> tuple[ReferenceBuilder, u.Quantity]:
    """Builder with the height, within the bounds in Mm, at which the best fit of all else scores highest.

    Raises
    ------
    ~sunalign.exceptions.AlignmentError
        The observers are too near to each other to tell, or the builder knows no height.
    """
    if "height" not in builder.option_names():
        raise AlignmentError(
            f"The reference builder {type(builder).__name__} has no height to fit; use 'image', 'carrington' or "
            f"'synthetic-raster', or leave height out of fit."
        )
    _check_separation(to_image(references[0]), target)

    def at(height: float) -> ReferenceBuilder:
        return replace(builder, height=height * u.Mm)  # type: ignore[type-var]

    def loss(height: float) -> float:
        value = score(at(float(height)))
        return -value if np.isfinite(value) else 1.0

    with warnings.catch_warnings():
        # What there is to say is said once, when the reference is built at the height that is found.
        warnings.simplefilter("ignore", SunalignUserWarning)
        best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": _PRECISION})
    return at(float(best.x)), float(best.x) * u.Mm


def _check_separation(reference: Image, target: Image) -> None:
    if reference.observer is None or target.observer is None:
        raise AlignmentError("A height can be fitted where both observers are known; complete the headers.")
    here, there = (image.observer.spherical for image in (target, reference))  # type: ignore[union-attr]
    cosine = np.sin(here.lat) * np.sin(there.lat) + np.cos(here.lat) * np.cos(there.lat) * np.cos(here.lon - there.lon)
    apart = np.arccos(np.clip(cosine, -1, 1)).to(u.deg)
    if apart < _LEAST_SEPARATION:
        raise AlignmentError(
            f"The two observers are {apart:.2f} apart, and at least {_LEAST_SEPARATION:g} is needed to tell a height; "
            f"leave height out of fit."
        )
