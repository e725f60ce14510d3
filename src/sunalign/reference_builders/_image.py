"""One image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from sunalign.abc import ReferenceBuilder
from sunalign.exceptions import AlignmentError
from sunalign.geometry.observation import check_modelling, image_carry
from sunalign.images import Image, to_image
from sunalign.model.reference import ImageReference

__all__ = ["ImageBuilder"]


@dataclass(frozen=True, kw_only=True)
class ImageBuilder(ReferenceBuilder):
    """Compare with one image, brought to the time of every raster step and to the target's observer.

    Between an image and another one of the same moment and place there is nothing to bring anywhere; this is noticed,
    and costs nothing.

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

    Notes
    -----
    Lines of sight that miss the sphere are left alone (see `sunalign.geometry.rotation.SphereCarry`); for observers
    more than one degree apart they are left out.
    """

    solar_rotation: str = "differential"
    raster_frame: str = "step"
    observer_motion: Callable[[Time], SkyCoord] | Sequence[SkyCoord] | None = None
    height: u.Quantity = field(default_factory=lambda: 0 * u.Mm)

    def __post_init__(self) -> None:
        check_modelling(self.solar_rotation, self.raster_frame, self.observer_motion, self.height)

    def build(self, references: Sequence[Any], target: Image) -> ImageReference:
        if len(references) != 1:
            raise AlignmentError(
                f"The reference builder 'image' takes one image, and {len(references)} were given; "
                f"use reference_builder='synthetic-raster' for a sequence."
            )
        image = to_image(references[0])
        ctype = str(image.wcs.wcs.ctype[0])
        if ctype.startswith(("CRLN", "HGLN")):
            raise AlignmentError(
                f"{image.name} is a map of the Sun's surface ({ctype}); use reference_builder='carrington' for it."
            )
        modelling = check_modelling(self.solar_rotation, self.raster_frame, self.observer_motion, self.height)
        carry, assumptions = image_carry(target, image, modelling)
        return ImageReference.of(image, target, carry, assumptions=assumptions)
