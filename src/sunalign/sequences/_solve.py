"""From images that are roughly in place to displacements with errors: settle, judge, choose, solve."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sunalign.sequences._network import Network, PairTable, closure_share, pairs_up_to, solve_network
from sunalign.sequences._stack import COARSE, FINE, HALVES, Stack
from sunalign.sequences._template import solve_template

__all__ = ["Choice", "Solution", "choose", "settle", "solve_stack"]

#: Largest lag at which all pairs are measured, unless the sequence is so short that all pairs cost nothing.
DENSE = 8
_SHORT = 64

#: Lead of a coarse maximum over every other one, and height of a fine one, in root mean squares, that are believed.
_LEAD, _HEIGHT = 0.5, 3.6
_ALIKE = 0.6  # Correlation above which a maximum is one however small the images are.
_LEAST_PLACED = 0.34  # Part of the frames that has to hang together: of pure noise some always do.
_STILL_ALIKE = 0.5
_CLEARLY, _AS_GOOD = 0.9, 1.05  # Parts of a disagreement that make one way better than another, or no worse.
_WANDERERS = 8  # Pairs of a lag from which its scatter is read.
_CAUTION = 2.0  # A handful of large structures tells little of its own scatter: rather too much than too little.
_SURE = 3.0  # Lead of the usual pair with which one search is enough.
_AS_GOOD_AS_ANY = np.arctanh(0.95)  # Likeness from which a frame is one of the sequence, however alike others are.
_SCORE = 6.0  # Robust standard deviations by which a frame may be less like its neighbours than the others are.


@dataclass(frozen=True)
class Choice:
    """A way to place the frames, and how far two halves of the images disagree by it.

    Parameters
    ----------
    method : {"pairs", "template"}
    reach : `int`
        Longest lag of the pairs; 0 for the template.
    disagreement : `float`
        Root mean square, working pixels.
    """

    method: str
    reach: int
    disagreement: float = np.nan

    def __str__(self) -> str:
        if self.method == "template":
            return "template (each frame against the mean of the others)"
        return f"pairs of frames up to {self.reach} apart"


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
        network = solve_network(_among(table, frames), len(frames))
        theta = stack.theta.copy()
        theta[frames] = _bridged(network.theta, network.placed)
        moved = float(np.abs((theta - stack.theta)[frames[network.placed]]).max(initial=0.0))
        stack = stack.at(theta)
        neighbours = np.stack([frames[:-1], frames[1:]], axis=1)
        good = network.placed[:-1] & network.placed[1:]
        if good.any():
            stack = stack.with_filter(neighbours[good], COARSE)
        sure = network.placed.all() and np.median(table.height) > _SURE
        if (turn or sure) and moved < 1.0:
            break
    stack.evidence = _among(table, frames)
    return stack


def _among(table: PairTable, frames: np.ndarray) -> PairTable:
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


def _bridged(theta: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """Displacements with those of frames that could not be placed interpolated, for another try."""
    if not placed.any():
        return np.zeros_like(theta)
    at = np.arange(len(theta))
    filled = theta.copy()
    for k in range(theta.shape[1]):
        filled[~placed, k] = np.interp(at[~placed], at[placed], theta[placed, k])
    return filled


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
    if len(good) < max(2, _LEAST_PLACED * len(frames)):
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
    network = solve_template(_part(stack, good)) if choice.method == "template" else None
    if network is not None:
        # The pairs that placed them roughly say how well all of it closes.
        table = _only(stack.evidence, frames, good)
    elif not choice.reach:
        choice = Choice("pairs", 2)
    if table is None:
        table = measured(stack, good, choice.reach or 2)
    if network is None:
        network = solve_network(table, len(good), _share(table))
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


def judge(stack: Stack, frames: np.ndarray) -> tuple[Stack, dict[int, str]]:
    """Frames that cannot be placed or are unlike all others, and the rest in their places."""
    table = stack.evidence
    if table is None:
        stack = stack.with_filter(np.stack([frames[:-1], frames[1:]], axis=1))
        table = _measured(stack, frames, pairs_up_to(len(frames), 2, 8))
    network = solve_network(table, len(frames), _share(table))
    if network.placed.sum() < _LEAST_PLACED * len(frames):
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
    theta[frames] = _bridged(network.theta, inside) if inside.any() else theta[frames]
    return stack.at(theta), odd


def _likeness(table: PairTable, frame: int) -> float:
    """Fisher's z of the better half of a frame's pairs: a bad neighbour is not a frame's own fault."""
    mine = (table.first == frame) | (table.second == frame)
    z = np.sort(np.arctanh(np.clip(table.score[mine], -0.999999, 0.999999)))
    return float(np.median(z[len(z) // 2 :])) if len(z) else np.nan


def _rejected_share(table: PairTable, network: Network, frame: int) -> float:
    mine = ((table.first == frame) | (table.second == frame)) & table.found
    return float(np.mean(network.weight[mine] < 0.3)) if mine.any() else 1.0


def measured(stack: Stack, frames: np.ndarray, reach: int) -> PairTable:
    """Pairs of frames, numbered as they stand among ``frames``."""
    n = len(frames)
    return _measured(
        stack, frames, pairs_up_to(n, n - 1 if n <= _SHORT and reach > DENSE else min(reach, DENSE), reach)
    )


def _measured(stack: Stack, frames: np.ndarray, local: np.ndarray, limit: int = FINE) -> PairTable:
    table = _among(stack.measure(frames[local], limit=limit), frames)
    table.found[:] &= (table.height > _HEIGHT) | (table.score > _ALIKE)
    return table


def compare(stack: Stack, frames: np.ndarray, method: str, max_lag: int | None) -> tuple[Choice, ...]:
    """Ways to place the frames, by how far two halves of the images disagree.

    It is done on a run of frames from the middle of a long sequence.
    """
    if len(frames) < 4:
        return ()
    first = max(0, (len(frames) - _SHORT) // 2)
    some = frames[first : first + _SHORT]
    n = len(some)
    longest = min(n - 1, max_lag or n - 1)
    reaches = [r for r in (1, 2, 4, 8, 16, 32) if r < longest] + [longest]
    halves = [_part(stack, some) for _ in HALVES]
    tables = [measured_view(half, longest, view) for half, view in zip(halves, HALVES, strict=True)]
    ways: list[tuple[Choice, list[Any]]] = []
    for reach in reaches:
        parts = [t.only(_within(t, reach)) for t in tables]
        shares = [_share(t) for t in tables]
        ways.append((Choice("pairs", reach), [solve_network(t, n, s) for t, s in zip(parts, shares, strict=True)]))
    if method == "auto":
        ways.append(
            (Choice("template", 0), [solve_template(half, view) for half, view in zip(halves, HALVES, strict=True)])
        )
    whole_ways = [(choice, nets) for choice, nets in ways if nets[0] is not None and nets[1] is not None]
    most = max((int((one.placed & other.placed).sum()) for _, (one, other) in whole_ways), default=0)
    found = []
    for choice, (one, other) in whole_ways:
        placed = one.placed & other.placed
        if placed.sum() < max(3, 0.9 * most):
            continue
        gap = (one.theta - other.theta)[placed]
        gap -= np.median(gap, axis=0)
        e = np.sort((gap**2).sum(axis=1))
        # A frame that one half places badly says nothing about a method.
        kept = e[: max(3, int(np.ceil(0.95 * len(e))))]
        found.append(Choice(choice.method, choice.reach, float(np.sqrt(kept.mean() / 2))))
    return tuple(found)


def measured_view(stack: Stack, reach: int, view: object) -> PairTable:
    """Pairs of all frames of a small stack in one half of the images."""
    n = len(stack)
    local = pairs_up_to(n, n - 1 if reach > DENSE else reach, reach)
    table = stack.measure(local, view)  # type: ignore[arg-type]
    table.found[:] &= (table.height > _HEIGHT) | (table.score > _ALIKE)
    return table


def choose(choices: tuple[Choice, ...]) -> Choice:
    """Least disagreement; of two that are as good, the template, else pairs that are nearer to each other.

    Neighbours alone have to be clearly better than any other way: they form no triangle that could show an outlier.
    """
    least = min((c.disagreement for c in choices if c.reach != 1), default=np.inf)
    nearest = min((c.disagreement for c in choices if c.reach == 1), default=np.inf)
    if nearest < _CLEARLY * least:
        return next(c for c in choices if c.reach == 1)
    # A scene that does not change is known best by the mean of all frames, and one that does gives that away.
    good = [c for c in choices if c.reach != 1 and c.disagreement <= _AS_GOOD * least]
    template = [c for c in good if c.method == "template"]
    return template[0] if template else good[0]


def _within(table: PairTable, reach: int) -> np.ndarray:
    return table.lag <= reach


def _share(table: PairTable) -> float:
    return closure_share(table.only(table.found & (table.lag <= 8)))


def _part(stack: Stack, frames: np.ndarray) -> Stack:
    if len(frames) == len(stack):
        return stack  # With all it remembers.
    return Stack([stack.images[k] for k in frames], stack.theta[frames], stack.filter)


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
