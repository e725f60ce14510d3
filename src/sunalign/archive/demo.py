"""A small archive with a known drift of the pointing, one doubtful and one broken raster, done as everyone would."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

import astropy.units as u
from astropy.table import QTable, Table

from sunalign.exceptions import AlignmentError
from sunalign.simulate import PointingError, Scene, Simulated

__all__ = ["run_archive_demo", "simulate_archive"]

_COUNT = 12
_DOUBTFUL, _BROKEN = 4, 8  # Counted from 0.

_PRESETS = """\
# What lies beneath every row of the manifest.
default:
  fit: [shift]
  max_shift: 60arcsec

# A row whose cell 'preset' has this name is fitted for its plate scale too.
with-scale:
  fit: [shift, scale]
  bounds: {scale_x: [0.95, 1.05], scale_y: [0.95, 1.05]}
"""


def run_archive_demo(
    directory: str | os.PathLike[str] = "sunalign-demo",
    *,
    seed: int = 0,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> QTable:
    """Simulate an archive, write its manifest and presets, and do its tasks.

    Parameters
    ----------
    directory, overwrite, say
        As in `sunalign.demo.run_demo`.
    seed : `int`
        Of the Sun, the noise and the pointing.

    Returns
    -------
    `~astropy.table.QTable`
        The results; see `sunalign.align_archive`.
    """
    from sunalign.archive import align_archive, make_manifest

    folder = Path(directory)
    manifest = folder / "manifest.ecsv"
    if manifest.exists() and not overwrite:
        raise FileExistsError(
            f"{folder} holds manifest.ecsv already; choose another directory with --out, or pass --overwrite."
        )
    say(f"Simulating {_COUNT} rasters of one year, and an image for each ...")
    truth = simulate_archive(folder, seed=seed)
    table = make_manifest(folder / "rasters", folder / "images", nearest=True, relative_to=folder)
    table.write(manifest, format="ascii.ecsv", overwrite=True)
    presets = folder / "presets.yaml"
    presets.write_text(_PRESETS, encoding="utf-8")

    say(f"Aligning them, as 'sunalign archive {manifest} --presets {presets} --out {folder / 'out'}' ...")
    results = align_archive(manifest, folder / "out", presets=presets)
    say(_comparison(results, truth))
    say(f"All of it: {folder / 'out' / 'index.html'}")
    return results


def simulate_archive(directory: str | os.PathLike[str], *, seed: int = 0, whole: bool = False) -> Table:
    """Write the rasters and images of a small archive, in ``rasters`` and ``images``.

    The pointing drifts with time and with the temperature of the instrument, whose card ``T_GRAT`` is in the headers.
    One raster shows another Sun than its image, so that the answer has to be doubtful, and one file is cut off.

    Parameters
    ----------
    directory : path
        Made if it does not exist; files of an earlier demo are replaced.
    seed : `int`
        Of the Sun, the noise and the pointing.
    whole : `bool`
        Whether the file that is cut off is whole instead.

    Returns
    -------
    `~astropy.table.Table`
        ``id``, and the injected ``shift_x`` and ``shift_y``.
    """
    if seed < 0:
        raise AlignmentError(f"The seed of the demo is 0 or larger; got {seed}.")
    folder = Path(directory)
    for name in ("rasters", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 34])
    scene, other = (Scene(seed=seed + k, extent=(40 * u.deg, 44 * u.deg)) for k in (0, 1000))
    rows = []
    for number in range(_COUNT):
        temperature = 15 + 3 * np.cos(2 * np.pi * number / _COUNT) + rng.normal(0, 0.2)
        shift = (10 + 1.5 * (temperature - 15) + rng.normal(0, 0.3), -12 + 0.8 * number + rng.normal(0, 0.3))
        pair = _pair(scene, other if number == _DOUBTFUL else None, number, shift, temperature, seed)
        day = f"{pair.target.reference_date.strftime('%Y%m%d')}"
        raster = folder / "rasters" / f"raster_{day}.fits"
        _save(pair, raster, folder / "images" / f"image_{day}.fits")
        if number == _BROKEN and not whole:
            # Its header is whole, so that it is found; most of its pixels are missing.
            raster.write_bytes(raster.read_bytes()[: 12 * 2880])
        rows.append((raster.stem, *shift))
    return Table(rows=rows, names=["id", "shift_x", "shift_y"])


def _pair(
    scene: Scene, target_scene: Scene | None, number: int, shift: tuple[float, float], temperature: float, seed: int
) -> Simulated:
    from sunalign import simulate

    distance = 0.65 + 0.3 * np.cos(4 * np.pi * number / _COUNT)
    time = scene.time + number * 30 * u.day
    # The slit sees the same piece of the Sun at every distance.
    size = 0.45 / distance
    return simulate.raster_pair(
        seed,
        scene=scene,
        target_scene=target_scene,
        n_steps=32,
        n_slit=200,
        step=6 * size * u.arcsec,
        slit_pixel=1.098 * size * u.arcsec,
        reference_scale=4.44 * size * u.arcsec,
        observer=simulate.observer(distance * u.AU, *scene.center, time),
        start=time,
        error=PointingError(shift_x=shift[0] * u.arcsec, shift_y=shift[1] * u.arcsec),
        rng=[seed, 11, number],
        reference={"rng": [seed, 12, number]},
        meta={"T_GRAT": float(temperature)},
    )


def _save(pair: Simulated, raster: Path, image: Path) -> None:
    from sunalign.files.output import atomic_write

    assert pair.reference is not None
    pair.target.meta["keycomments"] = {"T_GRAT": "[Celsius] temperature of the grating"}
    for path, content in ((raster, pair.target), (image, pair.reference)):
        with atomic_write(path, overwrite=True) as temporary:
            content.save(str(temporary), overwrite=True)


def _comparison(results: QTable, truth: Table) -> str:
    """Table of what was injected and what was found."""
    lines = [f"  {'':17}{'state':10}{'shift_x injected, found':32}shift_y injected, found"]
    for row, true in zip(results, truth, strict=True):
        cells = []
        for name in ("shift_x", "shift_y"):
            value, error = row[name], row[f"{name}_error"]
            found = f"{value.value:6.2f} ± {error.value:.2f}" if np.isfinite(error) else "     -"
            cells.append(f"{true[name]:6.2f}, {found}".ljust(32))
        lines.append(f"  {row['id']:17}{row['state']:10}{''.join(cells)}".rstrip())
    return "\n".join(lines)
