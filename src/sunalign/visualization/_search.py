"""How the search went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sunalign.visualization.axes import colour_bar, figure_of, history_values, new_figure, parameter_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sunalign.result import AlignmentResult

__all__ = ["plot_convergence", "plot_history"]


def plot_history(result: AlignmentResult, *, fig: Figure | None = None, annotate: bool = True) -> Figure:
    """Show every trial at full resolution in the space of the free parameters, coloured by its score.

    Parameters that belong together share a panel; one that is alone is drawn against the score. The start is a cross,
    the answer a star with its 1-sigma errors.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    fig : `~matplotlib.figure.Figure`, optional
        Where to draw; a new one by default.
    annotate : `bool`
        Whether to write a title and a legend.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    pairs = _pairs(result.free)
    fig = fig or new_figure(3.6 * len(pairs) + 1.2, 3.7)
    values = history_values(result)
    scored = np.isfinite(values["score"])
    limits = (values["score"][scored].min(), values["score"][scored].max()) if scored.any() else (0.0, 1.0)
    if limits[0] == limits[1]:
        limits = (limits[0] - 0.01, limits[1] + 0.01)
    axes = [fig.add_subplot(1, len(pairs), k) for k in range(1, len(pairs) + 1)]
    for ax, pair in zip(axes, pairs, strict=True):
        dots = _scatter(ax, result, values, pair, limits)
    colour_bar(fig, dots, axes, "Score", shrink=1.0)
    if annotate:
        axes[0].legend(loc="best", fontsize="small")
        fig.suptitle(f"{len(scored)} trials at full resolution, {result.nfev} in all", fontsize="medium")
    return fig


def _pairs(free: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for group in (("shift_x", "shift_y"), ("scale_x", "scale_y"), ("rotation",)):
        names = [name for name in group if name in free]
        if names:
            pairs.append((names[0], names[1] if len(names) == 2 else "score"))
    return pairs


def _scatter(
    ax: Axes, result: AlignmentResult, values: dict[str, np.ndarray], pair: tuple[str, str], limits: tuple[float, float]
) -> Any:
    x, y, score = values[pair[0]], values[pair[1]], values["score"]
    scored = np.isfinite(score)
    if "score" not in pair and not scored.all():
        ax.scatter(x[~scored], y[~scored], s=8, color="0.8", label="too little overlap")
    order = np.flatnonzero(scored)[np.argsort(score[scored])]  # The best on top.
    dots = ax.scatter(x[order], y[order], c=score[order], s=16, cmap="viridis", vmin=limits[0], vmax=limits[1])
    if len(order):
        first = int(np.flatnonzero(scored)[0])
        ax.plot(x[first], y[first], "x", color="tab:red", ms=8, mew=2, label="start")
    (at_x, error_x), (at_y, error_y) = (_answer(result, name) for name in pair)
    ax.errorbar(
        at_x, at_y, xerr=error_x, yerr=error_y, fmt="*", color="k", mfc="gold", ms=13, mew=0.8, lw=1, label="answer"
    )
    ax.set_xlabel(parameter_label(pair[0]))
    ax.set_ylabel("Score" if pair[1] == "score" else parameter_label(pair[1]))
    _open(ax)
    return dots


def _answer(result: AlignmentResult, name: str) -> tuple[float, float]:
    """Value and 1-sigma error; 0 where it is not known."""
    if name == "score":
        return result.score, 0.0
    error = result.correction.errors.get(name, np.nan)
    return result.correction.parameters[name], error if np.isfinite(error) else 0.0


def _open(ax: Axes) -> None:
    # Tick labels are plain numbers: an offset in the corner of "Scale x" is read by nobody.
    ax.ticklabel_format(useOffset=False)
    ax.locator_params(nbins=5)
    ax.grid(alpha=0.3)
    ax.margins(0.12)


def plot_convergence(
    result: AlignmentResult,
    *,
    against: str = "evaluation",
    axes: Axes | None = None,
    fig: Figure | None = None,
    annotate: bool = True,
) -> Figure:
    """Show the score of every trial at full resolution, and the best so far.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    against : {"evaluation", "iteration"}
        What to count.
    axes : `~matplotlib.axes.Axes`, optional
        Where to draw.
    fig : `~matplotlib.figure.Figure`, optional
        Where to make them; a new one by default.
    annotate : `bool`
        Whether to write a title and a legend.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    if against not in ("evaluation", "iteration"):
        raise ValueError(f"'against' is 'evaluation' or 'iteration'; got {against!r}.")
    values = history_values(result)
    score = values["score"]
    count = np.arange(1, len(score) + 1) if against == "evaluation" else values["iteration"]
    scored = np.isfinite(score)
    ax = axes if axes is not None else (fig or new_figure(6.4, 4.0)).add_subplot()
    ax.plot(count[scored], score[scored], ".", color="0.6", ms=5, label="score")
    if scored.any():
        best = np.maximum.accumulate(np.where(scored, score, -np.inf))
        begun = np.isfinite(best)
        ax.step(count[begun], best[begun], where="post", color="tab:blue", lw=1.6, label="best so far")
    ax.axhline(result.score, color="tab:green", lw=1, ls="--", label=f"answer {result.score:.4f}")
    ax.set_xlabel(f"{against.capitalize()} at full resolution")
    ax.set_ylabel(f"Score ({result.plugins['metric']['name']})")
    ax.locator_params(axis="x", integer=True)
    ax.grid(alpha=0.3)
    if annotate:
        ax.legend(loc="lower right", fontsize="small")
        ax.set_title(f"{result.plugins['optimizer']['name']}: {result.nfev} evaluations", fontsize="medium")
    return figure_of(ax)
