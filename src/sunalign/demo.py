"""A raster with a known pointing error, aligned as everyone would."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import astropy.units as u

from sunalign.correction import PARAMETERS, UNITS, with_error
from sunalign.exceptions import AlignmentError

if TYPE_CHECKING:
    from sunalign.result import AlignmentResult
    from sunalign.simulate import PointingError

__all__ = ["run_demo"]

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
    from sunalign import simulate
    from sunalign.files.io import apply_to_file, atomic_write
    from sunalign.visualization._axes import off_screen

    imager, raster, aligned, figure = (Path(directory) / name for name in _FILES)
    _check(directory, overwrite)
    error = drawn_error(seed)
    say("Simulating an imager frame and a slit raster whose header is wrong ...")
    pair = simulate.raster_pair(seed, error=error)
    assert pair.reference is not None
    Path(directory).mkdir(parents=True, exist_ok=True)
    for path, image in ((imager, pair.reference), (raster, pair.target)):
        with atomic_write(path, overwrite) as temporary:
            image.save(str(temporary), overwrite=True)

    say(f"Aligning {raster} with {imager} ...")
    result = sunalign.align(raster, imager, fit=("shift", "scale", "rotation"), rng=seed, on_doubt="ignore")
    apply_to_file(raster, result.correction, aligned, overwrite=overwrite, provenance=result.provenance())
    with off_screen(), atomic_write(figure, overwrite) as temporary:
        result.plot().savefig(temporary, dpi=120)

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
    """Pointing error as large as those of real rasters."""
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


def comparison(result: AlignmentResult, error: PointingError) -> str:
    """Table of what was injected and what was found."""
    lines = [f"  {'':9}{'injected':>10}    {'recovered':26}off by"]
    for name in PARAMETERS:
        injected = float(u.Quantity(getattr(error, name)).to_value(UNITS[name]))
        found, sigma = result.correction.parameters[name], result.correction.errors.get(name, np.nan)
        text = f"{with_error(found, sigma)} {UNITS[name]}"
        off = f"{abs(found - injected) / sigma:.1f} σ" if sigma > 0 else "-"
        lines.append(f"  {name:9}{injected:10.3f}    {text:26}{off}")
    return "\n".join(lines)
