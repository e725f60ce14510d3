"""Conversions to and from what `sunkit_image.coalignment` speaks, and sunalign as one of its methods.

There, an affine map carries pixel ``p = (x, y)`` of the target, 0-based, to the pixel of the reference that shows the
same thing::

    q = (scale * rotation_matrix) @ p + translation

and the reference says where on the sky ``q`` is. NumPy multiplies the *columns* of the matrix by ``scale``, so it is
the target's pixel axes that are scaled, and then rotated. Angles are compared as they stand: neither package moves
features from the frame of one observer to that of another here.

sunkit-image (0.7 and newer, on Python 3.12 and newer) need not be installed unless its methods are extended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

import astropy.units as u

from sunalign.alignment.align import align
from sunalign.correction import Correction
from sunalign.exceptions import CorrectionError, PluginConflictError
from sunalign.geometry.coordinates import ARCSEC, PixelGrid
from sunalign.images import to_image
from sunalign.model.intensity import IntensityScaling
from sunalign.reference_builders import ImageBuilder
from sunalign.wcs.celestial import new_wcs

__all__ = [
    "AffineParams",
    "coalign_arrays",
    "from_affine_params",
    "register_with_sunkit_image",
    "to_affine_params",
]

#: Largest error, in reference pixels, of an affine map that stands for a correction.
_TOLERANCE = 0.1

#: A linear part that moves no pixel by more than this, in reference pixels, is the curvature of the sky.
_CURVATURE = 0.01

#: What makes no sense for arrays without coordinates, or for a shift.
_REFUSED = ("fit", "bounds", "start", "pivot", "corrector", "reference_builder", "working_grid")


class _Affine(Protocol):
    """What sunkit-image's ``AffineParams`` and ours have in common."""

    @property
    def scale(self) -> Any: ...

    @property
    def rotation_matrix(self) -> Any: ...

    @property
    def translation(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class AffineParams:
    """Affine map of target pixels to reference pixels, with the fields of sunkit-image's class of the same name.

    Parameters
    ----------
    scale : `numpy.ndarray`, shape (2,)
        Reference pixels per step along the target's pixel axes x and y.
    rotation_matrix : `numpy.ndarray`, shape (2, 2)
        Columns: directions of those steps among the reference's pixels. A rotation where both images have square
        pixels and neither is mirrored.
    translation : `numpy.ndarray`, shape (2,)
        Reference pixel, 0-based and x first, of the target's first pixel.
    """

    scale: np.ndarray = field(default_factory=lambda: np.ones(2))
    rotation_matrix: np.ndarray = field(default_factory=lambda: np.eye(2))
    translation: np.ndarray = field(default_factory=lambda: np.zeros(2))


def to_affine_params(correction: Correction, target: Any, reference: Any) -> AffineParams:
    """Say a correction as a map of the target's pixels to the reference's.

    Parameters
    ----------
    correction : `~sunalign.Correction`
        Found on ``target`` or on another image with the same pointing.
    target, reference : image
        Anything `sunalign.images.to_image` reads; the target with its uncorrected coordinates.

    Returns
    -------
    `AffineParams`
        To be given to ``sunkit_image.coalignment.interface.update_map_metadata``, for instance. That function refuses
        any scale but 1 and any rotation, also those between images of different pixel sizes or rolls; a linear part
        that amounts to less than 0.01 pixel across the target is therefore given as exactly none.

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        No affine map of pixels says it to 0.1 pixel, as in a very wide field.
    """
    old, new = to_image(target).grid, to_image(reference).grid
    pixels = _sample(old)
    moved = np.array(new.from_directions(correction.sky_matrix @ old.to_directions(*pixels)))
    if not np.isfinite(moved).all():
        raise CorrectionError("Parts of the target are not on the reference's sky; check the pointing of both.")
    offset = (moved - pixels).mean(axis=1)
    if _largest(moved - pixels - offset[:, None]) < _CURVATURE:
        return AffineParams(translation=offset)
    design = np.vstack([pixels, np.ones(pixels.shape[1])])
    affine = np.linalg.lstsq(design.T, moved.T, rcond=None)[0].T
    residual = _largest(affine @ design - moved)
    if residual > _TOLERANCE:
        raise CorrectionError(
            f"An affine map of pixels misses the correction by {residual:.3g} pixels of the reference, more than "
            f"{_TOLERANCE:g}; convert it for a smaller part of the target."
        )
    scale = np.hypot(*affine[:, :2])
    return AffineParams(scale, affine[:, :2] / scale, affine[:, 2])


def from_affine_params(params: _Affine, target: Any, reference: Any) -> Correction:
    """Correction that makes the target's coordinates those of the reference pixels it is mapped to.

    Parameters
    ----------
    params : `AffineParams` or ``sunkit_image.coalignment.interface.AffineParams``
        Anything with ``scale``, ``rotation_matrix`` and ``translation``.
    target, reference : image
        Anything `sunalign.images.to_image` reads; the target with its uncorrected coordinates.

    Returns
    -------
    `~sunalign.Correction`
        About the target's centre. Without errors: the affine map has none.
    """
    old, new = to_image(target).grid, to_image(reference).grid
    linear = np.asarray(params.rotation_matrix, float) * np.asarray(params.scale, float)
    centre = np.array(old.centre)
    moved = linear @ centre + np.asarray(params.translation, float)
    start, end = (np.ravel(grid.angles(*pixel)) for grid, pixel in ((old, centre), (new, moved)))
    before = old.jacobian(*centre)
    turn = np.round((end[0] - start[0]) / (2 * np.pi)) * np.array([2 * np.pi, 0])
    return Correction(
        shift=(end - start - turn) / ARCSEC * u.arcsec,
        matrix=new.jacobian(*moved) @ linear @ np.linalg.inv(before),
        pivot=start / ARCSEC * u.arcsec,
        axes=before / np.hypot(*before),
    )


def coalign_arrays(
    target_array: np.ndarray, reference_array: np.ndarray, *, max_shift: u.Quantity | None = None, **options: Any
) -> AffineParams:
    """Find the shift between two arrays of equal plate scale and roll, as a method of sunkit-image does.

    Only the shift is fitted, for ``sunkit_image.coalignment.coalign_map`` can apply nothing else, and arrays is all it
    hands over: no coordinates, masks, dates or observers. `sunalign.align` uses these, fits scale and rotation too, and
    says how sure it is.

    Parameters
    ----------
    target_array, reference_array : `numpy.ndarray`, shape (ny, nx)
        Of any sizes. Values that are not finite are ignored.
    max_shift : `~astropy.units.Quantity`, optional
        In pixels: how far apart the centres of both arrays can be along each axis. By default all of the target may
        be anywhere on the reference, or reach beyond it as far as ``min_overlap`` allows.
    **options
        Of `sunalign.align` and its plugins, such as ``metric``, ``optimizer``, ``min_overlap`` or ``on_doubt``. An
        angle, where one asks for it, is in arcsec for pixels. By default intensities are not clipped.

    Returns
    -------
    `AffineParams`
        Without scale or rotation.

    Warns
    -----
    ~sunalign.exceptions.SunalignUserWarning
        The answer is doubtful.
    """
    refused = [name for name in _REFUSED if name in options]
    if refused:
        raise TypeError(
            f"sunkit-image's coalign_map hands over two arrays and can apply only a shift, so {' and '.join(refused)} "
            f"cannot be chosen here; use sunalign.align, which takes the maps themselves."
        )
    # A cut-out and what it is cut from have other percentiles: clipped at these, the same pixel would differ.
    options.setdefault("scaling", IntensityScaling(stretch="sqrt", clip=None))
    target, reference = (_on_pixels(np.shape(array)) for array in (target_array, reference_array))
    result = align(
        (target_array, target.wcs),
        (reference_array, reference.wcs),
        fit="shift",
        bounds=_bounds(target, reference, max_shift),
        reference_builder=ImageBuilder(solar_rotation="none"),
        **options,
    )
    centre = np.array(target.centre)
    sky = result.correction.sky_matrix @ target.to_directions(*centre)
    return AffineParams(translation=np.ravel(reference.from_directions(sky)) - centre)


def register_with_sunkit_image() -> None:
    """Offer sunalign to sunkit-image: ``coalign_map(target, reference, method="sunalign")`` is `coalign_arrays`.

    Nothing is registered unless this is called. Calling it again does no harm.

    Raises
    ------
    ImportError
        sunkit-image is not installed, or too old to have methods.
    ~sunalign.exceptions.PluginConflictError
        Another package has registered the name.
    """
    try:
        from sunkit_image.coalignment.register import REGISTERED_METHODS, register_coalignment_method
    except ImportError as error:
        raise ImportError(
            "sunalign can become a method of sunkit-image 0.7 or newer, which needs Python 3.12 or newer; "
            "install it by: pip install 'sunkit-image>=0.7'."
        ) from error
    if REGISTERED_METHODS.get("sunalign", coalign_arrays) is not coalign_arrays:
        raise PluginConflictError(
            "Another package has registered the coalignment method 'sunalign' with sunkit-image; uninstall it, or "
            "register sunalign.sunkit_image.coalign_arrays under another name by register_coalignment_method()."
        )
    register_coalignment_method("sunalign")(coalign_arrays)


def _sample(grid: PixelGrid, count: int = 9) -> np.ndarray:
    """Pixel coordinates, shape (2, count**2), from edge to edge."""
    x, y = (np.linspace(-0.5, length - 0.5, count) for length in grid.shape[::-1])
    return np.array([axis.ravel() for axis in np.meshgrid(x, y)])


def _largest(vectors: np.ndarray) -> float:
    return float(np.hypot(*vectors).max())


def _on_pixels(shape: tuple[int, ...]) -> PixelGrid:
    """Grid of an array whose pixels are square arcseconds about the centre of the sky."""
    if len(shape) != 2:
        raise CorrectionError(f"Two-dimensional arrays can be coaligned; got one of {len(shape)} dimensions.")
    ny, nx = shape
    centre = np.array([nx - 1, ny - 1]) / 2
    return PixelGrid(new_wcs(("HPLN-TAN", "HPLT-TAN"), np.zeros(2), np.eye(2) / 3600, centre), (ny, nx))


def _bounds(
    target: PixelGrid, reference: PixelGrid, max_shift: u.Quantity | None
) -> dict[str, tuple[u.Quantity, u.Quantity]]:
    (ny, nx), (my, mx) = target.shape, reference.shape
    if max_shift is None:
        farthest = np.array([nx + mx, ny + my]) / 2
    elif isinstance(max_shift, u.Quantity) and max_shift.unit.is_equivalent(u.pix) and max_shift.isscalar:
        farthest = np.full(2, max_shift.to_value(u.pix))
    else:
        raise TypeError(f"'max_shift' is a Quantity of pixels such as 30 * u.pix; got {max_shift!r}.")
    return {name: (-far * u.arcsec, far * u.arcsec) for name, far in zip(("shift_x", "shift_y"), farthest, strict=True)}
