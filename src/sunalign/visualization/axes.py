"""What the figures share: where pixels are on the sky, colour scales, axes and their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

import astropy.units as u
from astropy.wcs import WCS

from sunalign.correction import PARAMETERS, UNITS, Correction
from sunalign.geometry.coordinates import ARCSEC, PixelGrid, apply_homography, tangent_basis
from sunalign.model.intensity import IntensityScaling
from sunalign.model.reference import ImageReference
from sunalign.model.smoothing import gaussian_smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sunalign.result import AlignmentResult

#: Before and after, wherever the two meet. Distinct on grey, and for colour-blind eyes.
BEFORE, AFTER = "#ff8c1a", "#19d3f3"

_OFF_SCREEN: ContextVar[bool] = ContextVar("off_screen", default=False)


@contextmanager
def off_screen() -> Iterator[None]:
    """Make figures that no window and no notebook will ever show: for files and reports."""
    token = _OFF_SCREEN.set(True)
    try:
        yield
    finally:
        _OFF_SCREEN.reset(token)


def new_figure(width: float, height: float) -> Figure:
    """Figure of a size in inches whose parts keep clear of each other.

    Parameters
    ----------
    width, height : `float`
        Inches.
    """
    if _OFF_SCREEN.get():
        from matplotlib.figure import Figure as OffScreenFigure

        return OffScreenFigure(figsize=(width, height), layout="constrained")
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained")


def figure_of(ax: Axes) -> Figure:
    """Figure that axes are in, whatever sub-figures there are in between.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
    """
    return cast("Figure", ax.get_figure(root=True))


class Picture(NamedTuple):
    """The reference as it is shown.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
    grid : `~sunalign.geometry.coordinates.PixelGrid`
        Where its pixels are.
    """

    data: np.ndarray
    grid: PixelGrid


def picture_of(result: AlignmentResult) -> Picture:
    """The reference's own image, else its samples at the target's pixels.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    """
    picture, grid = result.reference.image(), result.target.grid
    if picture is not None and isinstance(result.reference, ImageReference):
        # Not the WCS of the map, which would assume an observer where the file has none, and warn.
        return Picture(np.asarray(picture.data, float), result.reference.mapping.reference)
    if picture is not None and picture.data.shape == grid.shape:
        return Picture(np.asarray(picture.data, float), grid)
    data = result.reference.sample_grid(np.eye(3), grid.shape, np.arange(grid.shape[1], dtype=float))
    return Picture(np.asarray(data, float), grid)


def picture_pixels(result: AlignmentResult, matrix: np.ndarray, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where pixels of the target fall in the picture of the reference.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    matrix : `numpy.ndarray`, shape (3, 3)
        By which they are moved first, as from `before_and_after`.
    x, y : array-like
        Pixels of the target as it was compared, 0-based; they broadcast.
    """
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    moved = apply_homography(matrix, x, y)
    if isinstance(result.reference, ImageReference):
        columns, _ = apply_homography(before_and_after(result)["before"], x, y)
        return result.reference.mapping(*moved, columns)
    return moved


def before_and_after(result: AlignmentResult) -> dict[str, np.ndarray]:
    """Homographies from the pixels that were compared to those of the target, as its header has it and as corrected.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`

    Returns
    -------
    `dict`
        ``"before"`` and ``"after"``: matrices of shape (3, 3).
    """
    problem = result.problem
    return {"before": problem.in_base(problem.target.grid), "after": problem.matrix(result.x)}


def plain_wcs(grid: PixelGrid) -> WCS:
    """WCS of a grid that may be a crop.

    Parameters
    ----------
    grid : `~sunalign.geometry.coordinates.PixelGrid`
    """
    x0, bx, y0, by = grid.to_base
    wcs = grid.wcs.deepcopy()
    wcs.wcs.crpix = (wcs.wcs.crpix - 1 - [x0, y0]) / [bx, by] + 1
    wcs.wcs.cdelt = np.ones(2)
    if wcs.wcs.has_cd():
        del wcs.wcs.cd
    wcs.wcs.pc = grid.wcs.pixel_scale_matrix @ np.diag([bx, by])
    return wcs


def corrected_wcs(grid: PixelGrid, correction: Correction) -> WCS:
    """WCS of a grid after a correction, tangent at its centre: good enough for the ticks of a plot.

    Parameters
    ----------
    grid : `~sunalign.geometry.coordinates.PixelGrid`
    correction : `~sunalign.Correction`
    """
    cx, cy = grid.centre
    matrix = correction.sky_matrix @ grid.matrix
    lon, lat = (float(a) for a in _angles(matrix @ [cx, cy, 1.0]))
    plane = tangent_basis(lon, lat) @ matrix
    wcs = grid.wcs.deepcopy()
    if wcs.wcs.has_cd():
        del wcs.wcs.cd
    wcs.wcs.ctype = [f"{ctype[:5]}TAN" for ctype in wcs.wcs.ctype]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crpix = [cx + 1, cy + 1]
    wcs.wcs.crval = np.degrees([lon, lat])
    wcs.wcs.cdelt = np.ones(2)
    wcs.wcs.pc = np.degrees(plane[1:, :2] / (plane[0] @ [cx, cy, 1.0]))
    return wcs


def _angles(vector: np.ndarray) -> tuple[float, float]:
    return np.arctan2(vector[1], vector[0]), np.arctan2(vector[2], np.hypot(vector[0], vector[1]))


def aspect_of(grid: PixelGrid) -> float:
    """Height of a pixel over its width.

    Parameters
    ----------
    grid : `~sunalign.geometry.coordinates.PixelGrid`
    """
    width, height = grid.pixel_size
    return height / width


def extent_of(grid: PixelGrid) -> tuple[float, float]:
    """Width and height of an image on the sky, in arcsec.

    Parameters
    ----------
    grid : `~sunalign.geometry.coordinates.PixelGrid`
    """
    return grid.shape[1] * grid.pixel_size[0] / ARCSEC, grid.shape[0] * grid.pixel_size[1] / ARCSEC


def sky_axes(fig: Figure, position: tuple[int, int, int], wcs: WCS, *, label_y: bool = True) -> Axes:
    """Axes in arcsec on the Sun; neighbours to the right can do without the label of y.

    Parameters
    ----------
    fig : `~matplotlib.figure.Figure`
    position : `tuple` of three `int`
        Rows, columns and number, as in `~matplotlib.figure.Figure.add_subplot`.
    wcs : `~astropy.wcs.WCS`
    label_y : `bool`
        Whether y is labelled; axes with others to their left can do without.
    """
    ax = fig.add_subplot(*position, projection=wcs)
    solar = wcs.wcs.ctype[0].startswith("HP")
    names = ("Solar X", "Solar Y") if solar else ("Longitude", "Latitude")
    for coordinate, name, shown in zip(ax.coords, names, (True, label_y), strict=True):
        coordinate.set_major_formatter("s" if solar else "d.d")
        coordinate.set_format_unit(u.arcsec if solar else u.deg, decimal=True, show_decimal_unit=False)
        coordinate.set_axislabel(f"{name} [{'arcsec' if solar else 'deg'}]" if shown else " ")
        coordinate.set_ticks(number=4)
        coordinate.set_ticklabel_visible(shown)
        # A rolled image would get ticks and labels of both coordinates on every side.
        side = "bl"[name == names[1]]
        coordinate.set_ticks_position(side)
        coordinate.set_ticklabel_position(side)
        coordinate.set_axislabel_position(side)
    ax.coords[0].set_ticklabel(exclude_overlapping=True)
    return ax


def check_sky_axes(axes: Any, allowed: Sequence[int]) -> list[Any]:
    """Axes that were given, as a list; WCSAxes and as many as are needed, or an error that says so.

    Parameters
    ----------
    axes : object
        As a caller gave them.
    allowed : sequence of `int`
        How many there may be.

    Raises
    ------
    TypeError
        If they are others, or more or fewer.
    """
    from astropy.visualization.wcsaxes import WCSAxes

    given = [axes] if isinstance(axes, WCSAxes) else list(np.ravel(np.asarray(axes, dtype=object)))
    if len(given) not in allowed or not all(isinstance(ax, WCSAxes) for ax in given):
        number = " or ".join(map(str, allowed))
        raise TypeError(
            f"'axes' is {number} WCSAxes, such as fig.add_subplot(projection=wcs) makes; "
            f"got {', '.join(type(ax).__name__ for ax in given)}."
        )
    return given


def show(ax: Axes, data: np.ndarray, grid: PixelGrid, **options: Any) -> Any:
    """Image on axes, with pixels as wide and high as they are on the sky and NaN in light grey.

    Parameters
    ----------
    ax : `~astropy.visualization.wcsaxes.WCSAxes`
    data : `numpy.ndarray`, shape (ny, nx)
    grid : `~sunalign.geometry.coordinates.PixelGrid`
        For the size of a pixel.
    **options
        Of `~matplotlib.axes.Axes.imshow`.
    """
    import matplotlib as mpl

    cmap = mpl.colormaps[options.pop("cmap", "gray")].with_extremes(bad="0.85")
    options.setdefault("interpolation", "nearest")
    ax.set_facecolor("0.85")
    return ax.imshow(data, origin="lower", aspect=aspect_of(grid), cmap=cmap, **options)


def stretched(data: np.ndarray) -> np.ndarray:
    """For the eye: outliers clipped, square root.

    Parameters
    ----------
    data : `numpy.ndarray`
        Intensities; NaN stay NaN.
    """
    return IntensityScaling(stretch="sqrt", clip=(1.0, 99.7)).fit(data)(data)


def smoothed(data: np.ndarray, sigma: tuple[float, float]) -> np.ndarray:
    """Gaussian mean of the valid pixels around each valid one; NaN elsewhere.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
    sigma : `tuple` of `float`
        Of the Gaussian along y and x, in pixels.
    """
    return np.where(np.isfinite(data), gaussian_smoothed(data, sigma)[0], np.nan)


def colour_bar(fig: Figure, artist: Any, axes: Any, label: str, **options: Any) -> Any:
    """Colour bar with a label.

    Parameters
    ----------
    fig : `~matplotlib.figure.Figure`
    artist : `~matplotlib.cm.ScalarMappable`
    axes : `~matplotlib.axes.Axes`, or a sequence of such
        That give up room for it.
    label : `str`
    **options
        Of `~matplotlib.figure.Figure.colorbar`.
    """
    bar = fig.colorbar(artist, ax=axes, **{"pad": 0.02, "shrink": 0.8, **options})
    bar.set_label(label)
    return bar


def parameter_label(name: str) -> str:
    """Name of a parameter with its unit, for an axis.

    Parameters
    ----------
    name : `str`
        Such as ``"shift_x"``.
    """
    unit = UNITS[name]
    words = name.replace("_", " ").capitalize()
    return words if unit == u.dimensionless_unscaled else f"{words} [{unit}]"


def history_values(result: AlignmentResult) -> dict[str, np.ndarray]:
    """Columns of the history as plain numbers.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`

    Returns
    -------
    `dict`
        Arrays of shape (n_evaluations,), each in the unit of its parameter.
    """
    values = {name: u.Quantity(result.history[name]).to_value(UNITS[name]) for name in PARAMETERS}
    return {
        **values,
        "score": np.asarray(result.history["score"], float),
        "iteration": np.asarray(result.history["iteration"], int),
    }


def short_name(result: AlignmentResult, longest: int = 40) -> str:
    """Name of the target, cut in the middle where it would not fit.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    longest : `int`
        Characters.
    """
    name = result.target.name
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"
