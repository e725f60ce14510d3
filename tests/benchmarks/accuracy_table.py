"""Errors, claims and costs of every optimizer on simulated cases with known truth.

``python tests/benchmarks/accuracy_table.py`` writes ``docs/topic_guide/accuracy_table.rst.inc`` (about ten minutes;
``--seeds 1`` for a look). Errors are the largest over the corners of the target, in pixels of the reference: the
median over the seeds. The claim is the 1-sigma error of the shift in the same pixels. The score is the forward model's
NCC on the target's own pixels, the same yardstick for all.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

import astropy.units as u

import sunpy.map

import sunalign
from sunalign import simulate
from sunalign.simulate import PointingError, Simulated

PIXEL = 4.44
OUTPUT = Path(__file__).parents[2] / "docs" / "topic_guide" / "accuracy_table.rst.inc"
SMALL = PointingError(
    shift_x=12.3 * u.arcsec, shift_y=-9.1 * u.arcsec, scale_x=1.01, scale_y=0.995, rotation=0.15 * u.deg
)
Case = tuple[Callable[[int], Simulated], float]


def _error(**changes: object) -> PointingError:
    return PointingError(**{**{name: getattr(SMALL, name) for name in ("shift_x", "shift_y")}, **changes})  # type: ignore[arg-type]


def _raster(**options: object) -> Case:
    return lambda seed: simulate.raster_pair(seed, **{"margin": 60 * u.arcsec, "error": SMALL} | options), 60.0  # type: ignore[arg-type]


def _image(**options: object) -> Case:
    options = {"margin": 80 * u.arcsec, "error": SMALL, "shape": (400, 400)} | options
    return lambda seed: simulate.image_pair(seed, **options), 60.0  # type: ignore[arg-type]


def _far(case: Case) -> Case:
    return case[0], 330.0


def cases() -> dict[str, Case]:
    """Every simulated case by name, with the largest shift to search in arcsec."""
    far = {"error": _error(shift_x=-212 * u.arcsec, shift_y=212 * u.arcsec), "margin": 340 * u.arcsec}
    made: dict[str, Case] = {}
    for word, make in (("raster", _raster), ("image", _image)):
        made |= {f"{word}, S/N {snr}": make(snr=float(snr)) for snr in (8, 3, 1)}
        made[f"{word}, mismatch"] = make(mismatch=0.55)
        made[f"{word}, 40 % masked"] = make(spoil={"mask_fraction": 0.4})
        made[f"{word}, roll 0.7°"] = make(error=_error(rotation=0.7 * u.deg))
        made[f"{word}, scale 1.06"] = make(error=_error(scale_x=1.06))
        made[f"{word}, shift 300″"] = _far(make(**far))
    return made


def corner_error(aligned: sunpy.map.GenericMap, truth: sunpy.map.GenericMap) -> float:
    """Largest distance, in arcsec, between where two maps put the corners of one array, by wcslib alone."""
    ny, nx = truth.data.shape
    corners = np.array([0, nx - 1, 0, nx - 1]), np.array([0, 0, ny - 1, ny - 1])
    (x1, y1), (x2, y2) = (np.array(m.wcs.wcs_pix2world(*corners, 0)) for m in (aligned, truth))
    return float(3600 * np.hypot((x1 - x2 + 180) % 360 - 180, y1 - y2).max())


OPTIMIZERS: dict[str, dict[str, object]] = {
    "coarse-to-fine": {},
    "levenberg-marquardt": {},
    "fft-search": {"n_scales": 5, "n_rotations": 5},
    "hill-climb": {},
    "scipy": {"method": "Nelder-Mead"},
}


def measure(pair: Simulated, optimizer: str, max_shift: float) -> tuple[float, float, float, float, float]:
    """Error and claim in pixels, seconds of processor time, evaluations and score."""
    options = OPTIMIZERS[optimizer]
    before = time.process_time()
    result = sunalign.align(
        pair.target, pair.reference, fit=("shift", "scale", "rotation"), max_shift=max_shift * u.arcsec,
        optimizer=optimizer, on_doubt="ignore", **options,
    )  # fmt: skip
    seconds = time.process_time() - before
    claim = np.hypot(result.correction.errors["shift_x"], result.correction.errors["shift_y"]) / PIXEL
    error = corner_error(result.aligned, pair.truth) / PIXEL
    return error, float(claim), seconds, float(result.nfev), result.score


def table(seeds: int, optimizers: Sequence[str]) -> str:
    """Text of the table in reStructuredText."""
    head = ("case", "optimizer", "error (px)", "claim (px)", "processor (s)", "evaluations", "NCC")
    rows = [head]
    for name, (make, max_shift) in cases().items():
        pairs = [make(seed) for seed in range(seeds)]
        for optimizer in optimizers:
            measured = [measure(pair, optimizer, max_shift) for pair in pairs]
            error, claim, seconds, nfev, score = np.median(np.array(measured), axis=0)
            rows.append((name if optimizer == optimizers[0] else "", optimizer, f"{error:.3f}", f"{claim:.3f}",
                         f"{seconds:.2f}", f"{nfev:.0f}", f"{score:.4f}"))  # fmt: skip
        print(*rows[-len(optimizers) :], sep="\n", flush=True)
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'* -' if k == 0 else '  -'} {cell}".rstrip() for k, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS), choices=list(OPTIMIZERS))
    parser.add_argument("--out", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    text = table(arguments.seeds, arguments.optimizers)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text)


if __name__ == "__main__":
    main()
