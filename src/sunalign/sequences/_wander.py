"""What a scene that changes does to displacements: by how much it may move them, and how to see less of it."""

from __future__ import annotations

import numpy as np

from sunalign.sequences._stack import Stack

__all__ = ["filtered", "scene_wander"]

_STILL_ALIKE = 0.5
_WANDERERS = 8  # Pairs of a lag from which its scatter is read.
_CAUTION = 2.0  # A handful of large structures tells little of its own scatter: rather too much than too little.


def filtered(stack: Stack, frames: np.ndarray) -> Stack:
    """The same frames with the filter that frames far apart ask for.

    Over the length of a sequence it is not noise but the change of the scene that displacements suffer from, and what
    changes most are its largest structures. Neighbours know little of that; frames a third of the sequence apart do,
    or, where they have nothing in common any more, the most distant ones that are still half as alike as neighbours.
    """
    n = len(frames)
    if n < 3:
        return stack
    near = stack.with_filter(np.stack([frames[:-1], frames[1:]], axis=1))
    lag = n // 3
    while lag > 1 and near.filter is not None:
        far = stack.with_filter(np.stack([frames[:-lag], frames[lag:]], axis=1))
        if far.filter is not None and far.filter.scene.sum() > _STILL_ALIKE * near.filter.scene.sum():
            return far
        lag //= 2
    return near


def scene_wander(stack: Stack, frames: np.ndarray) -> np.ndarray:
    """Variance, shape (n, 2), by which the scene may seem to move because it changes.

    What a change of the scene does to displacements adds up unseen: every triangle closes. But it scatters the phases
    of distant frames more than those of neighbours, and by how much more is how far the two may have come apart. For a
    process that is known by such differences only, this is its variance about its own mean.
    """
    n = len(frames)
    lags = [4**k for k in range(7) if 4**k < n]
    lags += [n - 1] if n - 1 > lags[-1] else []
    known, apart = [0], [np.zeros(2)]
    least = None
    for lag in lags:
        start = np.unique(np.linspace(0, n - 1 - lag, min(n - lag, _WANDERERS)).astype(int))
        table = stack.measure(np.stack([frames[start], frames[start + lag]], axis=1))
        if table.found.sum() < min(3, len(start)):
            break
        variance = np.median(np.einsum("nii->ni", table.covariance[table.found]), axis=0)
        least = variance if least is None else least
        # A sample of a few pairs is not exact: a little more than nothing is nothing.
        excess = variance - least
        known.append(lag)
        apart.append(np.where(excess > 0.3 * least, excess, 0.0))
    if len(known) < 3:
        return np.zeros((n, 2))
    at = np.arange(n)
    result = np.empty((n, 2))
    for k in range(2):
        curve = np.interp(at, known, [a[k] for a in apart])
        beyond = at > known[-1]
        curve[beyond] *= at[beyond] / known[-1]
        # Sums of the curve over all distances from each frame.
        total = np.concatenate([[0.0], np.cumsum(curve)])
        mean = (total[at + 1] + total[n - at] - curve[0]) / n
        result[:, k] = _CAUTION * np.maximum(mean - 0.5 * mean.mean(), 0.0)
    return result
