"""Intensity scaling before images are compared.

EUV intensities span decades and carry outliers; a correlation of the raw values is a correlation of the few brightest
pixels. The default clips at percentiles and takes the square root, which also evens out Poisson noise. Where the noise
is known, no stretch makes more of it in the dark than it is elsewhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri

from sunalign.model.noise import NoiseModel

__all__ = ["STRETCHES", "IntensityScaling", "IntensityTransform", "make_scaling", "stride_of"]

_ENOUGH = 1024  # Values that percentiles are taken of, at least.
_WIDER = 1.15  # Times the span of noise alone, below which a range has nothing else in it.
_SHARED = 0.2  # Part of the excess of a point of light that its neighbours have, at least.

#: What a value is turned into after clipping.
STRETCHES = ("sqrt", "log", "linear")


@dataclass(frozen=True)
class IntensityTransform:
    """A scaling with its limits fixed: applied to every pixel alike.

    Parameters
    ----------
    lower, upper : `float`
        Intensities at which values are clipped.
    stretch : {"sqrt", "log", "linear"}
    lift : `float`
        Added before the square root or the logarithm: what the noise asks for.
    """

    lower: float
    upper: float
    stretch: str
    lift: float = 0.0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Scaled copy; NaN stay NaN."""
        clipped = np.clip(values, self.lower, self.upper)
        if self.stretch == "sqrt":
            # Only a background below zero is lifted: near zero the square root would turn noise into structure.
            lifted = clipped + max(self.lift, -self.lower, 0.0)
            return np.asarray(np.sqrt(lifted, out=lifted))
        if self.stretch == "log":
            return np.log10(np.maximum(clipped, self._floor) + self.lift)
        return clipped

    @property
    def relative_lift(self) -> float:
        """Lift as a part of the range of intensities."""
        span = self.upper - self.lower
        return self.lift / span if span > 0 else 0.0

    def lifted(self, relative: float) -> IntensityTransform:
        """Return the same scaling with another lift.

        Parameters
        ----------
        relative : `float`
            The lift, as a fraction of the range from ``lower`` to ``upper``.
        """
        return replace(self, lift=relative * (self.upper - self.lower))

    @property
    def _floor(self) -> float:
        return max(self.lower, 1e-4 * self.upper, np.finfo(float).tiny)


@dataclass(frozen=True, kw_only=True)
class IntensityScaling:
    """How intensities are scaled before images are compared.

    Parameters
    ----------
    stretch : {"sqrt", "log", "linear"}
        Function applied after clipping.
    clip : `tuple` of `float` or `None`
        Lower and upper percentile at which each image is clipped; `None` leaves outliers alone. Where there is nothing
        but noise between the two, as in a dark sky with a few bright points, what stands above them and is wider than
        a pixel is all there is to see, and keeps its top.
    """

    stretch: str = "sqrt"
    clip: tuple[float, float] | None = (1.0, 99.0)

    def __post_init__(self) -> None:
        if self.stretch not in STRETCHES:
            raise ValueError(f"There is no intensity scaling '{self.stretch}'; choose one of {', '.join(STRETCHES)}.")
        if self.clip is not None:
            low, high = self.clip
            if not 0 <= low < high <= 100:
                raise ValueError(f"'clip' is a pair of percentiles with 0 <= lower < upper <= 100; got {self.clip}.")

    def fit(
        self, values: np.ndarray, noise: NoiseModel | None = None, seen: np.ndarray | None = None
    ) -> IntensityTransform:
        """Fix the limits by the finite ones of these values, and what is added to them by their noise.

        Parameters
        ----------
        values : `numpy.ndarray`
            Intensities.
        noise : `~sunalign.model.noise.NoiseModel`, optional
            Of the image they come from. The square root becomes that of Anscombe (Starck, Murtagh & Bijaoui 1998),
            which has the same noise at every intensity, and the logarithm does not fall below the noise.
        seen : `numpy.ndarray`, optional
            Those of the values that the other image shows too, as far as that is known: nothing is clipped that would
            not be clipped of these alone.
        """
        some = values.ravel()[:: 1 if self.clip is None else stride_of(values.size)]
        some = some[np.isfinite(some)]
        if some.size < _ENOUGH:
            some = values[np.isfinite(values)]
        if some.size == 0:
            return IntensityTransform(0.0, 0.0, self.stretch)
        lower, upper = (_percentile(some, percent) for percent in self.clip or (0, 100))
        if lower == upper:
            finite = values[np.isfinite(values)]
            # More than 98 % of the pixels are equal: the few others are all there is to see.
            lower, upper = finite.min(), finite.max()
        elif self.clip is not None and values.ndim == 2 and _is_noise(values, upper - lower, self.clip):
            upper = max(upper, _top_of_points(values, upper))
        if self.clip is not None and seen is not None and seen.size >= _ENOUGH:
            lower, upper = min(lower, _percentile(seen, self.clip[0])), max(upper, _percentile(seen, self.clip[1]))
        lift = self._lift(float(lower), float(upper), noise) if noise is not None else 0.0
        return IntensityTransform(float(lower), float(upper), self.stretch, lift)

    def _lift(self, lower: float, upper: float, noise: NoiseModel) -> float:
        if self.stretch == "log":
            return float(np.sqrt(noise.variance(lower)))
        if self.stretch == "linear" or not (noise.gain > 0 or noise.read > 0):
            return 0.0
        # Noise that is the same everywhere asks for no root at all; over a range lifted by itself it hardly is one.
        most = upper - lower
        return min(noise.read / noise.gain + 0.375 * noise.gain, most) if noise.gain > 0 else most

    def __str__(self) -> str:
        clip = "no clip" if self.clip is None else f"clip {self.clip[0]:g}-{self.clip[1]:g} %"
        return f"{self.stretch}, {clip}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for records."""
        return asdict(self)


def stride_of(size: int) -> int:
    """Step through an image of so many pixels that gives enough of them for its percentiles.

    Parameters
    ----------
    size : `int`
    """
    # An odd one does not fall on the same columns again and again.
    return max(1, size // 2**18) | 1


def _percentile(values: np.ndarray, percent: float) -> float:
    """As `numpy.percentile`, of values that are all finite, in a fraction of the time."""
    place = (values.size - 1) * percent / 100
    first = int(place)
    ordered = np.partition(values, first)
    beyond = ordered[first + 1 :].min() if first + 1 < values.size else ordered[first]
    return float(ordered[first] + (beyond - ordered[first]) * (place - first))


def _is_noise(values: np.ndarray, span: float, clip: tuple[float, float]) -> bool:
    """Whether the range between two percentiles is no wider than the noise alone makes it."""
    rows = values[:: max(1, values.size // 2**16)]
    apart = np.abs(rows[:, 1:] - rows[:, :-1])
    apart = apart[np.isfinite(apart)]
    if apart.size == 0:
        return False
    low, high = ndtri(np.clip(clip, 0.1, 99.9) / 100)
    return bool(span < _WIDER * (high - low) * _percentile(apart, 50.0) / (0.6745 * np.sqrt(2)))


def _top_of_points(values: np.ndarray, limit: float) -> float:
    """Highest value that neighbours along both axes share in, as a beam's width asks for; -inf without any."""
    excess = np.pad(np.nan_to_num(values - limit, nan=0.0).clip(min=0.0), 1)
    inner = excess[1:-1, 1:-1]
    beside = np.maximum(excess[1:-1, 2:], excess[1:-1, :-2])
    above = np.maximum(excess[2:, 1:-1], excess[:-2, 1:-1])
    shared = (inner > 0) & (np.minimum(beside, above) > _SHARED * inner)
    return float(values[shared].max()) if shared.any() else -np.inf


def make_scaling(choice: str | IntensityScaling) -> IntensityScaling:
    """Turn ``"sqrt"``, ``"log"`` or ``"linear"`` into a scaling; let one through.

    ``"linear"`` keeps the clip, which is what hot pixels need; ``IntensityScaling(stretch="linear", clip=None)``
    leaves the values as they are.

    Parameters
    ----------
    choice : `str` or `IntensityScaling`
    """
    if isinstance(choice, IntensityScaling):
        return choice
    if isinstance(choice, str):
        return IntensityScaling(stretch=choice)
    raise TypeError(f"'scaling' is one of {', '.join(STRETCHES)} or an IntensityScaling; got {choice!r}.")
