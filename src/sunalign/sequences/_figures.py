"""Shifts against time, and the pairs they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sunalign.correction import UNITS
from sunalign.visualization.axes import colour_bar, new_figure, parameter_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sunalign.sequences._result import SequenceResult

__all__ = ["plot_pairs", "plot_sequence"]

_DOUBT = "#d1242f"
_CELLS = 1000


def plot_sequence(result: SequenceResult, *, fig: Figure | None = None, annotate: bool = True) -> Figure:
    """Show what every frame's header was off by, with its 1-sigma error, against time.

    Frames that were not placed are marked at the foot, anchors are drawn with their own errors.

    Parameters
    ----------
    result : `~sunalign.sequences.SequenceResult`
    fig : `~matplotlib.figure.Figure`, optional
        Where to draw; a new one by default.
    annotate : `bool`
        Whether to write a title and a legend.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    names = result.names
    fig = fig or new_figure(8.0, 1.9 * len(names) + 1.1)
    axes = fig.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    minutes, label = _times(result)
    for ax, name in zip(axes, names, strict=True):
        value, error = result.table[name].to_value(UNITS[name]), result.table[f"{name}_error"].to_value(UNITS[name])
        good = np.isfinite(value)
        order = np.argsort(np.where(good, minutes, np.inf))[: good.sum()]
        ax.plot(minutes[order], value[order], color="0.7", lw=0.8, zorder=1)
        ax.errorbar(minutes[good], value[good], error[good], fmt="o", ms=3, lw=1, color="#0969da", label="frames")
        _mark_doubtful(ax, minutes[~good & np.isfinite(minutes)])
        _mark_anchors(ax, result, name, minutes)
        ax.axhline(0, color="0.85", lw=0.8, zorder=0)
        ax.set_ylabel(parameter_label(name))
    axes[-1].set_xlabel(label)
    if annotate:
        fig.suptitle(_title(result), fontsize="medium")
        handles, labels = axes[0].get_legend_handles_labels()
        if len(handles) > 1:
            axes[0].legend(handles, labels, fontsize="small", loc="best")
    return fig


def _times(result: SequenceResult) -> tuple[np.ndarray, str]:
    """Times since the first frame, NaN where there is none, and what to call them."""
    dates = result.table["date"]
    known = ~np.broadcast_to(np.asarray(dates.mask, bool), len(dates))
    first = dates[known].min()
    seconds = np.full(len(dates), np.nan)
    seconds[known] = np.asarray((dates[known] - first).sec, float)
    longest = np.nanmax(seconds)
    unit, size = ("s", 1.0) if longest < 300 else ("min", 60.0) if longest < 4 * 3600 else ("h", 3600.0)
    return seconds / size, f"Time since {str(first.utc.isot)[:19]} [{unit}]"


def _mark_doubtful(ax: Axes, at: np.ndarray) -> None:
    if len(at):
        ax.plot(
            at, np.full(len(at), 0.04), "x", color=_DOUBT, ms=6, transform=ax.get_xaxis_transform(), label="not placed"
        )


def _mark_anchors(ax: Axes, result: SequenceResult, name: str, minutes: np.ndarray) -> None:
    if result.anchors is None:
        return
    for used, label in ((True, "anchors"), (False, "anchors left out")):
        rows = result.anchors[np.asarray(result.anchors["used"]) == used]
        rows = rows[np.isfinite(rows[name].value)]
        if len(rows):
            value, error = rows[name].to_value(UNITS[name]), np.nan_to_num(rows[f"{name}_error"].to_value(UNITS[name]))
            ax.errorbar(minutes[np.asarray(rows["frame"])], value, error, fmt="s" if used else "x", ms=6, mfc="none",
                        lw=1, color="#bc4c00" if used else _DOUBT, label=label)  # fmt: skip


def _title(result: SequenceResult) -> str:
    n, placed = len(result.table), sum(c is not None for c in result.corrections)
    before, after = result.running_difference
    return f"{placed} of {n} frames placed; running difference {before:.3f} before, {after:.3f} after"


def plot_pairs(result: SequenceResult, *, fig: Figure | None = None, annotate: bool = True) -> Figure:
    """Show which frames were compared, how alike they are, and how well the pairs close.

    Left the correlation of every pair; right what is left of its displacement once all frames are in their places, in
    pixels of the images that were compared. Pairs that were left out are crossed.

    Parameters
    ----------
    result : `~sunalign.sequences.SequenceResult`
    fig : `~matplotlib.figure.Figure`, optional
        Where to draw; a new one by default.
    annotate : `bool`
        Whether to write titles.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    from matplotlib.ticker import MaxNLocator

    fig = fig or new_figure(10.0, 4.3)
    left, right = fig.subplots(1, 2)
    pairs, n = result.pairs, len(result.table)
    i, j = np.asarray(pairs["first"]), np.asarray(pairs["second"])
    names = [name for name in result.names if name.startswith("shift")] or [result.names[0]]
    rest = np.sqrt(sum(pairs[f"{name}_residual"].value ** 2 for name in names))
    out = np.asarray(pairs["weight"]) < 0.3
    scores = _matrix(n, i, j, np.asarray(pairs["score"], float))
    shown = left.imshow(scores, origin="lower", cmap="viridis", interpolation="nearest", extent=(-0.5, n - 0.5) * 2)
    colour_bar(fig, shown, left, "Correlation")
    residual = _matrix(n, i, j, np.where(out, np.nan, rest))
    finite = residual[np.isfinite(residual)]
    largest = float(np.percentile(finite, 99)) if finite.size and finite.max() > 0 else 1.0
    unit = str(pairs[f"{names[0]}_residual"].unit)
    shown = right.imshow(
        residual,
        origin="lower",
        cmap="magma",
        vmin=0,
        vmax=max(largest, 1e-12),
        interpolation="nearest",
        extent=(-0.5, n - 0.5) * 2,
    )
    colour_bar(fig, shown, right, f"Closure residual [{unit}]")
    for ax in (left, right):
        ax.set_facecolor("0.92")
        ax.set_xlabel("Frame")
        ax.set_ylabel("Frame")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        lost = np.isfinite(rest) | out
        both = np.concatenate([j[out & lost], i[out & lost]]), np.concatenate([i[out & lost], j[out & lost]])
        ax.plot(*both, "x", color=_DOUBT, ms=3)
    if annotate:
        left.set_title(f"{len(pairs)} pairs, {int(out.sum())} left out", fontsize="medium")
        right.set_title("what does not close", fontsize="medium")
    return fig


def _matrix(n: int, i: np.ndarray, j: np.ndarray, values: Any) -> np.ndarray:
    # Of very many frames several share a cell, for nobody could tell them apart.
    share = -(-n // _CELLS)
    i, j, n = i // share, j // share, -(-n // share)
    matrix = np.full((n, n), np.nan)
    matrix[i, j] = matrix[j, i] = values
    return matrix
