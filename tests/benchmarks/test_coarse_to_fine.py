"""The default optimizer against the clock, and against the hill-climber in the same run.

``pytest tests/benchmarks/test_coarse_to_fine.py`` prints the table; the ratio to the hill-climber and the two scores on
the forward model are in the extra columns of ``--benchmark-json``, and printed with ``-s``.
"""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import astropy.units as u

import sunpy.map

import sunalign
from sunalign import simulate
from sunalign.model.objective import Objective
from sunalign.model.reference import ImageReference
from sunalign.optimizers import CoarseToFine, HillClimb
from sunalign.simulate import PointingError

ALL = ("shift", "scale", "rotation")
ERROR = PointingError(shift_x=12 * u.arcsec, shift_y=-48 * u.arcsec, scale_x=1.03, scale_y=0.998, rotation=0.3 * u.deg)


@pytest.fixture(scope="module")
def raster():
    return simulate.raster_pair(3, error=ERROR, n_steps=96, n_slit=830)


@pytest.fixture(scope="module")
def problem_and_space(raster):
    result = sunalign.align(raster.target, raster.reference, fit=ALL)
    return result.problem, result.space


def fresh(problem):
    """The same arrays with nothing derived from them yet: no spline, no coarser version."""
    return replace(problem, reference=ImageReference(problem.reference._image, problem.reference.mapping))


def search(optimizer, problem, space):
    return optimizer.maximize(Objective(fresh(problem), space), space, rng=np.random.default_rng(0))


def test_five_parameters_of_a_raster_in_memory(benchmark, problem_and_space):
    problem, space = problem_and_space
    found = benchmark(search, CoarseToFine(), problem, space)
    assert found.success


def test_ratio_to_the_hill_climber(benchmark, problem_and_space):
    problem, space = problem_and_space

    def once():
        seconds, scores = [], []
        for optimizer in (CoarseToFine(), HillClimb(n_neighbors=60)):
            before = time.perf_counter()
            scores.append(search(optimizer, problem, space).fun)
            seconds.append(time.perf_counter() - before)
        return seconds[1] / seconds[0], scores

    ratio, (ours, theirs) = benchmark.pedantic(once, rounds=3)
    benchmark.extra_info |= {"ratio": ratio, "ncc coarse-to-fine": ours, "ncc hill-climb": theirs}
    print(f"\nhill-climb / coarse-to-fine: {ratio:.0f} times as long; NCC {theirs:.5f} against {ours:.5f}")
    assert ours >= theirs


def test_whole_call_on_maps(benchmark, raster):
    result = benchmark(sunalign.align, raster.target, raster.reference, fit=ALL)
    assert result.success


@pytest.fixture(scope="module", params=[1024, 2048])
def square(request):
    n, rng = request.param, np.random.default_rng(0)
    frequency = np.fft.fftfreq(n + 400)[:, None] ** 2 + np.fft.rfftfreq(n + 400) ** 2
    field = np.zeros((n + 400, n + 400))
    for sigma in (3, 8, 30):
        part = np.fft.irfft2(
            np.fft.rfft2(rng.standard_normal(field.shape)) * np.exp(-2 * (np.pi * sigma) ** 2 * frequency)
        )
        field += part / part.std()
    field = np.exp(0.4 * field) * 100

    def cut(dx, dy):
        header = {
            "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CDELT1": 0.6,
            "CDELT2": 0.6, "CRVAL1": 0, "CRVAL2": 0, "CRPIX1": (n + 1) / 2, "CRPIX2": (n + 1) / 2,
            "DATE-OBS": "2024-01-01T00:00:00", "HGLN_OBS": 0, "HGLT_OBS": 0, "DSUN_OBS": 1.5e11, "RSUN_REF": 6.957e8,
        }  # fmt: skip
        data = field[200 + dy : 200 + dy + n, 200 + dx : 200 + dx + n] + rng.normal(0, 3, (n, n))
        return sunpy.map.Map(data, header)

    return cut(23, -31), cut(0, 0)


def test_shift_of_a_large_image(benchmark, square):
    target, reference = square
    benchmark.name = f"shift within 64 px, {target.data.shape[0]}²"
    result = benchmark.pedantic(
        sunalign.align,
        (target, reference),
        {"fit": "shift", "max_shift": 64 * 0.6 * u.arcsec},
        rounds=5,
        warmup_rounds=1,
    )
    assert abs(result.correction.shift_x - 23 * 0.6 * u.arcsec) < 0.01 * u.arcsec
    assert abs(result.correction.shift_y + 31 * 0.6 * u.arcsec) < 0.01 * u.arcsec


def test_shift_of_a_large_image_in_memory(benchmark, square):
    target, reference = square
    benchmark.name = f"shift within 64 px, {target.data.shape[0]}², arrays in memory"
    result = sunalign.align(target, reference, fit="shift", max_shift=64 * 0.6 * u.arcsec)
    benchmark.pedantic(search, (CoarseToFine(), result.problem, result.space), rounds=5, warmup_rounds=1)


MEMORY = """
import resource, sys
sys.path.insert(0, {folder!r})
import numpy as np, astropy.units as u, sunpy.map, sunalign
rng = np.random.default_rng(0)
field = np.exp(np.cumsum(np.cumsum(rng.standard_normal((2448, 2448)), 0), 1) / 3000)
header = {{"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CDELT1": 0.6,
    "CDELT2": 0.6, "CRVAL1": 0, "CRVAL2": 0, "CRPIX1": 1024.5, "CRPIX2": 1024.5, "DATE-OBS": "2024-01-01",
    "HGLN_OBS": 0, "HGLT_OBS": 0, "DSUN_OBS": 1.5e11, "RSUN_REF": 6.957e8}}
cut = lambda dx, dy: sunpy.map.Map(field[200 + dy : 2248 + dy, 200 + dx : 2248 + dx].copy(), dict(header))
target, reference = cut(9, -5), cut(0, 0)
del field
sunalign.align(target, reference, max_shift=64 * 0.6 * u.arcsec, on_doubt="ignore")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_peak_memory_at_2048(benchmark):
    def once():
        code = MEMORY.format(folder="src")
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    megabytes = benchmark.pedantic(once, rounds=1)
    benchmark.extra_info["megabytes"] = megabytes
    print(f"\npeak memory of the whole process: {megabytes:.0f} MB")
    assert megabytes < 1000
