"""The reference with the target's contours, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sunalign.visualization.axes import (
    AFTER,
    BEFORE,
    before_and_after,
    check_sky_axes,
    extent_of,
    figure_of,
    new_figure,
    picture_of,
    picture_pixels,
    plain_wcs,
    short_name,
    show,
    sky_axes,
    smoothed,
    stretched,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sunalign.result import AlignmentResult
    from sunalign.visualization.axes import Picture

__all__ = ["plot_alignment"]

_COLOURS = {"before": BEFORE, "after": AFTER}


def plot_alignment(
    result: AlignmentResult,
    *,
    levels: Sequence[float] = (80.0, 95.0),
    axes: Any = None,
    fig: Figure | None = None,
    annotate: bool = True,
) -> Figure:
    """Show the reference with the target's contours as its header has them, and as corrected.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    levels : sequence of `float`
        Percentiles of the target, lightly smoothed, at which contours are drawn.
    axes : `~astropy.visualization.wcsaxes.WCSAxes` or two of them, optional
        In the reference's coordinates (``projection=result.reference.image()``). One gets both sets of contours, two
        get before and after. By default two are made.
    fig : `~matplotlib.figure.Figure`, optional
        Where to make them; a new one by default.
    annotate : `bool`
        Whether to write titles.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    picture = picture_of(result)
    panels = _panels(picture, result, axes, fig)
    for ax, whens in panels:
        show(ax, stretched(picture.data), picture.grid)
        for when in whens:
            _draw(ax, result, when, levels)
        _frame(ax, result)
        if annotate:
            _title(ax, result, whens)
    figure = figure_of(panels[0][0])
    if annotate and axes is None:
        figure.suptitle(f"{short_name(result, 60)}: {'good' if result.success else 'doubtful'}", fontsize="medium")
    return figure


def _panels(
    picture: Picture, result: AlignmentResult, axes: Any, fig: Figure | None
) -> list[tuple[Axes, tuple[str, ...]]]:
    if axes is not None:
        given = check_sky_axes(axes, (1, 2))
        whens = [("before", "after")] if len(given) == 1 else [("before",), ("after",)]
        return list(zip(given, whens, strict=True))
    width, height = extent_of(result.problem.target.grid)
    # Roughly: the exact size is the layout's business.
    panel = float(np.clip(5.0 * width / height, 2.4, 5.0))
    fig = fig or new_figure(2 * panel + 1.2, float(np.clip(panel * height / width, 2.4, 5.0)) + 1.3)
    wcs = plain_wcs(picture.grid)
    return [
        (sky_axes(fig, (1, 2, 1), wcs), ("before",)),
        (sky_axes(fig, (1, 2, 2), wcs, label_y=False), ("after",)),
    ]


def _draw(ax: Axes, result: AlignmentResult, when: str, levels: Sequence[float]) -> None:
    """Contours and outline of the target."""
    matrix = before_and_after(result)[when]
    ny, nx = result.problem.target.grid.shape
    x, y = picture_pixels(result, matrix, np.arange(nx), np.arange(ny)[:, None])
    values = _contoured(result)
    shown = np.isfinite(values) & np.isfinite(x) & np.isfinite(y)
    heights = np.unique(np.percentile(values[shown], sorted(levels))) if shown.any() else np.empty(0)
    if len(heights) and min(values.shape) > 1:
        lines = ax.contour(
            np.where(np.isfinite(x), x, 0.0),
            np.where(np.isfinite(y), y, 0.0),
            np.ma.array(values, mask=~shown),
            levels=heights,
            colors=_COLOURS[when],
            linewidths=np.linspace(0.9, 1.5, len(heights)),
        )
        lines.set_gid(f"contours {when}")
    ax.plot(*_outline(result, matrix), color=_COLOURS[when], lw=0.8, ls="--", label=when, gid=f"outline {when}")


def _contoured(result: AlignmentResult) -> np.ndarray:
    """Target as it was compared, without the noise finer than the reference can show."""
    size = np.array(result.problem.target.grid.pixel_size)
    own = result.reference.pixel_size if np.isfinite(result.reference.pixel_size) else float(size.max())
    sigma = 1.2 * max(own, float(size.max())) / size
    return smoothed(result.problem.target.data, (float(sigma[1]), float(sigma[0])))


def _outline(result: AlignmentResult, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edge of the target's rows and columns that hold anything."""
    valid = np.isfinite(result.problem.target.data)
    rows, columns = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
    low_x, high_x = columns[0] - 0.5, columns[-1] + 0.5
    low_y, high_y = rows[0] - 0.5, rows[-1] + 0.5
    side = np.linspace(0, 1, 33)
    x = np.concatenate([low_x + (high_x - low_x) * s for s in (side, 1 + 0 * side, side[::-1], 0 * side)])
    y = np.concatenate([low_y + (high_y - low_y) * s for s in (0 * side, side, 1 + 0 * side, side[::-1])])
    return picture_pixels(result, matrix, x, y)


def _frame(ax: Axes, result: AlignmentResult) -> None:
    """Show both outlines, with a margin."""
    found = [_outline(result, matrix) for matrix in before_and_after(result).values()]
    for limits, k in ((ax.set_xlim, 0), (ax.set_ylim, 1)):
        values = np.concatenate([outline[k] for outline in found])
        values = values[np.isfinite(values)]
        if len(values):
            margin = 0.04 * np.ptp(values)
            limits(values.min() - margin, values.max() + margin)


def _title(ax: Axes, result: AlignmentResult, whens: tuple[str, ...]) -> None:
    scores = {"before": result.initial_score, "after": result.score}
    ax.set_title("\n".join(f"{when}: score {scores[when]:.3f}" for when in whens), fontsize="medium")
    if len(whens) > 1:
        ax.legend(loc="upper right", fontsize="small")
