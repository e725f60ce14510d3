"""From images that have settled to displacements with errors: judge, choose, solve."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from sunalign.sequences._choice import Choice, choose, compare
from sunalign.sequences._judge import LEAST_PLACED, judge
from sunalign.sequences._measure import DENSE, measured, part_of, share_of
from sunalign.sequences._network import Network, PairTable, solve_network
from sunalign.sequences._stack import Stack
from sunalign.sequences._template import solve_template
from sunalign.sequences._wander import filtered, scene_wander

__all__ = ["Solution", "solve_stack"]


@dataclass(frozen=True, eq=False)
class Solution:
    """Displacements of all frames, in working pixels, and what they rest on.

    Parameters
    ----------
    network : `~sunalign.sequences._network.Network`
    table : `~sunalign.sequences._network.PairTable`
        Pairs that were measured, also where a template places the frames.
    weight, residual : `numpy.ndarray`
        Of those pairs; the residual is against the network's displacements.
    choice : `Choice`
    choices : `tuple` of `Choice`
        All that were compared.
    odd : mapping
        Frames that are not like their neighbours, with the reason.
    wander : `numpy.ndarray`, shape (n, 2)
        Variance of what the scene itself may have moved by since the middle of the sequence, as far as its changes
        allow.
    stack : `~sunalign.sequences._stack.Stack`
        The images where they had settled.
    """

    network: Network
    table: PairTable
    weight: np.ndarray
    residual: np.ndarray
    choice: Choice
    choices: tuple[Choice, ...] = ()
    odd: dict[int, str] = field(default_factory=dict)
    wander: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    stack: Stack = field(default_factory=lambda: Stack([]))


def solve_stack(stack: Stack, method: str = "auto", max_lag: int | None = None) -> Solution:
    """Displacements of frames that have settled.

    Parameters
    ----------
    stack : `~sunalign.sequences._stack.Stack`
    method : {"auto", "pairs", "template"}
    max_lag : `int`, optional
        Longest lag of the pairs; by default the two halves of the images choose.
    """
    frames = stack.usable
    stack, odd = judge(stack, frames)
    good = np.array([k for k in frames if k not in odd], int)
    if len(good) < max(2, LEAST_PLACED * len(frames)):
        return _nothing(stack, odd)
    stack = filtered(stack, good)
    choices: tuple[Choice, ...] = ()
    if method == "pairs" and max_lag is not None:
        choice = Choice("pairs", max_lag)
    elif method == "template":
        choice = Choice("template", 0)
    else:
        choices = compare(stack, good, method, max_lag)
        choice = choose(choices) if choices else Choice("pairs", min(DENSE, max(len(good) - 1, 1)))
    table = None
    network = solve_template(part_of(stack, good)) if choice.method == "template" else None
    if network is not None:
        # The pairs that placed them roughly say how well all of it closes.
        table = _only(stack.evidence, frames, good)
    elif not choice.reach:
        choice = Choice("pairs", 2)
    if table is None:
        table = measured(stack, good, choice.reach or 2)
    if network is None:
        network = solve_network(table, len(good), share_of(table))
    wander = np.zeros((len(stack), 2))
    wander[good] = scene_wander(stack, good)
    residual = table.shift - (network.theta[table.second] - network.theta[table.first])
    weight = network.weight if len(network.weight) else table.found.astype(float)
    return Solution(
        _spread(network, good, len(stack)),
        _renumbered(table, good),
        weight,
        residual,
        choice,
        choices,
        odd,
        wander,
        stack,
    )


def _only(table: PairTable | None, frames: np.ndarray, good: np.ndarray) -> PairTable | None:
    """Pairs of good frames, numbered as they stand among those."""
    if table is None:
        return None
    number = np.full(len(frames), -1)
    number[np.isin(frames, good)] = np.arange(len(good))
    kept = table.only((number[table.first] >= 0) & (number[table.second] >= 0))
    return replace(kept, first=number[kept.first], second=number[kept.second])


def _nothing(stack: Stack, odd: dict[int, str]) -> Solution:
    """Answer for frames that have nothing to do with each other."""
    n, none = len(stack), np.zeros(0)
    nowhere = np.full((n, 2, 2), np.nan)
    network = Network(np.zeros((n, 2)), nowhere, np.zeros(n, bool), none, np.zeros((0, 2)), np.nan, nowhere)
    table = PairTable(
        np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2, 2)), none, none, np.zeros(0, bool)
    )
    return Solution(network, table, none, np.zeros((0, 2)), Choice("pairs", 1), (), odd, np.zeros((n, 2)), stack)


def _spread(network: Network, frames: np.ndarray, n: int) -> Network:
    """The same for all frames of the sequence."""
    p = network.theta.shape[1]
    theta, covariance, placed = np.zeros((n, p)), np.full((n, p, p), np.nan), np.zeros(n, bool)
    theta[frames], covariance[frames], placed[frames] = network.theta, network.covariance, network.placed
    local = np.full((n, p, p), np.nan)
    local[frames] = network.local
    return Network(theta, covariance, placed, network.weight, network.residual, network.share, local)


def _renumbered(table: PairTable, frames: np.ndarray) -> PairTable:
    return PairTable(
        frames[table.first],
        frames[table.second],
        table.shift,
        table.covariance,
        table.score,
        table.height,
        table.found,
    )
