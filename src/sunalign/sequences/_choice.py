"""Which way places the frames best: the one that two halves of the images agree on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sunalign.sequences._measure import SHORT, measured_view, part_of, share_of
from sunalign.sequences._network import PairTable, solve_network
from sunalign.sequences._stack import HALVES, Stack
from sunalign.sequences._template import solve_template

__all__ = ["Choice", "choose", "compare"]

_CLEARLY, _AS_GOOD = 0.8, 1.08  # Parts of a disagreement that make one way better than another, or no worse.


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


def compare(stack: Stack, frames: np.ndarray, method: str, max_lag: int | None) -> tuple[Choice, ...]:
    """Ways to place the frames, by how far two halves of the images disagree.

    It is done on a run of frames from the middle of a long sequence.
    """
    if len(frames) < 4:
        return ()
    first = max(0, (len(frames) - SHORT) // 2)
    some = frames[first : first + SHORT]
    n = len(some)
    longest = min(n - 1, max_lag or n - 1)
    reaches = [r for r in (1, 2, 4, 8, 16, 32) if r < longest] + [longest]
    halves = [part_of(stack, some) for _ in HALVES]
    tables = [measured_view(half, longest, view) for half, view in zip(halves, HALVES, strict=True)]
    ways: list[tuple[Choice, list[Any]]] = []
    for reach in reaches:
        parts = [t.only(_within(t, reach)) for t in tables]
        shares = [share_of(t) for t in tables]
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
