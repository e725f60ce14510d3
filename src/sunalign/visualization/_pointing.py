"""Pointing of the columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

import astropy.units as u

from sunalign.exceptions import AlignmentError
from sunalign.pointing.displaced import DisplacedReference
from sunalign.visualization.axes import colour_bar, new_figure, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sunalign.model.problem import Problem
    from sunalign.result import AlignmentResult

__all__ = ["plot_pointing"]

_COLOURS = ("tab:blue", "tab:red")


def plot_pointing(result: AlignmentResult, *, fig: Figure | None = None, annotate: bool = True) -> Figure:
    """Show the pointing of the columns with its 1-sigma errors, and what it takes from the residual.

    Templates are drawn as they were fitted, times their gains. The residuals are target less reference, scaled as they
    were compared, with the columns where the header has them and where they were found to be.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
        Of an alignment with ``"drift"`` in ``fit``, or with a ``pointing`` that was given.
    fig : `~matplotlib.figure.Figure`, optional
        Where to draw; a new one by default.
    annotate : `bool`
        Whether to write titles and a legend.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    if result.drift is None:
        raise AlignmentError("This alignment has no pointing of the columns; put 'drift' into fit.")
    residuals = _residuals(result)
    fig = fig or new_figure(11.0 if residuals else 6.4, 5.2)
    grid = fig.add_gridspec(2, 3 if residuals else 1, width_ratios=(1.7, 1, 1) if residuals else (1,))
    where, label = _abscissa(result)
    curves: list[Axes] = []
    for row, axis in enumerate("xy"):
        ax = fig.add_subplot(grid[row, 0], sharex=curves[0] if curves else None)
        _curve(ax, result, where, axis, _COLOURS[row])
        ax.tick_params(labelbottom=row == 1)
        curves.append(ax)
    curves[1].set_xlabel(label)
    if annotate:
        curves[0].legend(loc="best", fontsize="small")
        curves[0].set_title(_title(result), fontsize="medium")
    if residuals:
        _draw_residuals(fig, [fig.add_subplot(grid[:, k]) for k in (1, 2)], residuals, annotate)
    return fig


def _abscissa(result: AlignmentResult) -> tuple[np.ndarray, str]:
    table = result.pointing
    assert table is not None
    if "time" in table.colnames:
        first = table["time"].min()
        return np.asarray((table["time"] - first).to_value(u.min)), f"Minutes after {first.utc.isot[:19]}"
    return np.asarray(table["column"], float), "Column"


def _curve(ax: Axes, result: AlignmentResult, where: np.ndarray, axis: str, colour: str) -> None:
    table, drift = result.pointing, result.drift
    assert table is not None
    assert drift is not None
    order = np.argsort(where)
    t, valid = where[order], np.asarray(table["valid"])[order]
    value, error = (
        np.where(valid, table[f"shift_{axis}{end}"].to_value(u.arcsec)[order], np.nan) for end in ("", "_error")
    )
    ax.axhline(0, color="0.6", lw=0.8)
    ax.fill_between(t, value - error, value + error, color=colour, alpha=0.25, lw=0, label="1-sigma error")
    ax.plot(t, value, color=colour, lw=1.6, label="found")
    for row in drift.templates:
        shape = float(row["gain"]) * row[f"shift_{axis}"].to_value(u.arcsec)[order]
        if np.abs(shape).max() > 0:
            ax.plot(t, shape, "--", color="0.2", lw=1, label=f"{row['name']} × {row['gain']:.2f}")
    ax.set_ylabel(f"Shift {axis} [arcsec]")
    ax.grid(alpha=0.3)


def _title(result: AlignmentResult) -> str:
    drift = result.drift
    assert drift is not None
    if drift.refused:
        return f"{short_name(result)}: the data say nothing of a drift"
    found = f"{drift.freedom:.1f} degrees of freedom"
    return f"{short_name(result)}: {found}" if np.isfinite(drift.no_drift) else f"{short_name(result)}: as given"


def _residuals(result: AlignmentResult) -> list[np.ndarray]:
    """Before and after, on the pixels that are compared; nothing where no column was displaced."""
    problem = result.problem
    reference = problem.reference
    if not isinstance(reference, DisplacedReference):
        return []
    still = replace(problem, reference=reference.reference)
    return [_residual(one.at_finest_level(), result.x) for one in (still, problem)]


def _residual(problem: Problem, x: np.ndarray) -> np.ndarray:
    """Target less the reference with the gain and the offset that fit best."""
    target, sampled = problem.target.data, np.asarray(problem.sample(x), float)
    both = np.isfinite(target) & np.isfinite(sampled)
    if np.count_nonzero(both) < 2 or np.ptp(sampled[both]) == 0:
        return target - sampled
    gain, offset = np.polyfit(sampled[both], target[both], 1)
    return np.asarray(target - gain * sampled - offset)


def _draw_residuals(fig: Figure, axes: list[Axes], residuals: list[np.ndarray], annotate: bool) -> None:
    limit = float(np.nanpercentile(np.abs(residuals[0]), 98))
    picture: Any = None
    for ax, residual, title in zip(axes, residuals, ("columns as in the header", "columns displaced"), strict=True):
        picture = ax.imshow(
            residual, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
        )
        ax.set_facecolor("0.85")
        ax.set_xlabel("Column")
        if annotate:
            ax.set_title(f"{title}\nrms {np.sqrt(np.nanmean(residual**2)):.3g}", fontsize="medium")
    axes[0].set_ylabel("Row")
    axes[1].tick_params(labelleft=False)
    colour_bar(fig, picture, axes, "Target − reference", shrink=0.9)
