"""The default, with every metric."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.metrics import NCC, GradientCorrelation, MutualInformation, Residual
from sunalign.optimizers import CoarseToFine, FFTSearch, GridSearch, HillClimb, LevenbergMarquardt, ScipyOptimizer
from sunalign.testing.helpers import run, small_problem

METRICS = (NCC(), MutualInformation(n_bins=12), GradientCorrelation(), Residual())


@settings(max_examples=10)
@given(st.floats(-70, 70), st.floats(-70, 70), st.floats(-1, 1), st.floats(0.97, 1.03))
def test_finds_far_shifts_exactly(shift_x, shift_y, rotation, scale_x):
    truth = {"shift_x": shift_x, "shift_y": shift_y, "rotation": rotation, "scale_x": scale_x}
    case = small_problem(fit=("shift", "scale", "rotation"), truth=truth, max_shift=76.0, shape=(80, 72))
    found = run(CoarseToFine(), case.objective())
    assert found.success
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.02


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize(
    "optimizer",
    [CoarseToFine(), HillClimb(), GridSearch(), ScipyOptimizer(), ScipyOptimizer(method="direct")],
    ids=lambda o: f"{type(o).__name__}-{getattr(o, 'method', '')}",
)
def test_every_metric_works_with_every_optimizer(metric, optimizer):
    case = small_problem(metric, truth={"shift_x": 9.0, "shift_y": -6.0}, shape=(72, 64), noise=2.0)
    found = run(optimizer, case.objective())
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.5


@pytest.mark.parametrize("optimizer", [FFTSearch(), LevenbergMarquardt()])
def test_ncc_has_the_powers_that_the_fast_ones_need(optimizer):
    case = small_problem(truth={"shift_x": 9.0, "shift_y": -6.0})
    found = run(optimizer, case.objective())
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.5


@pytest.mark.parametrize("metric", METRICS[1:], ids=lambda m: type(m).__name__)
def test_a_metric_without_powers_starts_at_the_peak_of_ncc_and_climbs_with_its_own_score(metric, caplog):
    case = small_problem(metric, truth={"shift_x": 64.0, "shift_y": -60.0}, max_shift=76.0, shape=(72, 64))
    objective = case.objective()
    with caplog.at_level(logging.INFO, logger="sunpy"):
        found = run(CoarseToFine(), objective)
    assert f"{type(metric).__name__} offers no normal equations" in caplog.text
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.5
    assert found.fun == case.problem.score(found.x)


@pytest.mark.parametrize("metric", ["mutual-information", "gradient-correlation", "residual"])
def test_a_simulated_raster_is_aligned_by_every_metric(metric):
    pair = simulate.raster_pair(seed=6, n_steps=32, n_slit=200)
    result = sunalign.align(pair.target, pair.reference, metric=metric, max_shift=60 * u.arcsec, on_doubt="ignore")
    assert abs(result.correction.shift_x - pair.error.shift_x) < 2 * u.arcsec
    assert abs(result.correction.shift_y - pair.error.shift_y) < 2 * u.arcsec
    stretch = "linear" if metric == "residual" else "sqrt"
    assert result.assumptions["scaling"].startswith(stretch)
