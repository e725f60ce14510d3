"""One image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sunalign.exceptions import AlignmentError
from sunalign.geometry.observation import image_transform
from sunalign.images import Image, to_image
from sunalign.model.reference import ImageReference
from sunalign.reference_builders._solar import SolarBuilder

__all__ = ["ImageBuilder"]


@dataclass(frozen=True, kw_only=True)
class ImageBuilder(SolarBuilder):
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
    Lines of sight that miss the sphere are left alone (see `sunalign.geometry.rotation.SphereTransform`); for observers
    more than one degree apart they are left out.
    """

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
        transform, assumptions = image_transform(target, image, self._modelling)
        return ImageReference.of(image, target, transform, assumptions=assumptions)
