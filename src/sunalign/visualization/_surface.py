"""The scores over the shifts and the error ellipse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sunalign.model.surface import SearchSurface, peaks_of
from sunalign.visualization.axes import colour_bar, figure_of, new_figure, parameter_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patheffects import AbstractPathEffect

    from sunalign.result import AlignmentResult

__all__ = ["plot_surface"]

_SIGMAS = (1, 2, 3)
_TINY = 0.08  # Fraction of the plot's width below which three sigma get an enlargement.


def plot_surface(
    result: AlignmentResult, *, axes: Axes | None = None, fig: Figure | None = None, annotate: bool = True
) -> Figure:
    """Show the scores over the shifts with their two highest peaks, the answer and its error ellipse.

    It is the surface that the quality is read from. Ellipses are at 1, 2 and 3 sigma; where they are tiny an inset
    enlarges them. Where only one shift was free this is a curve.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
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
    free = [name for name in ("shift_x", "shift_y") if name in result.free]
    ax = axes if axes is not None else (fig or new_figure(6.4, 5.2)).add_subplot()
    if result.surface is None or not np.isfinite(result.surface.scores).any():
        ax.text(0.5, 0.5, "No shift was free:\nthere is no surface.", ha="center", va="center", transform=ax.transAxes)
        ax.set_axis_off()
        return figure_of(ax)
    if len(free) == 1:
        _curve(ax, result, free[0])
    else:
        _map(ax, result)
    if annotate:
        ax.set_title(f"peak ratio {result.quality.peak_ratio:.2f}, significance {result.quality.peak_significance:.1f}",
                     fontsize="medium")  # fmt: skip
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize="small", frameon=False)
    return figure_of(ax)


def _score_label(result: AlignmentResult) -> str:
    name = result.plugins["metric"]["name"]
    return "Correlation (ncc)" if name == "ncc" else f"Score ({name})"


def _curve(ax: Axes, result: AlignmentResult, name: str) -> None:
    surface = result.surface
    assert surface is not None
    shift = (surface.shift_x if name == "shift_x" else surface.shift_y).ravel()
    score = surface.scores.ravel()
    kept = np.flatnonzero(np.isfinite(score))
    kept = kept[np.argsort(shift[kept])]
    ax.plot(shift[kept], score[kept], ".-", color="0.4", label="score")
    for (top, *where), marker, label in zip(peaks_of(surface, 2), ("^", "v"), ("peak", "runner-up"), strict=False):
        if label == "peak" or top > 0:
            ax.plot(where[name == "shift_y"], top, marker, color="tab:red", ms=8, label=label)
    value, error = result.correction.parameters[name], result.correction.errors.get(name, np.nan)
    ax.axvline(value, color="tab:blue", lw=1.2, label="answer")
    if np.isfinite(error):
        ax.axvspan(value - error, value + error, color="tab:blue", alpha=0.25, label="1 σ")
    ax.set_xlabel(parameter_label(name))
    ax.set_ylabel(_score_label(result))
    ax.grid(alpha=0.3)


def _map(ax: Axes, result: AlignmentResult) -> None:
    surface = result.surface
    assert surface is not None
    image = ax.pcolormesh(
        surface.shift_x,
        surface.shift_y,
        np.ma.masked_invalid(surface.scores),
        shading="gouraud" if np.isfinite(surface.scores).all() and min(surface.scores.shape) > 1 else "nearest",
        cmap="viridis",
        rasterized=True,
    )
    colour_bar(figure_of(ax), image, ax, _score_label(result), shrink=1.0)
    _peaks(ax, surface)
    answer = _answer(result)
    ax.plot(*answer, "*", color="k", mfc="gold", ms=13, mew=0.8, label="answer")
    ax.set_aspect("equal")
    ax.set_facecolor("0.85")
    ax.set_xlabel(parameter_label("shift_x"))
    ax.set_ylabel(parameter_label("shift_y"))
    covariance = _shift_covariance(result)
    if covariance is not None:
        _ellipses(ax, answer, covariance)
        reach = max(_SIGMAS) * float(np.sqrt(np.diag(covariance).max()))
        if 2 * reach < _TINY * np.ptp(ax.get_xlim()):
            _enlarge(ax, answer, covariance, reach)


def _peaks(ax: Axes, surface: SearchSurface) -> None:
    for (score, x, y), marker, label in zip(peaks_of(surface, 2), ("^", "v"), ("peak", "runner-up"), strict=False):
        # A second peak below zero, as at the edge of most surfaces, is no rival.
        if label == "peak" or score > 0:
            ax.plot(x, y, marker, color="w", mec="tab:red", mew=1.5, ms=9, label=label, clip_on=False)


def _answer(result: AlignmentResult) -> tuple[float, float]:
    return result.correction.parameters["shift_x"], result.correction.parameters["shift_y"]


def _shift_covariance(result: AlignmentResult) -> np.ndarray | None:
    """Covariance of the two shifts in square arcsec; `None` where it is not known."""
    whole = result.correction.covariance
    if whole is None or "shift_x" not in result.free or "shift_y" not in result.free:
        return None
    rows = [result.free.index("shift_x"), result.free.index("shift_y")]
    part = np.asarray(whole, float)[np.ix_(rows, rows)]
    return part if np.isfinite(part).all() and np.linalg.eigvalsh(part).min() > 0 else None


def _ellipses(ax: Axes, centre: tuple[float, float], covariance: np.ndarray, **options: Any) -> None:
    from matplotlib.patches import Ellipse

    values, vectors = np.linalg.eigh(covariance)
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    for k in _SIGMAS:
        width, height = 2 * k * np.sqrt(values[::-1])
        style = {"fill": False, "ec": "tab:red", "lw": 1.4 / k + 0.4, "gid": f"{k} sigma", **options}
        ax.add_patch(Ellipse(centre, width, height, angle=angle, **style))


def _enlarge(ax: Axes, centre: tuple[float, float], covariance: np.ndarray, reach: float) -> None:
    """Inset in the corner that is farthest from the answer."""
    from matplotlib.patheffects import withStroke

    (low_x, high_x), (low_y, high_y) = ax.get_xlim(), ax.get_ylim()
    left = centre[0] > (low_x + high_x) / 2
    low = centre[1] > (low_y + high_y) / 2
    inset = ax.inset_axes((0.10 if left else 0.66, 0.10 if low else 0.61, 0.30, 0.30), gid="enlargement")
    _ellipses(inset, centre, covariance)
    inset.plot(*centre, "+", color="k", ms=8)
    inset.set_xlim(centre[0] - 1.25 * reach, centre[0] + 1.25 * reach)
    inset.set_ylim(centre[1] - 1.25 * reach, centre[1] + 1.25 * reach)
    inset.set_aspect("equal")
    inset.locator_params(nbins=3)
    inset.ticklabel_format(useOffset=False)
    inset.tick_params(labelsize="x-small", direction="in", pad=2)
    inset.set_title("1, 2, 3 σ", fontsize="small", pad=3)
    # The surface below may be dark or bright.
    halo: list[AbstractPathEffect] = [withStroke(linewidth=2.5, foreground="w")]
    for label in (inset.title, *inset.get_xticklabels(), *inset.get_yticklabels()):
        label.set_path_effects(halo)
    ax.indicate_inset_zoom(inset, edgecolor="w")
