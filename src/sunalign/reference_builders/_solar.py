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
    solar_rotation : {"differential", "rigid", "none"}
        How the Sun turns between the time of a target's column and the image's. The apparent motion is this less the
        observer's own. ``"none"`` compares with the frozen image.
    raster_frame : {"step", "header"}
        What the angles in a raster's header mean. ``"step"``: as seen at each step's own time from where the spacecraft
        was at that step. ``"header"``: all in the one frame of the header, the observer at its DATE-AVG.
    observer_motion : callable or sequence, optional
        Where the target's observer was: a function of a `~astropy.time.Time` that returns a
        `~astropy.coordinates.SkyCoord`, or two or more positions with an ``obstime`` each. By default it is taken from
        velocity cards, or the positions and dates of the two headers.
    height : `~astropy.units.Quantity`
        Of the emission above the photosphere: the radius of the sphere on which features are carried. It matters for
        observers some degrees apart.
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
