"""Intensity scaling before images are compared.

EUV intensities span decades and carry outliers; a correlation of the raw values is a correlation of the few brightest
pixels. The default clips at percentiles and takes the square root, which also evens out Poisson noise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = ["STRETCHES", "IntensityScaling", "IntensityTransform", "make_scaling"]

#: What a value is turned into after clipping.
STRETCHES = ("sqrt", "log", "linear")


@dataclass(frozen=True)
class IntensityTransform:
    """A scaling with its limits fixed: applied to every pixel alike."""

    lower: float
    upper: float
    stretch: str

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Scaled copy; NaN stay NaN."""
        clipped = np.clip(values, self.lower, self.upper)
        if self.stretch == "sqrt":
            # Only a background below zero is lifted: near zero the square root would turn noise into structure.
            return np.sqrt(clipped - min(self.lower, 0.0))
        if self.stretch == "log":
            return np.log10(np.maximum(clipped, self._floor))
        return clipped

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
        Lower and upper percentile at which each image is clipped; `None` leaves outliers alone.
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

    def fit(self, values: np.ndarray) -> IntensityTransform:
        """Fix the limits by the finite ones of these values."""
        finite = values[np.isfinite(values)]
        if finite.size == 0:
            return IntensityTransform(0.0, 0.0, self.stretch)
        # An odd stride does not fall on the same columns of an image again and again.
        some = finite if self.clip is None else finite[:: max(1, finite.size // 2**18) | 1]
        lower, upper = np.percentile(some, self.clip or (0, 100))
        if lower == upper:
            # More than 98 % of the pixels are equal: the few others are all there is to see.
            lower, upper = finite.min(), finite.max()
        return IntensityTransform(float(lower), float(upper), self.stretch)

    def __str__(self) -> str:
        clip = "no clip" if self.clip is None else f"clip {self.clip[0]:g}-{self.clip[1]:g} %"
        return f"{self.stretch}, {clip}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for records."""
        return asdict(self)


def make_scaling(choice: str | IntensityScaling) -> IntensityScaling:
    """Turn ``"sqrt"``, ``"log"`` or ``"linear"`` into a scaling; let one through.

    ``"linear"`` keeps the clip, which is what hot pixels need; ``IntensityScaling(stretch="linear", clip=None)``
    leaves the values as they are.
    """
    if isinstance(choice, IntensityScaling):
        return choice
    if isinstance(choice, str):
        return IntensityScaling(stretch=choice)
    raise TypeError(f"'scaling' is one of {', '.join(STRETCHES)} or an IntensityScaling; got {choice!r}.")
