"""Errors and claims of the drift inside a raster, on simulated cases with known truth, and what it costs.

``python tests/benchmarks/drift_table.py`` writes ``docs/topic_guide/drift_table.rst.inc`` (some minutes; ``--seeds 4``
for a look). A raster of 96 × 830 pixels like SPICE's, an image like FSI's. "Off" is the rms over columns, axes and
seeds of found less true; "claimed" the rms of the errors; "off/claimed" the rms of their ratio. A raster without drift
shows by how much of their errors shift and scale are moved when a drift is allowed (the rms), and by how much their
errors grow (the median). The cost is that of the whole alignment over that of the same one without drift, in one run.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

import astropy.units as u
from astropy.table import QTable

import sunalign
from sunalign import simulate
from sunalign.pointing import table_template

OUTPUT = Path(__file__).parents[2] / "docs" / "topic_guide" / "drift_table.rst.inc"
MISMATCH = 0.75
JUMP = (40, 10 * u.arcsec, 0 * u.arcsec)
CASES: dict[str, dict[str, Any]] = {
    "drift of 5″, S/N 8": {"drift": 5 * u.arcsec},
    "drift of 5″, other structure": {"drift": 5 * u.arcsec, "mismatch": MISMATCH},
    "drift of 15″, other structure": {"drift": 15 * u.arcsec, "mismatch": MISMATCH},
    "no drift, S/N 8": {},
    "no drift, other structure": {"mismatch": MISMATCH},
    "jitter of 1″, S/N 8": {"jitter": 1 * u.arcsec},
    "jump of 10″ with template, S/N 8": {"jumps": [JUMP]},
    "jump of 10″ with template, other structure": {"jumps": [JUMP], "mismatch": MISMATCH},
    "jump of 10″ without template, S/N 8": {"jumps": [JUMP]},
}


def pair_of(seed: int, **options: Any) -> simulate.Simulated:
    """Raster and image of one seed, from a spacecraft whose motion the header tells."""
    orbit = simulate.Orbit(dsun=0.45 * u.AU, time="2024-10-17T00:00:00")
    return simulate.raster_pair(seed, cadence=60 * u.s, observer=orbit, **options)


def jump_table(pair: simulate.Simulated) -> QTable:
    """Housekeeping of a jump: what the spacecraft knows of it."""
    step, x, y = JUMP
    after = pair.pointing["step"] >= step
    return QTable({"time": pair.pointing["time"], "x": np.where(after, x, 0 * x), "y": np.where(after, y, 0 * y)})


def measure(name: str, seeds: int, timings: list[tuple[float, float]]) -> dict[str, Any]:
    """All numbers of one case."""
    off, ratio, gains, moved, grown, freedom, scores = [], [], [], [], [], [], []
    for seed in range(seeds):
        pair = pair_of(seed, **CASES[name])
        template = [table_template(jump_table(pair), "jump")] if "with template" in name else None
        begun = time.perf_counter()
        without = sunalign.align(pair.target, pair.reference, fit=("shift", "scale"), on_doubt="ignore")
        middle = time.perf_counter()
        result = sunalign.align(
            pair.target, pair.reference, fit=("shift", "scale", "drift"), pointing=template, on_doubt="ignore"
        )
        timings.append((middle - begun, time.perf_counter() - middle))
        found, true, error = (
            np.array([table[f"shift_{axis}{end}"].to_value(u.arcsec) for axis in "xy"])
            for table, end in ((result.pointing, ""), (pair.pointing, ""), (result.pointing, "_error"))
        )
        off.append(found - true)
        ratio.append((found - true) / error)
        scores.append(without.score)
        freedom.append(result.drift.freedom)
        names = without.free
        before, after = (np.array([r.correction.errors[n] for n in names]) for r in (without, result))
        moved.append((result.x - without.x) / before)
        grown.append(after / before)
        if template:
            row = result.drift.templates[0]
            gains.append((row["gain"], row["error"], row["helps"]))
    return {
        "name": name,
        "ncc": np.median(scores),
        "off": _rms(off),
        "claimed": _rms(np.array(off) / np.array(ratio)),
        "ratio": _rms(ratio),
        "freedom": np.median(freedom),
        "moved": _rms(moved),
        "grown": float(np.median(grown)),
        "gains": np.array(gains),
    }


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--out", type=Path, default=OUTPUT)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - Raster",
        "     - NCC before",
        "     - Off",
        "     - Claimed",
        "     - Off/claimed",
        "     - Degrees of freedom",
        "     - Gain",
    ]
    timings: list[tuple[float, float]] = []
    remarks = []
    for name in CASES:
        row = measure(name, options.seeds, timings)
        gains = row["gains"]
        gain = (
            f"{gains[:, 0].mean():.3f} ± {gains[:, 0].std():.3f} (claimed {gains[:, 1].mean():.3f})"
            if len(gains)
            else "-"
        )
        cells = [name, f"{row['ncc']:.2f}", f"{row['off']:.2f}″", f"{row['claimed']:.2f}″", f"{row['ratio']:.2f}",
                 f"{row['freedom']:.1f}", gain]  # fmt: skip
        lines += [f"   {'* -' if k == 0 else '  -'} {cell}" for k, cell in enumerate(cells)]
        if name.startswith("no drift"):
            remarks.append(
                f"{name[0].upper()}{name[1:]}: shift and scale move by {row['moved']:.2f} of their errors, which grow "
                f"by a factor of {row['grown']:.2f}."
            )
        print(" | ".join(cells), f"| moved {row['moved']:.2f}, grown {row['grown']:.2f}", flush=True)
    cost = np.array(timings)
    remarks.append(f"Cost, median: {np.median(cost[:, 1] / cost[:, 0]):.1f} times the same alignment without drift.")
    print("\n".join(remarks))
    options.out.write_text("\n".join([*lines, "", *remarks, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
