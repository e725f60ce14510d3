"""Frames that are no part of the sequence: they cannot be placed, or are unlike all others."""

from __future__ import annotations

import numpy as np

from sunalign.sequences._measure import measured_pairs, share_of
from sunalign.sequences._network import Network, PairTable, pairs_up_to, solve_network
from sunalign.sequences._settle import bridged
from sunalign.sequences._stack import Stack

__all__ = ["LEAST_PLACED", "judge"]

LEAST_PLACED = 0.34  # Part of the frames that has to hang together: of pure noise some always do.
_AS_GOOD_AS_ANY = np.arctanh(0.95)  # Likeness from which a frame is one of the sequence, however alike others are.
_SCORE = 6.0  # Robust standard deviations by which a frame may be less like its neighbours than the others are.


def judge(stack: Stack, frames: np.ndarray) -> tuple[Stack, dict[int, str]]:
    """Frames that cannot be placed or are unlike all others, and the rest in their places."""
    table = stack.evidence
    if table is None:
        stack = stack.with_filter(np.stack([frames[:-1], frames[1:]], axis=1))
        table = measured_pairs(stack, frames, pairs_up_to(len(frames), 2, 8))
    network = solve_network(table, len(frames), share_of(table))
    if network.placed.sum() < LEAST_PLACED * len(frames):
        return stack, {int(k): "No pair ties it to the others" for k in frames}
    odd = {}
    likeness = np.array([_likeness(table, k) for k in range(len(frames))])
    usual = np.nanmedian(likeness)
    spread = 1.4826 * np.nanmedian(np.abs(likeness - usual)) + 0.02
    for k, frame in enumerate(frames):
        if not network.placed[k]:
            odd[int(frame)] = "No pair ties it to the others"
        elif likeness[k] < min(usual - _SCORE * spread, 0.75 * usual, _AS_GOOD_AS_ANY):
            odd[int(frame)] = (
                f"It is unlike its neighbours: correlation {np.tanh(likeness[k]):.2f}, usual {np.tanh(usual):.2f}"
            )
        elif (share := _rejected_share(table, network, k)) > 0.6:
            odd[int(frame)] = f"{100 * share:.0f} % of its pairs disagree with the others"
    theta = stack.theta.copy()
    inside = np.array([network.placed[k] and int(f) not in odd for k, f in enumerate(frames)])
    theta[frames] = bridged(network.theta, inside) if inside.any() else theta[frames]
    return stack.at(theta), odd


def _likeness(table: PairTable, frame: int) -> float:
    """Fisher's z of the better half of a frame's pairs: a bad neighbour is not a frame's own fault."""
    mine = (table.first == frame) | (table.second == frame)
    z = np.sort(np.arctanh(np.clip(table.score[mine], -0.999999, 0.999999)))
    return float(np.median(z[len(z) // 2 :])) if len(z) else np.nan


def _rejected_share(table: PairTable, network: Network, frame: int) -> float:
    mine = ((table.first == frame) | (table.second == frame)) & table.found
    return float(np.mean(network.weight[mine] < 0.3)) if mine.any() else 1.0
