"""What builders share that model the Sun between target and reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from sunalign.abc import ReferenceBuilder
from sunalign.geometry.observation import Modelling, check_modelling

__all__ = ["SolarBuilder"]


@dataclass(frozen=True, kw_only=True)
class SolarBuilder(ReferenceBuilder):
    """A reference builder that models the Sun's rotation, the observers, and when each column was seen.

    Parameters
    ----------
    solar_rotation, raster_frame, observer_motion, height
        As in `~sunalign.reference_builders.ImageBuilder`.
    """

    solar_rotation: str = "differential"
    raster_frame: str = "step"
    observer_motion: Callable[[Time], SkyCoord] | Sequence[SkyCoord] | None = None
    height: u.Quantity = field(default_factory=lambda: 0 * u.Mm)

    def __post_init__(self) -> None:
        _ = self._modelling

    @property
    def _modelling(self) -> Modelling:
        """The four together, checked."""
        return check_modelling(self.solar_rotation, self.raster_frame, self.observer_motion, self.height)
