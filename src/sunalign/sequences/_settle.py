"""Frames put in place to a fraction of a pixel, from wherever their headers have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sunalign.sequences._measure import among
from sunalign.sequences._network import PairTable, pairs_up_to, solve_network
from sunalign.sequences._stack import COARSE, Stack

__all__ = ["bridged", "settle"]

_LEAD = 0.5  # Of a coarse maximum over every other one, in root mean squares, that is believed.
_SURE = 3.0  # Lead of the usual pair with which one search is enough.


def settle(stack: Stack, search: tuple[float, float], rounds: int = 3) -> Stack:
    """Place frames to a fraction of a pixel, wherever within ``search`` (x, y) of each other they are.

    Parameters
    ----------
    stack : `~sunalign.sequences._stack.Stack`
    search : `tuple` of `float`
        Working pixels.
    rounds : `int`
        At most; a window sees less of what is far, so that the first answer is not the last.
    """
    coarse, factor = stack.coarser(2 * COARSE)
    settled = _settled(coarse, tuple(s / factor for s in search), rounds)  # type: ignore[arg-type]
    # Positions of coarse pixels and of fine ones are off by a constant, and only differences count.
    placed = stack.at(settled.theta * factor)
    placed.evidence = _finer(settled.evidence, factor)
    if factor == 1:
        placed.filter = settled.filter
    return placed


def _finer(table: PairTable | None, factor: int) -> PairTable | None:
    if table is None:
        return None
    return replace(table, shift=table.shift * factor, covariance=table.covariance * factor**2)


def _settled(stack: Stack, search: tuple[float, float], rounds: int) -> Stack:
    frames = stack.usable
    local = pairs_up_to(len(frames), 2, 8)
    pairs = frames[local]
    for turn in range(rounds):
        table = stack.measure(pairs, limit=COARSE, search=search)
        table.found[:] &= table.height > _LEAD
        network = solve_network(among(table, frames), len(frames))
        theta = stack.theta.copy()
        theta[frames] = bridged(network.theta, network.placed)
        moved = float(np.abs((theta - stack.theta)[frames[network.placed]]).max(initial=0.0))
        stack = stack.at(theta)
        neighbours = np.stack([frames[:-1], frames[1:]], axis=1)
        good = network.placed[:-1] & network.placed[1:]
        if good.any():
            stack = stack.with_filter(neighbours[good], COARSE)
        sure = network.placed.all() and np.median(table.height) > _SURE
        if (turn or sure) and moved < 1.0:
            break
    stack.evidence = among(table, frames)
    return stack


def bridged(theta: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """Displacements with those of frames that could not be placed interpolated, for another try."""
    if not placed.any():
        return np.zeros_like(theta)
    at = np.arange(len(theta))
    filled = theta.copy()
    for k in range(theta.shape[1]):
        filled[~placed, k] = np.interp(at[~placed], at[placed], theta[placed, k])
    return filled
