"""What of a frame is kept in memory to measure with: a small, scaled image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sunalign.exceptions import ImageError
from sunalign.model.intensity import IntensityScaling, IntensityTransform

__all__ = ["WorkingImage", "binned", "factor_for", "working_image"]

#: Pixels along the longer side of what is measured on. A frame of 2048 pixels keeps 512, which is 1 MB in single
#: precision; smaller ones keep 256, for half of their detail is noise and the other half places them well enough.
_LARGE, _SMALL, _LARGE_FRAME = 512, 256, 1400

#: Values from which the limits of the intensity scaling are read. An odd stride meets every column of the image.
_SAMPLES = 2**13

#: Half the size of a hole that is filled, and rounds of smoothing inside it.
_HOLE, _SPREAD = 5, 12


@dataclass(frozen=True, eq=False)
class WorkingImage:
    """Scaled and binned pixels of one frame.

    Parameters
    ----------
    data : `numpy.ndarray` of `numpy.float32`, shape (ny, nx)
        Mean 0 and standard deviation 1 over the valid pixels, 0 where there is no valid one.
    valid : `numpy.ndarray` of `bool` or `None`
        `None` where every pixel is.
    origin : `numpy.ndarray`, shape (2,)
        Position (x, y) of pixel (0, 0) on the working grid of the scene, as the header has it.
    """

    data: np.ndarray
    valid: np.ndarray | None
    origin: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory that is held."""
        return self.data.nbytes + (0 if self.valid is None else self.valid.nbytes)


def factor_for(shape: tuple[int, int]) -> int:
    """By how much frames are binned.

    Parameters
    ----------
    shape : `tuple` of `int`
        Of a frame.
    """
    longest = max(shape)
    return max(1, -(-longest // (_LARGE if longest > _LARGE_FRAME else _SMALL)))


def working_image(
    data: np.ndarray, mask: np.ndarray | None, factor: int, scaling: IntensityScaling, name: str = "The frame"
) -> WorkingImage:
    """Scale and bin a frame.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
    mask : `numpy.ndarray` of `bool`, optional
        True where a pixel is to be ignored.
    factor : `int`
        Pixels along the side of a bin.
    scaling : `~sunalign.model.intensity.IntensityScaling`
        Its limits are this frame's own: exposures differ.
    name : `str`
        For messages.

    Raises
    ------
    ~sunalign.exceptions.ImageError
        There is nothing to see: no valid pixel, or one value everywhere.
    """
    values, invalid = _valid_values(data, mask)
    if invalid is not None and np.count_nonzero(~invalid) < 256:
        raise ImageError(f"{name} has no valid pixels to compare: nearly all are NaN or masked.")
    limits = _limits(values, invalid, scaling, name)
    clipped = np.clip(values, np.float32(limits.lower), np.float32(limits.upper))
    if invalid is not None:
        clipped[invalid] = 0
    means, share = binned(clipped, factor), None
    if invalid is not None:
        share = binned((~invalid).astype(np.float32), factor)
        means /= np.maximum(share, np.float32(1e-6))
    scaled = limits(means).astype(np.float32, copy=False)
    valid = None if share is None else share >= 0.5
    if valid is None:
        scaled -= scaled.mean(dtype=np.float64)
        spread = float(np.sqrt(np.vdot(scaled, scaled) / scaled.size))
    else:
        scaled -= scaled[valid].mean(dtype=np.float64)
        scaled[~valid] = 0
        spread = float(np.sqrt(np.vdot(scaled, scaled) / max(int(np.count_nonzero(valid)), 1)))
    if not spread > 0:
        raise ImageError(_constant(name, float(limits.upper)))
    scaled *= np.float32(1 / spread)
    if valid is not None:
        scaled, valid = _mended(scaled, valid)
    return WorkingImage(scaled, valid, np.zeros(2))


def _mended(data: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Small holes filled from around them: their edges would stay with the detector and be taken for the scene."""
    whole = ndimage.binary_closing(np.pad(valid, _HOLE, mode="edge"), iterations=_HOLE)[_HOLE:-_HOLE, _HOLE:-_HOLE]
    holes = whole & ~valid
    if holes.any():
        near = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
        # From the edges inwards: each round spreads what is known by a pixel.
        filled = data[tuple(near)]
        for _ in range(_SPREAD):
            filled = np.where(holes, ndimage.uniform_filter(filled, 3, mode="nearest"), data[tuple(near)])
        data = np.where(holes, filled, data).astype(np.float32)
        valid = valid | holes
    return data, None if valid.all() else valid


def binned(values: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks; an incomplete last block is dropped.

    Parameters
    ----------
    values : `numpy.ndarray`, shape (ny, nx)
    factor : `int`
        Pixels of a block along either side.
    """
    if factor == 1:
        return values.copy()
    ny, nx = (n // factor for n in values.shape)
    values = values[: ny * factor, : nx * factor]
    # Whole rows first: sums along short inner axes are slow.
    rows = values[::factor].copy()
    for k in range(1, factor):
        rows += values[k::factor]
    total = rows[:, ::factor].copy()
    for k in range(1, factor):
        total += rows[:, k::factor]
    total *= values.dtype.type(1 / factor**2)
    return total


def _valid_values(data: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Values in single precision, and where they are not valid; `None` where all are."""
    with np.errstate(over="ignore", invalid="ignore"):
        # Beyond single precision is infinite, and as such not valid.
        values = np.asarray(data, np.float32)
        # A sum is quick, and finite if all are; if it only overflowed that is found out.
        invalid = None if np.isfinite(values.sum()) else ~np.isfinite(values)
    if invalid is not None and not invalid.any():
        invalid = None
    if mask is not None and np.any(mask):
        invalid = np.broadcast_to(mask, values.shape) if invalid is None else invalid | mask
    return values, invalid


def _limits(values: np.ndarray, invalid: np.ndarray | None, scaling: IntensityScaling, name: str) -> IntensityTransform:
    some = values if invalid is None else values[~invalid]
    some = some.ravel()[:: max(1, some.size // _SAMPLES) | 1]
    if scaling.clip is None:
        some = values if invalid is None else values[~invalid]
    limits = scaling.fit(some)
    if not limits.lower < limits.upper:
        all_of_it = values if invalid is None else values[~invalid]
        limits = scaling.fit(all_of_it)
        if not limits.lower < limits.upper:
            raise ImageError(_constant(name, limits.upper))
    return limits


def _constant(name: str, value: float) -> str:
    return (
        f"{name} is constant, every valid pixel is {value:g}: a black or saturated frame shows nothing to place it by."
    )


def feathered(valid: np.ndarray, reach: float = 2.0) -> np.ndarray:
    """Weight that falls smoothly to 0 towards what is not valid, for an edge would correlate with itself.

    Parameters
    ----------
    valid : `numpy.ndarray` of `bool`, shape (ny, nx)
    reach : `float`
        Of the Gaussian that smooths it, in pixels.
    """
    inside = ndimage.binary_erosion(valid, iterations=max(1, round(2 * reach)), border_value=1)
    weight = ndimage.gaussian_filter(inside.astype(np.float32), reach, mode="nearest")
    return np.where(valid, weight, np.float32(0))
