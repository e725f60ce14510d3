"""Cost of one score, beside the cost of one by the method of the original documents.

Run with ``pytest tests/benchmarks/test_score.py``. `test_goal` measures both in one run, turn by turn, and holds their
ratio at 512² to the goal; the others are for `pytest-benchmark`'s table.
"""

import statistics
import time

import numpy as np
import pytest
from scipy import ndimage

from astropy.wcs import WCS

from sunalign.geometry.coordinates import PixelGrid
from sunalign.images import Image
from sunalign.metrics import NCC, GradientCorrelation, MutualInformation, Residual
from sunalign.model.problem import Problem
from sunalign.model.reference import ImageReference

SHAPES = [(155, 225), (512, 512), (1024, 1024)]
NAMES = ("shift_x", "shift_y", "scale_x", "scale_y")
TRIAL = np.array([14.3, -8.9, 1.012, 0.991])
PIXEL = 4.44
MARGIN = 16


def grid(shape, roll):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit, wcs.wcs.cdelt = ["HPLN-TAN", "HPLT-TAN"], ["arcsec"] * 2, [PIXEL] * 2
    wcs.wcs.crpix = (np.array(shape[::-1]) + 1) / 2
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    wcs.wcs.pc = [[cos, -sin], [sin, cos]]
    wcs.wcs.set()
    return PixelGrid(wcs, shape)


def images(shape):
    """Target with a tenth of its rows missing, and a reference with a margin."""
    rng = np.random.default_rng(0)
    wide = ndimage.gaussian_filter(rng.normal(size=tuple(n + 2 * MARGIN for n in shape)), 3)
    target = wide[MARGIN:-MARGIN, MARGIN:-MARGIN] + 0.05 * rng.normal(size=shape)
    target[: shape[0] // 10] = np.nan
    return target, wide


def problem(shape, roll=0.0, metric=None):
    data, wide = images(shape)
    target = Image(data, grid(shape, roll))
    reference = ImageReference.of(Image(wide, grid(wide.shape, 0.0)), target)
    return Problem(target, reference, metric or NCC(), target.grid, target.grid.centre, NAMES)


def documented_score(reference, target, shift, scale):
    """One score as the original documents describe it: stretch the target, move it by whole pixels, correlate."""
    centre = (np.array(target.shape) - 1) / 2
    matrix = np.diag([1 / scale[1], 1 / scale[0]])
    moved = ndimage.affine_transform(target, matrix, offset=centre - matrix @ centre, order=1, cval=np.nan)
    dx, dy = (round(s) for s in shift)
    ny, nx = moved.shape
    shifted = np.zeros_like(moved)
    shifted[max(dy, 0) : ny + min(dy, 0), max(dx, 0) : nx + min(dx, 0)] = (
        moved[max(-dy, 0) : ny + min(-dy, 0), max(-dx, 0) : nx + min(-dx, 0)]
    )  # fmt: skip
    valid = np.isfinite(reference) & np.isfinite(shifted)
    a, b = reference[valid], shifted[valid]
    a, b = a - a.mean(), b - b.mean()
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("roll", [0.0, 2.88], ids=["aligned", "rolled"])
def test_score(benchmark, shape, roll):
    p = problem(shape, roll)
    p.score(TRIAL)
    benchmark.group = f"one score, {shape[0]}x{shape[1]}"
    benchmark(p.score, TRIAL)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_documented_score(benchmark, shape):
    target, wide = images(shape)
    reference = wide[MARGIN:-MARGIN, MARGIN:-MARGIN].copy()
    benchmark.group = f"one score, {shape[0]}x{shape[1]}"
    benchmark(documented_score, reference, target, TRIAL[:2] / PIXEL, TRIAL[2:])


@pytest.mark.parametrize(
    "metric", [NCC(), MutualInformation(), GradientCorrelation(), Residual()], ids=lambda m: type(m).__name__
)
def test_metric(benchmark, metric):
    p = problem((512, 512))
    sampled = p.sample(TRIAL)
    mask = p.target_mask | ~np.isfinite(sampled)
    benchmark.group = "metric alone, 512x512"
    benchmark(metric.score, sampled, p.target.data, mask)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_normal_equations(benchmark, shape):
    p = problem(shape)
    p.normal_equations(TRIAL)
    benchmark.group = "normal equations, 4 parameters"
    benchmark(p.normal_equations, TRIAL)


def test_goal():
    p = problem((512, 512))
    target, wide = images((512, 512))
    reference = wide[MARGIN:-MARGIN, MARGIN:-MARGIN].copy()
    calls = (
        lambda: p.score(TRIAL),
        lambda: documented_score(reference, target, TRIAL[:2] / PIXEL, TRIAL[2:]),
    )
    times = [[], []]
    for _ in range(40):
        # In turn, so that a busy machine slows both.
        for call, spent in zip(calls, times, strict=True):
            begun = time.perf_counter()
            call()
            spent.append(time.perf_counter() - begun)
    ours, theirs = (statistics.median(spent[5:]) for spent in times)
    print(f"\none score at 512²: {1e3 * ours:.2f} ms, documented {1e3 * theirs:.2f} ms, ratio {ours / theirs:.3f}")
    assert ours < 0.3 * theirs
