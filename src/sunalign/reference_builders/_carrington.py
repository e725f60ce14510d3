"""References that are places on the Sun: images of any observers, and maps in heliographic coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from astropy.wcs import WCS

from sunpy.map import GenericMap

from sunalign.exceptions import AlignmentError, CoverageError
from sunalign.geometry.coordinates import ARCSEC, PixelGrid, nearest_turn
from sunalign.geometry.mapping import PixelMapping
from sunalign.geometry.observation import View, describe_rotation, views_of
from sunalign.geometry.rotation import ROTATION, SurfaceTransform, stonyhurst_zero
from sunalign.images import Image, to_image
from sunalign.model.mapped_image import MappedImage, Transform, is_surface
from sunalign.model.reference_contract import Reference
from sunalign.reference_builders._solar import SolarBuilder

__all__ = ["Carrington"]


@dataclass(frozen=True, kw_only=True)
class Carrington(SolarBuilder):
    """Compare on the surface of the Sun: with images of any observers, or with a map in heliographic coordinates.

    Every pixel of the target is a place on a sphere, turned to the date of the reference. A reference is an image of
    whatever observer, or a map whose axes are Carrington (``CRLN``, ``CRLT``) or Stonyhurst (``HGLN``, ``HGLT``)
    coordinates, such as a synoptic map. Of several, the first that shows a place counts.

    Parameters
    ----------
    solar_rotation : {"differential", "rigid", "none"}
        How the Sun turns between target and reference. ``"rigid"`` keeps Carrington coordinates, and so does ``"none"``
        for a map in them; for images ``"none"`` takes target and reference to be simultaneous.
    raster_frame, observer_motion
        As in `~sunalign.reference_builders.ImageBuilder`.
    height : `~astropy.units.Quantity`
        Of the sphere above the photosphere: the height of the emission.

    Notes
    -----
    Off the disc there is no surface: those pixels of the target are left out.
    """

    def build(self, references: Sequence[Any], target: Image) -> Reference:
        modelling = self._modelling
        images = [to_image(reference) for reference in references]
        found = views_of(target, [image for image in images if not is_surface(image)], modelling)
        if found is None:
            raise AlignmentError(
                f"Neither {target.name} nor a reference says from where it was seen, so nothing can be placed on the "
                f"Sun; add DSUN_OBS, HGLN_OBS and HGLT_OBS to the target's header."
            )
        view, observations, assumptions = found
        if modelling.solar_rotation == "none":
            view = replace(view, simultaneous=True)
        others = iter(observations)
        parts = []
        for image in images:
            if is_surface(image):
                parts.append(_surface_part(image, target, view))
            else:
                transform = replace(view.transform(next(others)), off_disc=False)
                parts.append(MappedImage(image, (PixelMapping(target.grid, image.grid, transform),)))
        assumptions = {
            "solar rotation": describe_rotation(modelling),
            **assumptions,
            "surface": f"sphere {modelling.height.to_value(u.Mm):g} Mm above the photosphere",
        }
        return SurfaceReference(parts, target, view, assumptions)


def _surface_part(image: Image, target: Image, view: View) -> MappedImage:
    """Part of a map in heliographic coordinates."""
    date = image.date or view.observation.date
    rates = ROTATION[view.modelling.solar_rotation]
    if view.modelling.solar_rotation == "none" or image.date is None or target.times is None:
        # What keeps its Carrington coordinates turns with them.
        rates, date = ROTATION["rigid"], view.observation.date
    transform = replace(view, simultaneous=False).transform(view.observation)
    elapsed = transform.elapsed + float((date - view.observation.date).to_value(u.s))
    turned = transform.longitude + float(view.observation.position.longitude - _prime_meridian(image, date))
    surface = SurfaceTransform(
        radius=transform.radius,
        distance=transform.distance,
        latitude=transform.latitude,
        longitude=turned,
        elapsed=elapsed,
        rates=rates,
        to_distance=transform.to_distance,
        to_latitude=transform.to_latitude,
        off_disc=False,
    )
    centred = _centred(image, surface, target)
    return MappedImage(centred, (PixelMapping(target.grid, centred.grid, surface),))


def _prime_meridian(image: Image, date: Time) -> float:
    """HCI longitude, at a date, of the meridian where the longitude of a map is zero."""
    zero = float(stonyhurst_zero(date))
    if str(image.wcs.wcs.ctype[0]).startswith("HGLN"):
        return zero
    from sunpy.coordinates import HeliographicCarrington, HeliographicStonyhurst

    frame = HeliographicCarrington(obstime=date, observer=_carrington_observer(image))
    earthward = SkyCoord(0 * u.deg, 0 * u.deg, 1 * u.R_sun, frame=HeliographicStonyhurst(obstime=date))
    return zero - float(earthward.transform_to(frame).lon.to_value(u.rad))


def _carrington_observer(image: Image) -> Any:
    """Whose light-travel time a map's Carrington longitudes reckon with: its header's observer's, or Earth's."""
    return "earth" if image.observer is None else image.observer


def _centred(image: Image, transform: SurfaceTransform, target: Image) -> Image:
    """Map with the target in its middle, where it goes round the Sun or its reference point is far away.

    Shifting the longitudes of a cylindrical projection whose reference point is on the equator shifts its pixels.
    """
    wcs, nx = image.wcs, image.grid.shape[1]
    cylindrical = all(ctype[4:] in ("-CAR", "-CEA", "-MER", "-CYP") for ctype in wcs.wcs.ctype)
    if not cylindrical or wcs.wcs.crval[1] != 0 or image.grid.to_base != (0.0, 1.0, 0.0, 1.0):
        return image
    scale = wcs.pixel_scale_matrix
    if abs(scale[0, 1]) > 1e-12 * abs(scale[0, 0]):
        return image
    step, data, start = scale[0, 0], image.data, 0
    longitudes = wcs.wcs.crval[0] + step * (np.arange(nx) + 1 - wcs.wcs.crpix[0])
    if abs(nx * abs(step) - 360) < 1.5 * abs(step):
        direction = transform(target.grid.to_directions(*(np.array([c]) for c in target.grid.centre)), np.array([0.0]))
        if np.isfinite(direction).all():
            wanted = np.degrees(np.arctan2(direction[1], direction[0]))[0]
            nearest = int(np.abs(nearest_turn(longitudes - wanted, 360)).argmin())
            start = nearest - nx // 2
            data = np.roll(data, -start, axis=1)
    middle = nx // 2
    shifted: WCS = wcs.deepcopy()
    shifted.wcs.crpix = [middle + 1, wcs.wcs.crpix[1]]
    shifted.wcs.crval = [longitudes[(middle + start) % nx], 0.0]
    shifted.wcs.set()
    return replace(image, data=data, grid=PixelGrid(shifted, data.shape), source=None)


class SurfaceReference(Reference):
    """Images and maps of the surface, sampled where the target's pixels are on it.

    Parameters
    ----------
    parts : sequence of `~sunalign.model.mapped_image.MappedImage`
        Of those that show a place, the first counts.
    target : `~sunalign.images.Image`
    view : `View`
    assumptions : mapping
    """

    def __init__(self, parts: Sequence[MappedImage], target: Image, view: View, assumptions: Mapping[str, str]) -> None:
        self.parts = list(parts)
        self._target = target
        self._view = view
        self.assumptions = dict(assumptions)
        # A heliographic degree is seen under a smaller angle.
        lever = view.radius / (float(view.observation.position.distance) - view.radius)
        first = self.parts[0].image
        self.pixel_size = float(np.sqrt(np.prod(first.grid.pixel_size))) * (lever if is_surface(first) else 1.0)

    def _with(self, parts: Sequence[MappedImage], target: Image | None = None) -> SurfaceReference:
        changed = SurfaceReference(parts, target or self._target, self._view, self.assumptions)
        changed.smoothing = parts[0].smoothing
        return changed

    def within(self, margin: float) -> SurfaceReference:
        """Crop every part to what is needed."""
        if not np.isfinite(margin):
            return self
        kept = []
        for part in self.parts:
            window = part.needed(margin)
            if window is not None and np.isfinite(part.data[window]).any():
                kept.append(part.cropped(window))
        if not kept:
            raise CoverageError(
                f"No reference shows the part of the Sun that {self._target.name} shows, with a margin of "
                f"{margin / ARCSEC:.0f} arcsec. Check pointings and dates."
            )
        return self._with(kept)

    def sample(self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Values at target pixel coordinates."""
        out = np.full(np.shape(x), np.nan)
        for part in self.parts:
            values = part.sample(x, y, columns)
            out = np.where(np.isnan(out), values, out)
            if not np.isnan(out).any():
                break
        return out

    def sample_with_gradient(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and their derivatives by the target pixel coordinates."""
        out = np.full((3, *np.shape(x)), np.nan)
        for part in self.parts:
            new = part.sample_with_gradient(x, y, columns)
            out = np.where(np.isnan(out[0]), new, out)
            if not np.isnan(out[0]).any():
                break
        return out[0], out[1], out[2]

    def intensities(self) -> np.ndarray:
        """All values of all parts."""
        return np.concatenate([part.data.ravel() for part in self.parts])

    def arrays(self) -> Sequence[np.ndarray]:
        """Pixels of all parts."""
        return [part.data for part in self.parts]

    def positions(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Pixel coordinates of the one image; `None` where there are several."""
        return self.parts[0].positions(x, y, columns) if len(self.parts) == 1 else None

    def scaled(self, transform: Transform) -> SurfaceReference:
        """Scale the images before their splines are made."""
        return self.mapped(transform)

    def mapped(self, function: Transform) -> SurfaceReference:
        """Replace the pixels of every image."""
        bare = replace(self._target, data=np.empty((0, 0)), source=None, meta={})
        return self._with([part.mapped(function) for part in self.parts], bare)

    def smoothed(self, width: float) -> SurfaceReference:
        """Smooth the images before their splines are made."""
        if width == self.smoothing:
            return self
        return self._with([part.smoothed(width) for part in self.parts])

    def binned(self, factor: int) -> SurfaceReference:
        """Coarser version."""
        if factor == 1 or not all(part.can_be_binned(factor) for part in self.parts):
            return self
        return self._with([part.binned(factor) for part in self.parts])

    def image(self) -> GenericMap:
        """What the reference shows on the target's own pixels."""
        ny, nx = self._target.grid.shape
        data = self.sample_grid(np.eye(3), (ny, nx), np.arange(nx, dtype=float))
        return replace(self._target, data=data, source=None).to_map()
