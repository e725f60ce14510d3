"""The result of a sequence put together: tables, corrections, verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import astropy.units as u
from astropy.table import QTable
from astropy.time import Time

from sunalign.correction import UNITS, Correction
from sunalign.geometry.coordinates import ARCSEC
from sunalign.sequences._anchors import Anchor
from sunalign.sequences._drift import Settled
from sunalign.sequences._estimators import Estimate
from sunalign.sequences._frames import SequenceFrame, Sources
from sunalign.sequences._left_behind import left_behind
from sunalign.sequences._loading import Loaded
from sunalign.sequences._result import SequenceResult
from sunalign.sequences._stack import Stack

__all__ = ["make_result"]

#: A pair whose weight is less has no say.
_HEARD = 0.3


def make_result(
    sources: Sources,
    loaded: Loaded,
    stack: Stack,
    estimate: Estimate,
    settled: Settled,
    anchors: Sequence[Anchor] | None,
    problems: Mapping[int, str],
    assumptions: Mapping[str, str],
    doubt: str = "",
) -> SequenceResult:
    """Result without the corrected frames; ``doubt`` is what else speaks against it."""
    frames = sources.frames
    order = np.array([frame.number for frame in frames])
    placed = estimate.placed & np.isfinite(settled.values).all(axis=1)
    corrections: list[Correction | None] = [None] * len(sources.items)
    for k in np.flatnonzero(placed):
        corrections[order[k]] = _correction(frames[k], estimate, settled, int(k))
    doubts = dict(problems) | {
        int(k): "No pair ties it to the others" for k in np.flatnonzero(~placed) if int(k) not in problems
    }
    table = _frame_table(sources, estimate, settled, placed, doubts)
    said = _verdict(loaded, table, settled, estimate) + ([doubt] if doubt else [])
    shown = estimate.scene_shift + _common(loaded, estimate, settled)
    return SequenceResult(
        aligned=None,
        table=table,
        pairs=_pair_table(estimate, order),
        corrections=tuple(corrections),
        success=not said,
        message=" ".join(said) or f"All {len(table)} frames were placed.",
        method=estimate.choice,
        choices=estimate.choices,
        drift=settled.said,
        anchors=None if anchors is None else _anchor_table(anchors, settled, estimate.names, order),
        assumptions=dict(assumptions),
        names=estimate.names,
        scene=loaded.scene,
        stack=Stack(loaded.images),
        placed=shown,
        order=order,
    )


def _common(loaded: Loaded, estimate: Estimate, settled: Settled) -> np.ndarray:
    """What the drift adds to the frames' places on the scene, working pixels."""
    turn = np.linalg.inv(loaded.scene.grid.jacobian(*loaded.scene.grid.centre) / ARCSEC)
    names = ["shift_x", "shift_y"]
    extra = np.zeros((len(estimate.values), 2))
    for column, name in enumerate(names):
        if name in estimate.names:
            k = estimate.names.index(name)
            extra[:, column] = settled.values[:, k] - estimate.values[:, k]
    return extra @ turn.T


def _correction(frame: SequenceFrame, estimate: Estimate, settled: Settled, k: int) -> Correction:
    grid, names, pivot = frame.head.grid, estimate.names, estimate.pivot
    if pivot is None:
        pivot = np.array([float(angle) for angle in grid.angles(*grid.centre)]) / ARCSEC * u.arcsec
    values = {
        name: value * UNITS[name] if UNITS[name] != u.dimensionless_unscaled else float(value)
        for name, value in zip(names, settled.values[k], strict=True)
    }
    axes = grid.jacobian(*grid.centre)
    errors = np.sqrt(np.diag(settled.covariance[k]))
    return Correction.from_parameters(
        **values,
        pivot=pivot,
        axes=axes / np.hypot(*axes),
        errors=dict(zip(names, errors.tolist(), strict=True)),
        covariance=settled.covariance[k],
    )


def _frame_table(
    sources: Sources, estimate: Estimate, settled: Settled, placed: np.ndarray, doubts: Mapping[int, str]
) -> QTable:
    n, frames = len(sources.items), sources.frames
    row = np.array([frame.number for frame in frames])
    table = QTable()
    table["frame"] = list(sources.names)
    date = [None] * n
    for frame in frames:
        date[frame.number] = frame.date.utc.isot
    known = next(d for d in date if d)
    times = Time([d or known for d in date])
    if any(d is None for d in date):
        times[np.array([d is None for d in date])] = np.ma.masked
    table["date"] = times
    for k, name in enumerate(estimate.names):
        value, error = np.full(n, np.nan), np.full(n, np.nan)
        value[row[placed]] = settled.values[placed, k]
        error[row[placed]] = np.sqrt(settled.covariance[placed, k, k])
        table[name] = value * UNITS[name]
        table[f"{name}_error"] = error * UNITS[name]
    heard = estimate.weight > _HEARD
    count = np.zeros(n, int)
    for end in (estimate.table.first, estimate.table.second):
        np.add.at(count, row[end[heard]], 1)
    table["n_pairs"] = count
    table["closure"] = _closure(estimate, row, n, heard)
    doubtful, message = np.zeros(n, bool), [""] * n
    for k, why in doubts.items():
        doubtful[row[k]], message[row[k]] = True, f"{why.rstrip('.')}; it was left as it was."
    for number, why in sources.unreadable.items():
        doubtful[number], message[number] = True, f"{why.rstrip('.')}."
    table["doubtful"] = doubtful
    table["message"] = message
    return table


def _closure(estimate: Estimate, row: np.ndarray, n: int, heard: np.ndarray) -> np.ndarray:
    """Root mean square residual of each frame's pairs, in the standard deviations they came with."""
    table = estimate.table
    with np.errstate(invalid="ignore"):
        usable = heard & np.isfinite(table.covariance).all(axis=(1, 2)) & np.isfinite(estimate.residual).all(axis=1)
    total, count = np.zeros(n), np.zeros(n)
    if usable.any():
        r, c = estimate.residual[usable], table.covariance[usable]
        e = np.einsum("ni,nij,nj->n", r, np.linalg.inv(c), r) / r.shape[1]
        for end in (table.first, table.second):
            np.add.at(total, row[end[usable]], e)
            np.add.at(count, row[end[usable]], 1)
    return np.where(count > 0, np.sqrt(total / np.maximum(count, 1)), np.nan)


def _pair_table(estimate: Estimate, order: np.ndarray) -> QTable:
    pairs, names = estimate.table, estimate.names
    table = QTable()
    table["first"], table["second"] = order[pairs.first], order[pairs.second]
    for k, name in enumerate(names):
        table[name] = np.where(pairs.found, pairs.shift[:, k], np.nan) * UNITS[name]
        table[f"{name}_residual"] = np.where(pairs.found, estimate.residual[:, k], np.nan) * UNITS[name]
    table["covariance"] = pairs.covariance
    table["score"] = pairs.score
    table["weight"] = estimate.weight
    return table


def _anchor_table(anchors: Sequence[Anchor], settled: Settled, names: tuple[str, ...], order: np.ndarray) -> QTable:
    table = QTable()
    table["frame"] = [int(order[a.number]) for a in anchors]
    for name in names:
        for suffix in ("", "_error"):
            values = [
                np.nan
                if a.correction is None
                else (a.correction.errors.get(name, np.nan) if suffix else a.correction.parameters[name])
                for a in anchors
            ]
            table[name + suffix] = np.array(values) * UNITS[name]
    weight = iter(settled.weight)
    table["used"] = [bool(a.success and a.correction is not None and next(weight, 0.0) >= 0.5) for a in anchors]
    table["message"] = [a.message for a in anchors]
    return table


def _verdict(loaded: Loaded, table: QTable, settled: Settled, estimate: Estimate) -> list[str]:
    """What speaks against the answer; empty if nothing does."""
    found: list[str] = []
    bad = table[table["doubtful"]]
    n = len(table)
    if len(bad) == n:
        found.append(f"All {n} frames are doubtful, and none was corrected. {bad[0]['frame']}: {bad[0]['message']}")
    elif len(bad):
        some = "; ".join(f"{row['frame']} ({str(row['message']).partition(';')[0].rstrip('.')})" for row in bad[:3])
        more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
        are = "was not placed and is as it was" if len(bad) == 1 else "were not placed and are as they were"
        found.append(f"Of {n} frames {len(bad)} {are}: {some}{more}.")
    still = _stayed(loaded, estimate) or estimate.held.doubt
    if not still and not estimate.held.excluded:
        still = left_behind(loaded.images, loaded.placings, estimate.scene_shift, estimate.placed)
    if still:
        found.append(still)
    if settled.doubt:
        found.append(settled.doubt)
    return found


def _stayed(loaded: Loaded, estimate: Estimate) -> str:
    """A word of warning where the frames agree about something that does not move with the Sun."""
    k = np.array([n for n in np.flatnonzero(estimate.placed) if loaded.placings[n] is not None], int)
    if len(k) < 3 or not len(estimate.scene_shift):
        return ""
    known = np.array([loaded.placings[n].carried for n in k])
    known = known - known.mean(axis=0)
    found = known + estimate.scene_shift[k]
    found = found - found.mean(axis=0)
    expected, left = float(np.sqrt((known**2).sum(axis=1).mean())), float(np.sqrt((found**2).sum(axis=1).mean()))
    if expected > 1.0 and left < 0.15 * expected:
        return (
            f"What the frames have in common stays with the detector, though the Sun should have moved over it by "
            f"{expected:.1f} working pixels rms: a fixed pattern, or a header with a wrong scale or roll. Mask the "
            f"pattern with target_mask, or check CDELT and CROTA."
        )
    return ""
