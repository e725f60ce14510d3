"""Laws for a plugin in its place in a whole alignment."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

import astropy.units as u

from sunalign.abc import Corrector, Plugin, ReferenceBuilder
from sunalign.alignment.align import align
from sunalign.correctors import corrector_for
from sunalign.exceptions import AlignmentError, CorrectionError
from sunalign.registry import KINDS
from sunalign.result import AlignmentResult
from sunalign.testing._law import Check, require
from sunalign.testing.helpers import small_cube, small_file, small_map, smooth_image

__all__ = ["CHECKS"]

_SHIFT = (6.3, -4.7)  # Arcseconds by which the target's header is wrong.


def check_alignment_finds_a_known_shift(plugin: Plugin) -> None:
    """In `sunalign.align` the shift of a header is found to a third of a pixel."""
    _require_found(_aligned(plugin, *_pair()))


def check_alignment_with_defects(plugin: Plugin) -> None:
    """So it is with NaN borders and rows, noise, pixels of another size and a rolled target."""
    _require_found(_aligned(plugin, *_pair(roll=20.0, scale=(6.0, 3.0), defects=True)))


CHECKS: tuple[Check, ...] = (check_alignment_finds_a_known_shift, check_alignment_with_defects)


def _pair(roll: float = 0.0, scale: tuple[float, float] = (4.0, 4.0), *, defects: bool = False) -> tuple[Any, ...]:
    """Data and place of a target whose header is wrong, and a reference of 4 arcsec a pixel."""
    scene = smooth_image((110, 110), seed=2, smoothness=2.5)
    ny, nx = int(192 / scale[1]), int(192 / scale[0])
    y, x = np.mgrid[:ny, :nx].astype(float)
    turn = np.radians(roll)
    along, across = (x - (nx - 1) / 2) * scale[0], (y - (ny - 1) / 2) * scale[1]
    # On the plane of the sky: the field is so small that it is flat to a thousandth of a pixel.
    tx, ty = np.cos(turn) * along - np.sin(turn) * across, np.sin(turn) * along + np.cos(turn) * across
    data = ndimage.map_coordinates(scene, [54.5 + ty / 4, 54.5 + tx / 4], order=3)
    if defects:
        data += np.random.default_rng(0).normal(scale=2, size=data.shape)
        data[:3], data[-4:], data[:, :2], data[ny // 2] = np.nan, np.nan, np.nan, np.nan
    where = {"roll": roll, "scale": scale, "centre": (-_SHIFT[0], -_SHIFT[1])}
    return data, where, small_map(scene, centre=(0.0, 0.0), scale=4.0)


def _aligned(plugin: Plugin, data: np.ndarray, where: dict[str, Any], reference: Any) -> AlignmentResult:
    kind = next(kind for kind in KINDS if isinstance(plugin, kind))
    slot = KINDS[kind][1].replace(" ", "_")
    options: dict[str, Any] = {slot: plugin, "max_shift": 24 * u.arcsec, "on_doubt": "ignore", "rng": 0}
    if isinstance(plugin, Corrector):
        return _corrected(data, where, reference, options)
    target = small_map(data, **where)
    if isinstance(plugin, ReferenceBuilder):
        try:
            return align(target, reference, **options)
        except AlignmentError:
            return align(target, [reference, reference], **options)
    return align(target, reference, **options)


def _corrected(data: np.ndarray, where: dict[str, Any], reference: Any, options: dict[str, Any]) -> AlignmentResult:
    """With the first kind of target that the corrector takes."""
    with small_file(data, **where) as path:
        for target in (small_map(data, **where), small_cube(data, **where), path):
            try:
                return align(target, reference, **options)
            except CorrectionError:
                continue
    raise AssertionError(f"The corrector takes no target of the kinds of '{corrector_for(None)}', 'ndcube' and 'fits'.")


def _require_found(result: AlignmentResult) -> None:
    found = result.correction.shift.to_value(u.arcsec)
    off = float(np.hypot(*(found - _SHIFT)))
    require(off < 4 / 3, f"The header is off by {_SHIFT} arcsec; found was {found}.")
    require(np.isfinite(result.score), f"The score is {result.score}.")
    require(result.aligned is not None, "There is no corrected image.")
