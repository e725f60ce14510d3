"""Gauss-Newton on the score itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunalign.exceptions import AlignmentError
from sunalign.metrics import Residual
from sunalign.optimizers import LevenbergMarquardt, ScipyOptimizer
from sunalign.testing.helpers import run, small_problem

ALL = ("shift", "scale", "rotation")


@given(st.floats(-12, 12), st.floats(-12, 12), st.floats(0.97, 1.03), st.floats(0.97, 1.03), st.floats(-2, 2))
def test_finds_all_five_parameters_in_a_few_steps(shift_x, shift_y, scale_x, scale_y, rotation):
    truth = {"shift_x": shift_x, "shift_y": shift_y, "scale_x": scale_x, "scale_y": scale_y, "rotation": rotation}
    case = small_problem(fit=ALL, truth=truth, smoothness=4.0)
    objective = case.objective()
    found = run(LevenbergMarquardt(), objective)
    assert found.success
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.01
    assert objective.nfev < 20


@pytest.mark.parametrize("fit", ["shift_x", ("shift_y", "rotation"), ("scale_x",), "shift", ALL])
def test_any_subset_of_the_parameters(fit):
    truth = {"shift_x": 5.6, "shift_y": -4.4, "scale_x": 1.02, "scale_y": 0.99, "rotation": 0.5}
    case = small_problem(fit=fit, truth=truth)
    found = run(LevenbergMarquardt(), case.objective())
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.01


def test_ends_where_no_other_method_climbs_higher():
    case = small_problem(fit=ALL, noise=15.0, truth={"shift_x": 3.0})
    found = run(LevenbergMarquardt(tolerance=1e-5), case.objective())
    other = run(
        ScipyOptimizer(method="Nelder-Mead", settings={"maxfev": 2000, "xatol": 1e-6, "fatol": 1e-9}), case.objective()
    )
    assert found.fun >= other.fun - 1e-7


def test_stops_at_a_bound_and_goes_on_along_it():
    case = small_problem(truth={"shift_x": 14.0, "shift_y": -4.0}, max_shift=10.0)
    found = run(LevenbergMarquardt(), case.objective())
    assert found.x[0] == 10.0
    along = run(ScipyOptimizer(method="L-BFGS-B"), case.objective())
    np.testing.assert_allclose(found.x, along.x, atol=0.05)


def test_masked_pixels_pull_nowhere():
    # Three quarters of the target are masked, and what is under the mask says something else.
    case = small_problem(shape=(60, 60))
    data = case.problem.target.data
    wrong = np.roll(data, (5, 5), (0, 1))
    data[15:] = np.where(np.indices(data[15:].shape)[1] > 20, np.nan, data[15:])
    assert np.isnan(data).mean() > 0.4
    found = run(LevenbergMarquardt(), case.objective())
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.01
    assert not np.allclose(wrong, data, equal_nan=True)


def test_max_iter_ends_it_without_success():
    found = run(LevenbergMarquardt(max_iter=1), small_problem(truth={"shift_x": 12.0}).objective())
    assert not found.success
    assert "max_iter" in found.message


def test_a_metric_without_derivatives_is_refused():
    case = small_problem(Residual())
    with pytest.raises(AlignmentError, match="Residual offers no normal equations, which 'levenberg-marquardt' needs"):
        run(LevenbergMarquardt(), case.objective())


@pytest.mark.parametrize(
    ("options", "words"), [({"tolerance": 0}, "'tolerance' is"), ({"max_iter": 0}, "'max_iter' is")]
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        LevenbergMarquardt(**options)
