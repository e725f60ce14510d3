"""Pairs of frames measured, and which of them are believed."""

from __future__ import annotations

import numpy as np

from sunalign.sequences._network import PairTable, closure_share, pairs_up_to
from sunalign.sequences._stack import FINE, Stack, View

__all__ = ["DENSE", "SHORT", "among", "measured", "measured_pairs", "measured_view", "part_of", "share_of"]

#: Largest lag at which all pairs are measured, unless the sequence is so short that all pairs cost nothing.
DENSE, SHORT = 8, 64

#: Height of a maximum, in root mean squares, that is believed, and correlation above which one is a maximum however
#: small the images are.
_HEIGHT, _ALIKE = 3.6, 0.6


def measured(stack: Stack, frames: np.ndarray, reach: int) -> PairTable:
    """Pairs of frames, numbered as they stand among ``frames``."""
    n = len(frames)
    return measured_pairs(
        stack, frames, pairs_up_to(n, n - 1 if n <= SHORT and reach > DENSE else min(reach, DENSE), reach)
    )


def measured_pairs(stack: Stack, frames: np.ndarray, local: np.ndarray, limit: int = FINE) -> PairTable:
    """The same for pairs that are given by such numbers, up to ``limit`` frequencies along an axis."""
    table = among(stack.measure(frames[local], limit=limit), frames)
    table.found[:] &= (table.height > _HEIGHT) | (table.score > _ALIKE)
    return table


def measured_view(stack: Stack, reach: int, view: View) -> PairTable:
    """Pairs of all frames of a small stack in one half of the images."""
    n = len(stack)
    local = pairs_up_to(n, n - 1 if reach > DENSE else reach, reach)
    table = stack.measure(local, view)
    table.found[:] &= (table.height > _HEIGHT) | (table.score > _ALIKE)
    return table


def among(table: PairTable, frames: np.ndarray) -> PairTable:
    """Pairs with frames numbered as they stand among the usable ones."""
    return PairTable(
        np.searchsorted(frames, table.first),
        np.searchsorted(frames, table.second),
        table.shift,
        table.covariance,
        table.score,
        table.height,
        table.found,
    )


def part_of(stack: Stack, frames: np.ndarray) -> Stack:
    """Some frames, numbered anew."""
    if len(frames) == len(stack):
        return stack  # With all it remembers.
    return Stack([stack.images[k] for k in frames], stack.theta[frames], stack.filter)


def share_of(table: PairTable) -> float:
    """Part of the pairs' variance that is their own, from triangles of near frames."""
    return closure_share(table.only(table.found & (table.lag <= 8)))
