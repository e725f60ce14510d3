"""The hill-climb on a raster of 96 x 830 pixels over a reference of some 155 x 225, and what the default takes for it.

Run with ``pytest tests/benchmarks/test_hill_climb.py``. Arrays in memory, intensities scaled, splines made: what is
left is the search.
"""

import numpy as np
import pytest

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.metrics import NCC
from sunalign.model.objective import Objective
from sunalign.optimizers import CoarseToFine, HillClimb

FIT = ("shift", "scale")


@pytest.fixture(scope="module")
def aligned():
    # 225 x 155 pixels of 4.44 arcsec cover the raster with its search range.
    pair = simulate.raster_pair(seed=3, margin=32 * u.arcsec)
    return sunalign.align(pair.target, pair.reference, fit=FIT, max_shift=60 * u.arcsec, on_doubt="ignore")


@pytest.fixture(scope="module")
def space(aligned):
    from sunalign.alignment.search import limits_of, make_space, start_values

    problem = aligned.problem
    begin = start_values(None, np.array(problem.moved.pivot_angles) * u.rad)
    limits = limits_of(problem.names, begin, 60 * u.arcsec, None)
    return make_space(limits, begin, problem.base, problem.reference.pixel_size)


def search(aligned, space, optimizer, n_jobs=1):
    with Objective(aligned.problem, space, n_jobs=n_jobs) as objective:
        found = optimizer.maximize(objective, space, rng=np.random.default_rng(0))
    return found, objective.nfev


@pytest.mark.parametrize("n_jobs", [1, 2], ids=["serial", "n_jobs=2"])
@pytest.mark.parametrize("n_neighbors", [20, 60])
def test_hill_climb(benchmark, aligned, space, n_neighbors, n_jobs):
    optimizer = HillClimb(n_neighbors=n_neighbors)
    search(aligned, space, optimizer, n_jobs)  # workers started, images mapped
    benchmark.group = f"hill-climb, n_neighbors={n_neighbors}"
    found, nfev = benchmark.pedantic(search, (aligned, space, optimizer, n_jobs), rounds=3)
    benchmark.extra_info |= {"nfev": nfev, "score": found.fun}
    assert abs(found.fun - aligned.score) < 0.01


def test_coarse_to_fine(benchmark, aligned, space):
    search(aligned, space, CoarseToFine())
    benchmark.group = "coarse-to-fine"
    found, nfev = benchmark.pedantic(search, (aligned, space, CoarseToFine()), rounds=10)
    benchmark.extra_info |= {"nfev": nfev, "score": found.fun}


def test_default_is_better_and_faster(aligned, space):
    """The default's score on the forward model is never below the hill-climb's, for far fewer images compared."""
    (fine, few), (rough, many) = (search(aligned, space, o) for o in (CoarseToFine(), HillClimb(n_neighbors=60)))
    assert aligned.problem.metric == NCC()
    assert fine.fun >= rough.fun - 1e-6
    assert 5 * few < many
