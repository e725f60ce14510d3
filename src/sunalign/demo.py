"""A raster with a known pointing error, aligned as everyone would."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import astropy.units as u

from sunalign.correction import PARAMETERS, UNITS, with_error
from sunalign.exceptions import AlignmentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sunalign.result import AlignmentResult
    from sunalign.simulate import PointingError, Simulated

__all__ = ["run_demo"]

#: Before and after on a golden Sun.
_COLOURS = {"before": "#ff2f6d", "after": "#22e6ff"}
_LEVELS = (84.0, 95.0)
_FILES = ("imager.fits", "raster.fits", "raster_aligned.fits", "before_after.png")


def run_demo(
    directory: str | os.PathLike[str] = "sunalign-demo",
    *,
    seed: int = 0,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> AlignmentResult:
    """Simulate an imager frame and a raster with a pointing error, save them, align the files, and compare.

    Parameters
    ----------
    directory : path
        Where the files go; made if it does not exist.
    seed : `int`
        Of the Sun, the noise and the pointing error.
    overwrite : `bool`
        Whether the files of an earlier demo may be replaced.
    say : callable
        Takes the lines that are to be read.

    Returns
    -------
    `~sunalign.AlignmentResult`
    """
    import sunalign
    from sunalign.files.io import apply_to_file
    from sunalign.files.output import atomic_write
    from sunalign.visualization.axes import off_screen

    imager, raster, aligned, figure = (Path(directory) / name for name in _FILES)
    _check(directory, overwrite)
    error = drawn_error(seed)
    say("Simulating an imager frame and a slit raster whose header is wrong ...")
    pair = observed(seed, error)
    assert pair.reference is not None
    Path(directory).mkdir(parents=True, exist_ok=True)
    for path, image in ((imager, pair.reference), (raster, pair.target)):
        with atomic_write(path, overwrite) as temporary:
            image.save(str(temporary), overwrite=True)

    say(f"Aligning {raster} with {imager} ...")
    result = sunalign.align(raster, imager, fit=("shift", "scale", "rotation"), rng=seed, on_doubt="ignore")
    apply_to_file(raster, result.correction, aligned, overwrite=overwrite, provenance=result.provenance())
    with off_screen(), atomic_write(figure, overwrite) as temporary:
        _save(draw(result), temporary)

    say(comparison(result, error))
    say(f"The score rose from {result.initial_score:.4f} to {result.score:.4f}. {result.message}")
    say(f"Corrected raster: {aligned}\nBefore and after: {figure}")
    return result


def _check(directory: str | os.PathLike[str], overwrite: bool) -> None:
    existing = [name for name in _FILES if (Path(directory) / name).exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{Path(directory)} holds {existing[0]} already; choose another directory with --out, or pass --overwrite."
        )


def drawn_error(seed: int) -> PointingError:
    """Pointing error as large as those of real rasters.

    Parameters
    ----------
    seed : `int`
        0 or larger; the same seed draws the same error.

    Returns
    -------
    `~sunalign.simulate.PointingError`
        Shifts of up to 45 arcsec, scales of up to 3 %, a rotation of up to 0.8 degrees.
    """
    from sunalign.simulate import PointingError

    if seed < 0:
        raise AlignmentError(f"The seed of the demo is 0 or larger; got {seed}.")
    rng = np.random.default_rng([seed, 21])
    shift_x, shift_y = np.round(rng.uniform(-45, 45, 2), 1)
    scale_x, scale_y = np.round(1 + rng.uniform(-0.03, 0.03, 2), 3)
    rotation = np.round(rng.uniform(-0.8, 0.8), 2)
    return PointingError(
        shift_x=float(shift_x) * u.arcsec,
        shift_y=float(shift_y) * u.arcsec,
        scale_x=float(scale_x),
        scale_y=float(scale_y),
        rotation=float(rotation) * u.deg,
    )


def observed(seed: int, error: PointingError) -> Simulated:
    """A raster of active regions at the west limb, and an imager's frame of them, from 0.45 AU.

    Parameters
    ----------
    seed : `int`
        Of the Sun and the noise.
    error : `~sunalign.simulate.PointingError`
        The correction that the raster's header needs.

    Returns
    -------
    `~sunalign.simulate.Simulated`
    """
    from sunalign import simulate

    sun = simulate.Scene(seed=seed + 3, center=(64 * u.deg, 12 * u.deg), extent=(76 * u.deg, 50 * u.deg), loops=24)
    return simulate.raster_pair(
        seed,
        error=error,
        scene=sun,
        observer=simulate.observer(0.45 * u.AU, 0 * u.deg, 4 * u.deg, sun.time),
        center=(1750 * u.arcsec, 140 * u.arcsec),
        n_steps=216,
        n_slit=530,
        step=4 * u.arcsec,
        slit_pixel=2.196 * u.arcsec,
        reference_scale=2.2 * u.arcsec,
        reference_shape=(520, 540),
    )


def draw(result: AlignmentResult) -> Figure:
    """The imager's picture with the raster's contours, as its header has them and as corrected.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    from sunalign.visualization.axes import new_figure, picture_of, plain_wcs, sky_axes

    picture = picture_of(result)
    wcs = plain_wcs(picture.grid)
    figure = new_figure(12.5, 6.6)
    axes = [sky_axes(figure, (1, 2, k), wcs, label_y=k == 1) for k in (1, 2)]
    result.plot(axes=axes, levels=_LEVELS, annotate=False)
    titles = {"before": "before: as the header of the raster has it", "after": "after: as corrected"}
    scores = {"before": result.initial_score, "after": result.score}
    for ax, (when, title) in zip(axes, titles.items(), strict=True):
        _gild(ax, picture.data)
        for contours in ax.collections:
            contours.set(edgecolor=_COLOURS[when], linewidth=1.6)
        for outline in ax.lines:
            outline.set(color=_COLOURS[when], linewidth=1.2)
        ax.set_title(f"{title}, score {scores[when]:.3f}", fontsize="x-large")
    return figure


def _gild(ax: Axes, data: np.ndarray) -> None:
    """Show the Sun in the gold of 171 Å, from the corona off the limb to the brightest loops."""
    import sunpy.visualization.colormaps  # noqa: F401  (registers them)

    low, quiet, high = np.nanpercentile(data, (0.5, 50, 99.8))
    image = ax.images[0]
    image.set(data=np.arcsinh(np.clip(data, low, high) / quiet), cmap="sdoaia171", interpolation="bilinear")
    image.autoscale()


def _save(figure: Figure, path: Path) -> None:
    """As a PNG of 256 colours, a third as large as with all of them."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    buffer.seek(0)
    with Image.open(buffer) as picture:
        picture.convert("RGB").quantize(256, kmeans=3, dither=Image.Dither.NONE).save(path, format="png", optimize=True)


def comparison(result: AlignmentResult, error: PointingError) -> str:
    """Table of what was injected and what was found.

    Parameters
    ----------
    result : `~sunalign.AlignmentResult`
    error : `~sunalign.simulate.PointingError`
        What was injected.

    Returns
    -------
    `str`
        A line for each parameter, with by how many standard deviations it is off.
    """
    lines = [f"  {'':9}{'injected':>10}    {'recovered':26}off by"]
    for name in PARAMETERS:
        injected = float(u.Quantity(getattr(error, name)).to_value(UNITS[name]))
        found, sigma = result.correction.parameters[name], result.correction.errors.get(name, np.nan)
        text = f"{with_error(found, sigma)} {UNITS[name]}"
        off = f"{abs(found - injected) / sigma:.1f} σ" if sigma > 0 else "-"
        lines.append(f"  {name:9}{injected:10.3f}    {text:26}{off}")
    return "\n".join(lines)
