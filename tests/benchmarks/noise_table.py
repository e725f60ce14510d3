"""Pull and claims where the reference is as noisy as the target, on simulated cases with known truth.

``python tests/benchmarks/noise_table.py`` writes ``docs/topic_guide/noise_table.rst.inc`` (twenty minutes on a quiet
machine). Both images have photon noise of the signal-to-noise ratio given, in a pixel of median brightness. Images are
of one instrument and have one header, and the Sun is on other pixels: parallel grids, where the pull towards half
pixels is strongest; rasters are those of `sunalign.simulate.raster_pair`. The fractional part of the shift between the
pixels goes through 0, 0.1, ... 0.9. The pull is the amplitude of the error as a sine of it, with what scatter alone
would make of that after the sign; rms is of the errors of single alignments, each of another scene; both in pixels of
the reference. The last column is std(error / claimed sigma).
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.simulate import PointingError, Scene, Simulated

PIXEL = 4.44
PSF = 1.5 * PIXEL * u.arcsec
CENTRE = (40 * u.arcsec, -30 * u.arcsec)
OUTPUT = Path(__file__).parents[2] / "docs" / "topic_guide" / "noise_table.rst.inc"
SCALINGS = ("sqrt", "linear", "log")
RATIOS = (30.0, 10.0, 5.0, 3.0, 2.0)
PHASES = np.arange(0, 1, 0.1)
Maker = Callable[[Scene, float, PointingError, int], Simulated]


def _image(shape: tuple[int, int]) -> Maker:
    def make(scene: Scene, snr: float, error: PointingError, seed: int) -> Simulated:
        # A wrong header alone would leave the pixels of both on each other.
        centre = CENTRE[0] + error.shift_x, CENTRE[1] + error.shift_y
        return simulate.image_pair(
            seed, scene=scene, shape=shape, scale=PIXEL * u.arcsec, roll=0 * u.deg, center=centre, snr=snr,
            psf_fwhm=PSF, error=error, reference={"photons": snr**2, "center": CENTRE, "psf_fwhm": PSF},
            rng=[seed, 21],
        )  # fmt: skip

    return make


def _raster(scene: Scene, snr: float, error: PointingError, seed: int) -> Simulated:
    return simulate.raster_pair(
        seed, scene=scene, n_steps=64, n_slit=420, snr=snr, error=error, reference={"photons": snr**2}, rng=[seed, 21]
    )


CASES: dict[str, tuple[Maker, int]] = {
    "image 128², level 1": (_image((128, 128)), 60),
    "image 800², level 2": (_image((800, 800)), 20),
    "raster": (_raster, 80),
}


def measure(make: Maker, n: int) -> dict[tuple[float, str], np.ndarray]:
    """Errors in pixels, the second with its sign turned, and over the claim, shape (2, n, 2), by S/N and scaling.

    Every one of another scene: what is left at a high S/N hangs on the structure.
    """
    rows: dict[tuple[float, str], list[np.ndarray]] = {(snr, scaling): [] for snr in RATIOS for scaling in SCALINGS}
    for k in range(n):
        scene = Scene(seed=k, extent=(40 * u.deg, 44 * u.deg))
        phase = PHASES[k % len(PHASES)]
        shift = np.array([2 + phase, -3 - phase]) * PIXEL
        error = PointingError(shift_x=shift[0] * u.arcsec, shift_y=shift[1] * u.arcsec)
        for snr in RATIOS:
            pair = make(scene, snr, error, k)
            for scaling in SCALINGS:
                found = sunalign.align(pair.target, pair.reference, scaling=scaling, on_doubt="ignore").correction
                off = np.array([found.shift_x.value, found.shift_y.value]) - shift
                claim = np.array([found.errors["shift_x"], found.errors["shift_y"]])
                rows[snr, scaling].append(np.array([off / PIXEL * [1, -1], off / claim]))
    return {key: np.array(values).swapaxes(0, 1) for key, values in rows.items()}


def table(repeat: int, names: list[str]) -> str:
    """Text of the table in reStructuredText."""
    rows = [("case", "S/N of both", "scaling", "pull (px)", "rms (px)", "std(error/σ)")]
    for name in names:
        make, times = CASES[name]
        sine = np.sin(2 * np.pi * np.resize(PHASES, repeat * times))
        for (snr, scaling), (off, ratio) in measure(make, repeat * times).items():
            pull = float(np.mean(off.T @ sine) / (sine @ sine))
            scatter = float(off.std() / np.sqrt(2 * (sine @ sine)))
            rows.append((name, f"{snr:g}", scaling, f"{pull:+.4f} ± {scatter:.4f}",
                         f"{np.sqrt(np.mean(off**2)):.4f}", f"{ratio.std():.2f}"))  # fmt: skip
            print(*rows[-1], sep="  ", flush=True)
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'* -' if k == 0 else '  -'} {cell}" for k, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    text = table(arguments.repeat, arguments.cases)
    arguments.out.write_text(text)


if __name__ == "__main__":
    main()
