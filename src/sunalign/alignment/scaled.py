"""Both images as they are compared: without hot pixels, and scaled as their noise allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sunalign.exceptions import AlignmentError
from sunalign.geometry.coordinates import PixelGrid, apply_homography
from sunalign.images import Image
from sunalign.model.hot_pixels import hot_pixels
from sunalign.model.intensity import IntensityScaling, stride_of
from sunalign.model.noise import NoiseModel, noise_model
from sunalign.model.problem import Problem
from sunalign.model.reference_contract import Reference
from sunalign.model.smoothing import bridged

__all__ = ["compared", "describe_noise", "without_hot_pixels"]

_MOSTLY = 0.8  # Part of a reference that a target covers at the start, from which on that is what it will see.


def without_hot_pixels(image: Image) -> tuple[Image, NoiseModel, int]:
    """Target cropped to its valid pixels, its noise, and how many hot pixels were left out of it.

    Parameters
    ----------
    image : `~sunalign.images.Image`
        With one valid pixel at least.
    """
    valid = ~image.mask
    rows, columns = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
    image = image.crop(slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    noise = noise_model([image.data])
    hot = hot_pixels(image.data, noise)
    # Without its source: workers get a copy of all this.
    image = replace(image, data=_without(image.data, hot), source=None, meta={})
    return image, noise, int(np.count_nonzero(hot))


def compared(
    target: Image, target_noise: NoiseModel, reference: Reference, base: PixelGrid, scaling: IntensityScaling
) -> tuple[Image, Reference, int]:
    """Target and reference scaled, and how many hot pixels were left out of the reference.

    Parameters
    ----------
    target : `~sunalign.images.Image`
        Cropped, without hot pixels.
    target_noise : `~sunalign.model.noise.NoiseModel`
    reference : `~sunalign.model.reference_contract.Reference`
        Cut to where the target can be.
    base : `~sunalign.geometry.coordinates.PixelGrid`
        Of the target as it was given.
    scaling : `~sunalign.model.intensity.IntensityScaling`
    """
    noise = noise_model(reference.arrays())
    n_hot = 0

    def clean(data: np.ndarray) -> np.ndarray:
        nonlocal n_hot
        hot = hot_pixels(data, noise)
        n_hot += int(np.count_nonzero(hot))
        # Filled where it can be: the spline would lose all that is near a gap, and the overlap with it.
        return bridged(_without(data, hot), ~hot)[0] if hot.any() else data

    reference = reference.mapped(clean)
    values = reference.intensities()
    if values is None:
        values = reference.sample_grid(np.eye(3), base.shape, np.arange(base.shape[1], dtype=float))
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() == finite.max():
        raise AlignmentError(
            f"The reference is constant where the target can be: every valid pixel is {finite[0]:g}, so there is "
            f"nothing to align. Check both pointings and reference_limits, or raise max_shift."
        )
    own, other = scaling.fit(target.data, target_noise), scaling.fit(values, noise, _in_view(reference, target, base))
    # One curve for both, that of the noisier: what was proportional stays so.
    lift = max(own.relative_lift, other.relative_lift)
    scaled = replace(target, data=own.lifted(lift)(target.data))
    return scaled, reference.scaled(other.lifted(lift)), n_hot


def _in_view(reference: Reference, target: Image, base: PixelGrid) -> np.ndarray | None:
    """Values of the reference nearest to some pixels of the target at the start; `None` where it is not one image.

    They are of the same pixels as those that the target is clipped by, so that both are clipped at the same structure:
    the margin by which a reference is larger may hold more bright things, or more sky. `None` too where that margin is
    no small part of it: then what the target will see in the end may be another part.
    """
    arrays = reference.arrays()
    if len(arrays) != 1:
        return None
    some = np.arange(0, target.data.size, stride_of(target.data.size))
    rows, columns = np.divmod(some[np.isfinite(target.data.ravel()[some])], target.data.shape[1])
    x, y = apply_homography(target.grid.affine_to(base), columns.astype(float), rows.astype(float))
    found = reference.positions(x, y, x)
    if found is None:
        return None
    column, row = (np.rint(position) for position in found)
    ny, nx = arrays[0].shape
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    column, row = column[inside].astype(np.intp), row[inside].astype(np.intp)
    if column.size == 0 or (np.ptp(column) + 1) * (np.ptp(row) + 1) < _MOSTLY * arrays[0].size:
        return None
    seen = arrays[0][row, column]
    return np.asarray(seen[np.isfinite(seen)])


def describe_noise(problem: Problem, left_out: Mapping[str, int]) -> dict[str, str]:
    """What was done about noise, where something was.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    left_out : mapping
        How many hot pixels were left out of the target and of the reference.
    """
    done = {f"hot pixels of the {word}": f"{n} left out" for word, n in left_out.items() if n}
    limit = problem.at_finest_level().limit
    if limit is not None and limit.width:
        done["reference smoothing"] = str(limit)
    return done


def _without(data: np.ndarray, hot: np.ndarray) -> np.ndarray:
    if not hot.any():
        return data
    data = data.copy()
    data[hot] = np.nan
    return data
