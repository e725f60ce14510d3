"""One slit position: a single exposure, or many of one place (sit-and-stare).

There is no image, but there is a line on the sky, and a reference tells where it is: along the slit as well as across
it. It is aligned as an image one column wide. The exposures of a sit-and-stare are averaged for that; a drift is then
fitted to all of them together, as to the columns of a raster that does not advance.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import astropy.units as u
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning, WcsError

from ndcube import NDCube
from ndcube.ndcube import NDCubeBase
from sunpy.map import GenericMap, Map

from sunalign.abc import Corrector, ReferenceBuilder
from sunalign.alignment.contract import build_reference, corrected
from sunalign.alignment.inputs import prepare
from sunalign.alignment.scaled import compared, without_hot_pixels
from sunalign.correction import Correction
from sunalign.exceptions import AlignmentError, ImageError
from sunalign.files.fits_blocks import HDU, opened, scan
from sunalign.geometry.coordinates import PixelGrid
from sunalign.geometry.times import StepTimes
from sunalign.images import Image, clean_data
from sunalign.images.cube_times import time_sources
from sunalign.images.cubes import CubeSky, cube_sky, window_name
from sunalign.model.intensity import IntensityScaling
from sunalign.model.problem import Problem
from sunalign.pointing.displaced import displaced
from sunalign.wcs.celestial import celestial_wcs
from sunalign.wcs.header import card_of, plain_values, sky_axes
from sunalign.wcs.metadata import add_history, copied, history_entry, update_cards
from sunalign.wcs.plausible import unusable
from sunalign.wcs.readable import quiet_about_metadata
from sunalign.wcs.refit import refit
from sunalign.wcs.still import ACROSS, has_no_extent, with_extent

if TYPE_CHECKING:
    from sunalign.result import AlignmentResult

__all__ = ["Slit", "read_slit"]

_LEFT_OUT = {
    "scale_x": "scale_x (one slit position has no extent across the slit)",
    "drift": "drift (a single exposure has one pointing)",
}


@dataclass(frozen=True, eq=False)
class Slit:
    """A target of one slit position.

    Parameters
    ----------
    exposures : `~sunalign.images.Image`
        One column an exposure, laid side by side on a grid that only means something along the slit.
    times : `~sunalign.geometry.times.StepTimes` or `None`
        When they were taken.
    source : object
        What was given, as the corrector takes it.
    frozen : `bool`
        Whether the header has the raster axis without extent (CDELT of 0), which no WCS library takes.
    """

    exposures: Image
    times: StepTimes | None
    source: Any
    frozen: bool = False

    @property
    def count(self) -> int:
        """Number of exposures."""
        return self.exposures.grid.shape[1]

    @property
    def single(self) -> Image:
        """Mean of the exposures, one column wide, at the middle of their times."""
        data = self.exposures.data
        valid = np.isfinite(data)
        total = np.where(valid, data, 0.0).sum(axis=1, keepdims=True)
        count = valid.sum(axis=1, keepdims=True)
        # Rows that only some exposures have would be means of another scene.
        mean = np.where(2 * count >= max(self.count, 1), total / np.maximum(count, 1), np.nan)
        image = Image(
            mean, self.exposures.grid.crop(slice(0, len(mean)), slice(0, 1)), self.exposures.meta, None,
            self.exposures.name, self.exposures.unit,
        )  # fmt: skip
        times = self.times
        if times is not None:
            at = float(np.mean(times.seconds))
            times = StepTimes(times.epoch, np.array([at]), f"{times.origin}, the middle of {self.count} exposures")
        return _timed(image, times)

    def prepared(self, mask: np.ndarray | None, limits: Any) -> Slit:
        """With pixels of the exposures left out.

        Parameters
        ----------
        mask, limits
            As in `~sunalign.alignment.inputs.prepare`.
        """
        return replace(self, exposures=_timed(prepare(self.exposures, mask, limits, "target"), self.times))

    def fit(self, fit: str | Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
        """What of a fit can be determined, and an assumption that names what cannot.

        Parameters
        ----------
        fit : `str` or sequence of `str`
            As a caller of `sunalign.align` gave it.
        """
        words: list[str] = []
        for word in (fit,) if isinstance(fit, str) else fit:
            words += ["scale_x", "scale_y"] if word == "scale" else [word]
        silent = {"scale_x"} | ({"drift"} if self.count == 1 else set())
        kept = tuple(word for word in words if word not in silent)
        if not set(kept) - {"drift"}:
            raise AlignmentError(
                f"{self.exposures.name} has one slit position, from which {' and '.join(words)} cannot be determined; "
                f"fit 'shift', and with it 'scale_y', 'rotation' or, for several exposures, 'drift'."
            )
        left = [_LEFT_OUT[word] for word in words if word in silent]
        positions = f"one, {self.count} exposure{'s' if self.count > 1 else ''}"
        return kept, {"slit positions": positions} | ({"not determined": ", ".join(left)} if left else {})

    def problem(
        self,
        single: Problem,
        builder: ReferenceBuilder,
        references: Sequence[Any],
        scaling: IntensityScaling,
        margin: float,
    ) -> Problem:
        """Forward model of all exposures.

        Parameters
        ----------
        single : `~sunalign.model.problem.Problem`
            That of their mean.
        builder : `~sunalign.abc.ReferenceBuilder`
        references : sequence
        scaling : `~sunalign.model.intensity.IntensityScaling`
        margin : `float`
            How far, in radians, the slit may be moved.
        """
        image, grid = self.exposures, self.exposures.grid
        built = build_reference(builder, references, image, margin + grid.pixel_size[0] * self.count)
        # Side by side they only are on paper: each looks at the place of the first.
        side_by_side = np.array([-np.arange(self.count), np.zeros(self.count)])
        clean, noise, _ = without_hot_pixels(image)
        target, reference, _ = compared(clean, noise, displaced(built, side_by_side), grid, scaling)
        return replace(single, target=target, reference=reference, base=grid, limit=None, sharp=None).as_compared()

    def corrected(self, corrector: Corrector, target: Any, result: AlignmentResult) -> Any:
        """Return the target with the correction.

        Parameters
        ----------
        corrector : `~sunalign.abc.Corrector`
        target : object
            As it was given.
        result : `~sunalign.AlignmentResult`
        """
        if self.frozen and not (isinstance(target, (str, os.PathLike)) and corrector.accepts(target)):
            return self._still_corrected(result.correction, result.provenance())
        return corrected(corrector, target, replace(self.exposures, source=self.source), result)

    def _still_corrected(self, correction: Correction, provenance: str) -> Any:
        """Return the source with a correction where its header has no extent across the slit."""
        data, header = (self.source.data, self.source.meta) if isinstance(self.source, GenericMap) else self.source
        cards, _ = refit(with_extent(header), correction, np.shape(data))
        new = copied(header)
        # The raster axis keeps what it had, which is nothing.
        update_cards(new, {key: value for key, value in cards.items() if key not in ACROSS})
        add_history(new, history_entry(correction, provenance))
        if isinstance(self.source, GenericMap):
            result = copy.copy(self.source)
            result.meta = new
            result.__dict__.pop("_meta_hash", None)
            return result
        return data, new


def _timed(image: Image, times: StepTimes | None) -> Image:
    """Image that knows its times already: they are not those of its header's axes."""
    known = image._known.found  # type: ignore[union-attr]
    known["times"] = times
    if times is not None:
        known["date"] = times.at((image.grid.shape[1] - 1) / 2)
    return image


def read_slit(target: Any, mask: np.ndarray | None = None, limits: Any = None) -> Slit | None:
    """Target as one slit position; `None` where it is an image or a raster.

    Parameters
    ----------
    target, mask, limits : object
        As `sunalign.align` takes them.
    """
    slit = _read(target)
    return None if slit is None else slit.prepared(mask, limits)


def _read(target: Any) -> Slit | None:
    if isinstance(target, NDCubeBase):
        return _cube_slit(target)
    if isinstance(target, (str, os.PathLike)):
        return _file_slit(Path(target))
    if isinstance(target, GenericMap):
        return _header_slit(target, target.data, target.mask, target.meta, str(target.meta.get("filename") or "map"))
    if isinstance(target, tuple) and len(target) == 2 and isinstance(target[1], Mapping) and np.ndim(target[0]) == 2:
        mask = target[0].mask if isinstance(target[0], np.ma.MaskedArray) else None
        return _header_slit(target, np.ma.getdata(target[0]), mask, target[1], "array")
    return None


def _file_slit(path: Path) -> Slit | None:
    try:
        with opened(path) as stream:
            images = [hdu for hdu in scan(stream, path) if hdu.is_image and len(hdu.shape) >= 2]
    except ImageError:
        return None  # `to_image` says what is wrong with it.
    images = [hdu for hdu in images if sky_axes(plain_values(hdu.header)) is not None][:1] or images[:1]
    if not images or not (_is_still(images[0].header) or _has_one_position(images[0])):
        return None
    with fits.open(path, memmap=False) as hdus:
        data, header = np.array(hdus[images[0].number].data), hdus[images[0].number].header.copy()
    if _has_one_position(images[0]) and (data.shape[0] > 1 or not has_no_extent(header)):
        return _cube_slit(_cube_of(data, header), path.name)
    if data.ndim > 2:
        if sky_axes(plain_values(header)) != (1, 2):
            return None  # `to_image` says what it is.
        data = _mean_image(data)
    return _header_slit(Map(data, header), data, None, header, path.name)


def _cube_of(data: np.ndarray, header: fits.Header) -> NDCube:
    """Cube of an array of a file, whose raster axis leads somewhere even where its header says it does not."""
    with quiet_about_metadata(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(with_extent(header) if has_no_extent(header) else header)
        except WcsError as error:
            raise ImageError(unusable(header, "The file")) from error
        return NDCube(data, wcs, meta=header)


def _has_one_position(hdu: HDU) -> bool:
    """Whether an array of more than two axes is one pixel long in longitude."""
    axes = sky_axes(plain_values(hdu.header))
    n = len(hdu.shape)
    return n > 2 and axes is not None and axes[0] <= n and hdu.shape[n - axes[0]] == 1


def _mean_image(data: np.ndarray) -> np.ndarray:
    """Mean of the valid values along all but the last two axes, as of a cube."""
    planes = data.reshape(-1, *data.shape[-2:])
    valid = np.isfinite(planes)
    count = valid.sum(axis=0)
    return np.where(count > 0, np.where(valid, planes, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _is_still(header: Mapping[str, Any]) -> bool:
    return has_no_extent(header) or str(card_of(header, "STUDYTYP", "")).lower().startswith("sit")


def _header_slit(source: Any, data: np.ndarray, mask: Any, header: Mapping[str, Any], name: str) -> Slit | None:
    frozen = has_no_extent(header)
    if not _is_still(header) and data.shape[1] != 1:
        return None
    wide = with_extent(header) if frozen else copied(header)
    for key in [key for key in wide if str(key).upper() == "STUDYTYP"]:
        del wide[key]
    grid = PixelGrid(celestial_wcs(wide), data.shape)
    clean = clean_data(data, mask)
    if data.shape[1] == 1 and not frozen:
        # One column is an image like any other, only narrow.
        return Slit(
            Image(clean, grid, wide, (clean, wide), name), Image(clean, grid, wide, (clean, wide)).times, source
        )
    times = Image(clean, grid, wide, (clean, wide), name).times
    image = Image(clean, _at_slit(grid), wide, None, name)
    return Slit(_timed(image, times), times, source, frozen)


def _at_slit(grid: PixelGrid) -> PixelGrid:
    """Grid whose column 0 is the slit: all columns are one place, the one whose coordinates the header gives."""
    wcs = grid.wcs.deepcopy()
    wcs.wcs.crpix = [1.0, wcs.wcs.crpix[1]]
    return PixelGrid(wcs, grid.shape)


# Cubes


def _cube_slit(cube: NDCubeBase, name: str = "") -> Slit | None:
    # That module also teaches `to_image` what a cube is.
    from sunalign.images.cubes import off_slit

    meta = cube.meta if isinstance(cube.meta, Mapping) else {}
    sky = _sky(cube)
    if sky is None or cube.data.shape[sky.x_axis] != 1:
        return None
    name = name or window_name(cube) or "cube"
    probe = Image(np.empty((2, 1)), PixelGrid(sky.wcs, (2, 1)), meta, cube, name)
    times, time_axis = _cube_times(probe)
    if times is None and probe.date is not None:
        times = StepTimes(probe.date, np.zeros(1), "the date of the cube")
    values = clean_data(cube.data, None if cube.mask is None else np.broadcast_to(cube.mask, cube.data.shape))
    kept = [sky.y_axis] + ([time_axis] if time_axis is not None else [])
    values = np.moveaxis(values, kept, range(len(kept)))
    values = values.reshape(*values.shape[: len(kept)], -1)
    valid = np.isfinite(values)
    count = valid.sum(axis=-1)
    data = np.where(count > 0, np.where(valid, values, 0.0).sum(axis=-1) / np.maximum(count, 1), np.nan)
    data = data.reshape(data.shape[0], -1)
    data[off_slit(meta, sky, len(data), name)] = np.nan
    image = Image(data, PixelGrid(sky.wcs, data.shape), meta, None, name, cube.unit)
    return Slit(_timed(image, times), times, cube)


def _sky(cube: NDCubeBase) -> CubeSky | None:
    try:
        return cube_sky(cube)
    except ImageError:
        return None  # `to_image` says why.


def _cube_times(image: Image) -> tuple[StepTimes | None, int | None]:
    """Times of the exposures of a cube along an axis of their own, and that array axis."""
    for times, axes, origin in time_sources(image):
        kept = [axis for axis, size in zip(axes, times.shape, strict=True) if size > 1]
        if len(kept) <= 1:
            flat = times.reshape(-1) if times.shape else Time([times])
            seconds = np.asarray((flat - flat[0]).to_value(u.s))
            axis = image.source.data.ndim - 1 - kept[0] if kept else None
            return StepTimes(flat[0], seconds, f"{origin} of the cube"), axis
    return None, None
