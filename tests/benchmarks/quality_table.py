"""Which signs tell a wrong answer from a right one: the table behind `sunalign.model.quality.LIMITS`.

Run ``python tests/benchmarks/quality_table.py`` to remake it (about ten minutes; ``--cases 120`` for a look). Cases are
simulated rasters: solvable ones over a range of noise, mismatch, masks, sizes and pointing errors (up to 40 reference
pixels of shift along each axis, 8 % of scale and 1 degree of rotation); ones that have no right answer, or none within
the bounds; and images: of which a finer reference covers 25 to 100 % ("part covered"), with an eight times coarser
reference, and of one detector with a pattern on both images while the Sun moved. An answer is right when no corner of
the target is off by more than two reference pixels of a raster, 8.88 arcsec; where a pattern holds it part of a way of
0.1 to 12 pixels ("partly held"), when its shift is off by no more than four errors that it claims and 0.05 pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import joblib
import numpy as np
from scipy import ndimage

import astropy.units as u

import sunpy.map

import sunalign
from sunalign import simulate
from sunalign.simulate import PointingError, Simulated

PIXEL = 4.44  # arcsec
REACH = 40 * PIXEL
MAX_SHIFT = 1.1 * REACH * u.arcsec
FIT = ("shift", "scale", "rotation")
SIGNS = ("score", "peak_significance", "peak_ratio", "split_half", "movement", "overlap")
Kind = Callable[[np.random.Generator, int], Simulated]


def _error(rng: np.random.Generator, reach: float = REACH) -> PointingError:
    shift = rng.uniform(-reach, reach, 2) * u.arcsec
    scale = rng.uniform(0.92, 1.08, 2)
    return PointingError(shift_x=shift[0], shift_y=shift[1], scale_x=scale[0], scale_y=scale[1],
                         rotation=rng.uniform(-1, 1) * u.deg)  # fmt: skip


def _pair(rng: np.random.Generator, seed: int, **options: object) -> Simulated:
    n_steps = int(rng.choice([32, 48, 96]))
    settings: dict[str, object] = {
        "snr": float(rng.choice([8, 3, 1])),
        "error": _error(rng),
        "n_steps": n_steps,
        "n_slit": 6 * n_steps,
        "margin": 260 * u.arcsec,
        "relation": "power",
        "rng": [seed, int(rng.integers(1 << 30))],
    }
    return simulate.raster_pair(seed % 40, **{**settings, **options})  # type: ignore[arg-type]


def _spoiled(**how: object) -> Kind:
    return lambda rng, seed: _pair(rng, seed, spoil=how)


def _part_covered(rng: np.random.Generator, seed: int) -> Simulated:
    """A reference with pixels a quarter as large that covers the middle of the target, or a bit beside it."""
    n, scale = 96, PIXEL * u.arcsec
    side = np.sqrt(rng.uniform(0.25, 1.0))
    beside = 0.4 * (1 - side) * n * scale * rng.uniform(-1, 1, 2)
    reference = {"center": (40 * u.arcsec + beside[0], -30 * u.arcsec + beside[1])}
    return simulate.image_pair(
        seed % 40,
        shape=(n, n),
        scale=scale,
        reference_scale=scale / 4,
        reference_shape=(round(4 * n * side),) * 2,
        reference=reference,
        snr=float(rng.choice([20, 8, 3])),
        error=_error(rng, REACH / 2),
        rng=[seed, int(rng.integers(1 << 30))],
    )


def _coarse_reference(rng: np.random.Generator, seed: int) -> Simulated:
    n, scale = int(rng.choice([256, 512])), PIXEL / 8 * u.arcsec
    return simulate.image_pair(
        seed % 40,
        shape=(n, n),
        scale=scale,
        snr=float(rng.choice([8, 3, 1])),
        error=_error(rng, 40 * scale.value),
        margin=260 * u.arcsec,
        rng=[seed, int(rng.integers(1 << 30))],
    )


def _fixed_pattern(rng: np.random.Generator, seed: int) -> Simulated:
    """Two images with one header by one detector, whose pattern is on both while the Sun moved."""
    return _on_both(rng, seed, float(rng.choice([20, 8])), lambda image, rng: image * _sensitivity(rng, len(image)))


def _defect_pixels(rng: np.random.Generator, seed: int) -> Simulated:
    """As `_fixed_pattern`, in much noise, with hot pixels, alone or by four, or a checkerboard of single pixels."""
    return _on_both(rng, seed, 3.0, _with_defects, reference={"photons": 9.0})


def _vignetting(rng: np.random.Generator, seed: int) -> Simulated:
    """As `_fixed_pattern`, with less light far from a place near the middle."""

    def dimmed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        y, x = np.indices(image.shape) / len(image) - rng.uniform(0.4, 0.6, 2)[:, None, None]
        return image / (1 + rng.uniform(1, 40) * (x**2 + y**2))

    return _on_both(rng, seed, float(rng.choice([20, 3])), dimmed)


def _partly_held(rng: np.random.Generator, seed: int) -> Simulated:
    """As `_fixed_pattern`, with all sorts of patterns, and a Sun that moved by little or much."""
    snr, far = float(rng.choice([100, 20, 8, 3])), float(rng.choice([0.1, 0.3, 0.5, 1, 2, 6, 12]))
    pattern = lambda image, rng: image * _flat(rng, len(image))  # noqa: E731
    return _on_both(rng, seed, snr, pattern, {"photons": snr**2}, far)


def _on_both(
    rng: np.random.Generator,
    seed: int,
    snr: float,
    pattern: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    reference: dict[str, object] | None = None,
    far: float | None = None,
) -> Simulated:
    n, scale, centre = 160, PIXEL * u.arcsec, np.array([40, -30]) * u.arcsec
    moved = (far or rng.uniform(2, 12)) * np.exp(2j * np.pi * rng.uniform()) * scale
    moved = u.Quantity([moved.real, moved.imag])
    pair = simulate.image_pair(
        seed % 40,
        shape=(n, n),
        scale=scale,
        roll=0 * u.deg,
        center=tuple(centre),
        reference_shape=(n, n),
        reference={"center": tuple(centre - moved), **(reference or {})},
        error=PointingError(shift_x=moved[0], shift_y=moved[1]),
        snr=snr,
        rng=[seed, int(rng.integers(1 << 30))],
    )
    same = int(rng.integers(1 << 30))
    target, other = (
        sunpy.map.Map(pattern(m.data, np.random.default_rng(same)), m.meta) for m in (pair.target, pair.reference)
    )
    return replace(pair, target=target, reference=other)


def _with_defects(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind, n = rng.choice(3), len(image)
    if kind == 0:
        y, x = np.mgrid[:n, :n]
        return image * (1 + rng.uniform(0.1, 0.8) * (2 * ((y + x) % 2) - 1))
    hot = rng.random((n, n)) < (0.05 if kind == 1 else 0.0125)
    excess = np.where(hot, rng.uniform(1, 30, (n, n)), 0.0)
    if kind == 2:
        excess = ndimage.maximum_filter(excess, 2)
    return image + excess * np.median(image)


def _sensitivity(rng: np.random.Generator, n: int) -> np.ndarray:
    """Checkerboard, dust, or pixels that differ."""
    y, x = np.mgrid[:n, :n]
    strength, kind = rng.uniform(0.1, 0.8), rng.choice(3)
    if kind == 0:
        size = int(rng.choice([1, 2, 4, 8]))
        return 1 + strength * (2 * ((y // size + x // size) % 2) - 1)
    if kind == 1:
        grains = ndimage.gaussian_filter((rng.random((n, n)) < 0.02).astype(float), 2.0)
        return 1 - strength * np.minimum(grains / 0.04, 1)
    return np.maximum(1 + strength * rng.normal(size=(n, n)), 0.1)


def _flat(rng: np.random.Generator, n: int) -> np.ndarray:
    """Dust, discs, an occulter, squares, a flat field, a column, a frame, or fringes."""
    y, x = np.mgrid[:n, :n]
    strength, kind = rng.uniform(0.1, 0.8), rng.choice(8)
    if kind == 0:
        width = rng.uniform(1.5, 3)
        grains = ndimage.gaussian_filter((rng.random((n, n)) < rng.uniform(0.001, 0.02)).astype(float), width)
        return 1 - strength * np.minimum(2 * np.pi * width**2 * grains, 1)
    if kind == 1:
        centres = rng.random((n, n)) < rng.uniform(0.001, 0.006)
        return 1 - strength * ndimage.binary_dilation(centres, iterations=int(rng.integers(1, 5)))
    if kind == 2:
        (cx, cy), radius = rng.uniform(-0.2, 1.2, 2) * n, rng.uniform(0.15, 0.45) * n
        return 1 - strength / (1 + np.exp((np.hypot(x - cx, y - cy) - radius) / rng.uniform(0.3, 2)))
    if kind == 3:
        size = int(rng.choice([8, 16, 32]))
        return 1 + strength * (2 * ((y // size + x // size) % 2) - 1)
    if kind == 4:
        smooth = ndimage.gaussian_filter(rng.normal(size=(n, n)), float(rng.choice([2, 4, 8])))
        return np.maximum(1 + 0.5 * strength * smooth / smooth.std(), 0.05)
    if kind == 5:
        first, width = rng.integers(5, n - 8), rng.integers(1, 5)
        return 1 + rng.choice([2 * strength, -strength]) * ((x >= first) & (x < first + width))
    if kind == 6:
        return 1 - strength * (np.minimum.reduce([x, y, n - 1 - x, n - 1 - y]) < rng.integers(2, 12))
    angle = rng.uniform(0, np.pi)
    return 1 + strength * np.cos(2 * np.pi / rng.uniform(5, 25) * (x * np.cos(angle) + y * np.sin(angle)))


KINDS: dict[str, tuple[int, Kind]] = {
    "plain": (6, _pair),
    "mismatch": (5, lambda rng, seed: _pair(rng, seed, mismatch=float(rng.uniform(0.2, 0.6)))),
    "masked 40 %": (2, _spoiled(mask_fraction=0.4)),
    "masked 90 %": (2, _spoiled(mask_fraction=0.9)),
    "saturated": (2, _spoiled(saturation=0.7)),
    "hot rows": (2, lambda rng, seed: _pair(rng, seed, hot_rows=8, cosmic_hits=1e-3)),
    "other field": (5, lambda rng, seed: _pair(rng, seed, target_scene=_scene(seed + 17))),
    "featureless": (2, lambda rng, seed: _pair(rng, seed, target_scene=_scene(seed, contrast=0.0))),
    "beyond range": (3, lambda rng, seed: _pair(rng, seed, error=_beyond(rng))),
    "part covered": (3, _part_covered),
    "coarse ref.": (2, _coarse_reference),
    "fixed pattern": (3, _fixed_pattern),
    "defect pixels": (3, _defect_pixels),
    "vignetting": (2, _vignetting),
    "partly held": (5, _partly_held),
}


def _scene(seed: int, **options: object) -> simulate.Scene:
    return simulate.Scene(seed=seed % 40, extent=(40 * u.deg, 44 * u.deg), **options)  # type: ignore[arg-type]


def _beyond(rng: np.random.Generator) -> PointingError:
    angle = rng.uniform(0, 2 * np.pi)
    far = rng.uniform(1.5, 1.9) * REACH
    return PointingError(shift_x=far * np.cos(angle) * u.arcsec, shift_y=far * np.sin(angle) * u.arcsec)


def corner_error(aligned: sunpy.map.GenericMap, truth: sunpy.map.GenericMap) -> float:
    """Largest distance, in arcsec, between where two maps put the corners of one array."""
    ny, nx = truth.data.shape
    corners = np.array([0, nx - 1, 0, nx - 1]), np.array([0, 0, ny - 1, ny - 1])
    (x1, y1), (x2, y2) = (np.array(m.wcs.wcs_pix2world(*corners, 0)) for m in (aligned, truth))
    return float(3600 * np.hypot((x1 - x2 + 180) % 360 - 180, y1 - y2).max())


def measure(kind: str, seed: int) -> dict[str, object]:
    """Align one case, and keep the signs and the truth."""
    warnings.simplefilter("ignore")
    pair = KINDS[kind][1](np.random.default_rng(seed), seed)
    fit = ("shift",) if kind == "partly held" else FIT
    result = sunalign.align(pair.target, pair.reference, fit=fit, max_shift=MAX_SHIFT, on_doubt="ignore")
    signs = {name: getattr(result.quality, name, result.score) for name in SIGNS}
    unsolvable = kind in ("other field", "featureless", "beyond range")
    error = np.inf if unsolvable else corner_error(result.aligned, pair.truth) / PIXEL
    if kind == "partly held":
        claimed = np.hypot(result.correction.errors["shift_x"], result.correction.errors["shift_y"]) / PIXEL
        error *= 2 / max(4 * claimed / np.sqrt(2), 0.05)  # Two pixels are the limit of all.
    return {"kind": kind, "seed": seed, **signs, "at_bound": bool(result.quality.at_bound), "error": error,
            "accepted": result.success}  # fmt: skip


def run(cases: int, jobs: int) -> list[dict[str, object]]:
    """Align every case."""
    weights = sum(weight for weight, _ in KINDS.values())
    todo = [
        (kind, k + 1000 * number)
        for number, (kind, (weight, _)) in enumerate(KINDS.items())
        for k in range(max(1, round(cases * weight / weights)))
    ]
    return list(joblib.Parallel(n_jobs=jobs)(joblib.delayed(measure)(*case) for case in todo))


def _auc(good: np.ndarray, bad: np.ndarray) -> float:
    """Probability that a good case is larger than a bad one."""
    return float(np.mean((good[:, None] > bad) + 0.5 * (good[:, None] == bad)))


def table(rows: list[dict[str, object]]) -> str:
    """Text of the table."""
    right = np.array([float(row["error"]) <= 2 for row in rows])  # type: ignore[arg-type]
    accepted = np.array([bool(row["accepted"]) for row in rows])
    lines = [
        f"{len(rows)} cases, {right.sum()} answers right",
        "",
        f"{'sign':<20}{'AUC':>6}{'bad kept at 95 % good':>24}",
    ]
    for name in SIGNS:
        values = np.nan_to_num(np.array([float(row[name]) for row in rows]), nan=0.0)  # type: ignore[arg-type]
        if name in ("peak_ratio", "split_half", "movement"):
            values = -values
        limit = np.quantile(values[right], 0.05)
        lines.append(f"{name:<20}{_auc(values[right], values[~right]):>6.2f}{np.mean(values[~right] >= limit):>23.0%}")
    lines += ["", f"{'kind':<14}{'cases':>6}{'right':>7}{'right kept':>12}{'wrong accepted':>16}"]
    for kind in KINDS:
        mine = np.array([row["kind"] == kind for row in rows])
        lines.append(
            f"{kind:<14}{mine.sum():>6}{(mine & right).sum():>7}{(mine & right & accepted).sum():>12}"
            f"{(mine & ~right & accepted).sum():>16}"
        )
    lines += [
        "",
        f"right answers kept: {np.mean(accepted[right]):.1%}",
        f"wrong answers accepted: {np.mean(accepted[~right]):.1%}",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=840)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", help="also write every case here")
    arguments = parser.parse_args()
    rows = run(arguments.cases, arguments.jobs)
    print(table(rows))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
