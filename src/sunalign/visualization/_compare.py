"""Target and reference on the target's own pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sunalign.visualization.axes import (
    check_sky_axes,
    colour_bar,
    corrected_wcs,
    extent_of,
    figure_of,
    new_figure,
    short_name,
    show,
    sky_axes,
)
from sunalign.visualization.films import save_film

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

    from sunalign.result import AlignmentResult

__all__ = ["blink", "plot_residual"]


def compared(result: AlignmentResult) -> tuple[np.ndarray, np.ndarray]:
    """Target, and reference sampled at its pixels after gain and offset, both scaled as they were compared.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`

    Returns
    -------
    target, reference : `numpy.ndarray`, shape (ny, nx)
    """
    problem = result.problem
    target, sampled = problem.target.data, np.asarray(problem.sample(result.x), float)
    both = np.isfinite(target) & np.isfinite(sampled)
    if np.count_nonzero(both) < 2 or np.ptp(sampled[both]) == 0:
        return target, sampled
    gain, offset = np.polyfit(sampled[both], target[both], 1)
    return target, gain * sampled + offset


def plot_residual(
    result: AlignmentResult, *, axes: Any = None, fig: Figure | None = None, annotate: bool = True
) -> Figure:
    """Show the reference at the target's pixels, the target, and what is left of it.

    Intensities are scaled as they were compared, and the reference has the gain and the offset that fit best.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    axes : three `~astropy.visualization.wcsaxes.WCSAxes`, optional
        On the target's pixels; made by default.
    fig : `~matplotlib.figure.Figure`, optional
        Where to make them; a new one by default.
    annotate : `bool`
        Whether to write titles.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    grid = result.problem.target.grid
    if axes is None:
        width, height = extent_of(grid)
        panel = float(np.clip(4.4 * width / height, 2.0, 4.4))
        fig = fig or new_figure(3 * panel + 2.9, float(np.clip(panel * height / width, 2.0, 4.4)) + 0.9)
        wcs = corrected_wcs(grid, result.correction)
        axes = [sky_axes(fig, (1, 3, k), wcs, label_y=k == 1) for k in (1, 2, 3)]
    axes = check_sky_axes(axes, (3,))
    target, model = compared(result)
    residual = target - model
    low, high = _range(target, 0.5)
    largest = _largest(residual)
    for ax, values in zip(axes[:2], (model, target), strict=True):
        bright = show(ax, values, grid, vmin=low, vmax=high)
    left = show(axes[2], residual, grid, cmap="RdBu_r", vmin=-largest, vmax=largest)
    figure = figure_of(axes[0])
    stretch = str(result.assumptions.get("scaling", "")).partition(",")[0]
    suffix = f" ({stretch})" if stretch else ""
    colour_bar(figure, bright, axes[:2], f"Intensity{suffix}")
    colour_bar(figure, left, axes[2], f"Target - reference{suffix}")
    if annotate:
        share = np.nanstd(residual) / np.nanstd(target)
        titles = ("reference", "target", f"residual: {100 * share:.0f} % of target's σ")
        for ax, title in zip(axes, titles, strict=True):
            ax.set_title(title, fontsize="medium")
    return figure


def blink(
    result: AlignmentResult,
    path: str | os.PathLike[str] | None = None,
    *,
    interval: float = 700,
    dpi: float = 100,
    fig: Figure | None = None,
    annotate: bool = True,
    overwrite: bool = False,
) -> FuncAnimation:
    """Show the corrected target and the reference in turn, on the target's pixels.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    path : path, optional
        GIF to write.
    interval : `float`
        Milliseconds for which each is shown.
    dpi : `float`
        Resolution of the GIF.
    fig : `~matplotlib.figure.Figure`, optional
        Where to draw; a new one by default.
    annotate : `bool`
        Whether to write titles.
    overwrite : `bool`
        Whether an existing file may be replaced.

    Returns
    -------
    `~matplotlib.animation.FuncAnimation`
        To be kept as long as it is to move.
    """
    from matplotlib.animation import FuncAnimation

    if path is not None:
        # First of all: an animation that is made and not used raises matplotlib's warning.
        _check(Path(path), overwrite)
    grid = result.problem.target.grid
    width, height = extent_of(grid)
    panel = float(np.clip(5.0 * width / height, 2.6, 5.0))
    fig = fig or new_figure(panel + 1.0, float(np.clip(panel * height / width, 2.5, 5.0)) + 0.9)
    ax = sky_axes(fig, (1, 1, 1), corrected_wcs(grid, result.correction))
    target, model = compared(result)
    low, high = _range(target, 0.5)
    artist = show(ax, target, grid, vmin=low, vmax=high)
    frames = {f"{short_name(result, 24)}, corrected": target, "reference": model}

    def draw(k: int) -> list[Any]:
        title, values = list(frames.items())[k]
        artist.set_data(values)
        if annotate:
            ax.set_title(title, fontsize="medium")
        return [artist]

    draw(0)
    animation = FuncAnimation(fig, draw, frames=2, interval=interval, blit=False)
    if path is not None:
        save_film(animation, path, fps=1000 / interval, dpi=dpi, overwrite=overwrite)
    return animation


def _check(path: Path, overwrite: bool) -> None:
    from sunalign.files.output import check_output

    if path.suffix.lower() != ".gif":
        raise ValueError(f"A blink is written as a GIF; name it like blink.gif, not {path.name!r}.")
    check_output(path, overwrite)


def _range(values: np.ndarray, percent: float) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (percent, 100 - percent))
    return (float(low), float(high)) if low < high else (float(finite.min()), float(finite.max()))


def _largest(residual: np.ndarray) -> float:
    finite = np.abs(residual[np.isfinite(residual)])
    return float(np.percentile(finite, 99)) or 1.0 if finite.size else 1.0
