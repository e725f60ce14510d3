"""What a pattern that stays with the detector does to an answer, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sunalign.geometry.coordinates import ARCSEC
from sunalign.sequences._detector import fit_detector
from sunalign.sequences._known_motion import Placing, SceneGrid
from sunalign.sequences._network import Network
from sunalign.sequences._stack import Stack

__all__ = ["Held", "held_by_detector"]

#: Part of what is taken out that may still be there: a pattern that dims is not one that adds.
_LEFT = 0.2


@dataclass(frozen=True, eq=False)
class Held:
    """A pattern of the detector that draws the frames.

    Parameters
    ----------
    theta : `numpy.ndarray`, shape (n, 2)
        What is added to the places of the frames once it is taken out, working pixels; empty where nothing is to be
        changed.
    moved : `float`
        By how much that differs from what was found, root mean square over frames and axes.
    said : `str`
        What was done, in words; empty where there is no pattern.
    doubt : `str`
        A word of warning where it draws the frames and cannot be taken out.
    excluded : `bool`
        Whether there is none, or none any more.
    """

    theta: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    moved: float = 0.0
    said: str = ""
    doubt: str = ""
    excluded: bool = False

    def freed(self, network: Network) -> Network:
        """The same frames without what the pattern did to them."""
        if not len(self.theta):
            return network
        placed = network.placed
        theta = np.where(placed[:, None], self.theta, network.theta)
        theta[placed] -= theta[placed].mean(axis=0)
        left = (_LEFT * self.moved) ** 2 * np.eye(2)
        return replace(network, theta=theta, covariance=network.covariance + left, local=network.local + left)


def held_by_detector(
    stack: Stack,
    theta: np.ndarray,
    covariance: np.ndarray,
    frames: np.ndarray,
    placings: Sequence[Placing | None],
    scene: SceneGrid,
    *,
    only_ask: bool = False,
) -> Held:
    """Whether the answer is drawn to where the detector's pixels lie on each other.

    Parameters
    ----------
    stack : `~sunalign.sequences._stack.Stack`
        Placed to a pixel or two.
    theta : `numpy.ndarray`, shape (n, 2)
        What was found to be added to the places of all frames, working pixels.
    covariance : `numpy.ndarray`, shape (n, 2, 2)
    frames : `numpy.ndarray` of `int`
        Those that were placed.
    placings : sequence of `~sunalign.sequences._known_motion.Placing` or `None`
        By the headers. Frames that were sampled on the scene have left the detector's pixels, and are not asked.
    scene : `~sunalign.sequences._known_motion.SceneGrid`
    only_ask : `bool`
        Whether an answer that is drawn is doubted instead of changed.
    """
    known = [placings[k] for k in frames]
    if not all(placed is not None and placed.translation for placed in known):
        return Held()
    detector = np.array([(0.0, 0.0) if placed is None else placed.origin for placed in placings])
    fit = fit_detector(stack, theta, frames, detector)
    if fit is None or not fit.is_pattern:
        return Held(excluded=fit is not None and fit.is_clean)
    change = (fit.theta - theta)[frames]
    moved = float(np.sqrt(np.mean((change - change.mean(axis=0)) ** 2)))
    error = float(np.sqrt(np.nanmedian(np.einsum("nii->n", covariance[frames])) / 2))
    pixel = float(np.sqrt(np.prod(scene.grid.pixel_size))) / ARCSEC
    drawn = f"{moved * pixel:.2g} arcsec rms"
    if moved <= error:
        return Held(moved=moved, said=f"some of what the frames show stays with the detector; it moves them by {drawn}")
    if only_ask or not fit.settled:
        return Held(
            moved=moved,
            doubt=(
                f"Dust, an occulter or the flat field, which stay with the detector, draw the frames by {drawn} or "
                f"more, where their errors are {error * pixel:.2g}. Mask them with target_mask or divide by the flat "
                f"field, as the how-to guide 'Images of one detector' (docs/how_to/fixed_patterns.rst) shows."
            ),
        )
    said = f"fitted together with the scene and taken out; it had drawn the frames by {drawn}"
    return Held(fit.theta, moved, said, excluded=True)
