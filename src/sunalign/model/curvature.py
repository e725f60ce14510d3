"""The curvature of the normalised cross-correlation as it is, second derivatives of the reference included."""

from __future__ import annotations

import numpy as np

from sunalign.model.plane_sums import PlaneSums, bent_sums
from sunalign.model.problem import Bent

__all__ = ["ncc_curvature"]


def ncc_curvature(bent: Bent, target: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minus the second derivative of `sunalign.metrics.NCC`'s quadratic form, and Gauss and Newton's estimate of it.

    With m and t the samples and the target about their means, the form is ``L = (m.t)^2 / (2 m.m)``, whose gradient
    `sunalign.metrics.NCC.normal_equations` gives. How a displacement itself bends with the parameters is left out: that
    is to what is kept as the width of a structure is to that of the field.

    Parameters
    ----------
    bent : `~sunalign.model.problem.Bent`
        Samples and their derivatives.
    target : `numpy.ndarray`, shape (ny, nx)
    planes : `numpy.ndarray`, shape (p, 2, 3)
        As `sunalign.model.problem.Problem.displacements` has them.

    Returns
    -------
    `numpy.ndarray`, `numpy.ndarray`, both of shape (p, p)
        Zero where either image is constant.
    """
    sums = PlaneSums.of(bent.sampled, bent.slopes, target, bent.hidden)
    mm, gain = sums.products[0, 0], sums.gain
    if not sums.varies:
        return np.zeros((len(planes),) * 2), np.zeros((len(planes),) * 2)
    with_images, squares = sums.with_planes(planes)
    gm, gt = with_images.T
    left = (target - sums.means[1]) - gain * (bent.sampled - sums.means[0])
    turned = gt - 2 * gain * gm
    seen = gain**2 * squares - gain * bent_sums(left, bent.bends, planes, bent.hidden) - np.outer(turned, turned) / mm
    return seen, gain**2 * (squares - np.outer(gm, gm) / mm)
