"""The correlation cube."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunalign.model.budget import BudgetSpent
from sunalign.model.search_space import SearchSpace
from sunalign.optimizers import GridSearch
from sunalign.testing.helpers import run, small_problem


def test_cube_holds_the_score_of_every_point():
    case = small_problem(fit=("shift", "scale"), noise=3.0)
    found = run(GridSearch(n_points={"shift": 5, "scale": 3}), case.objective())
    assert list(found.axes) == ["shift_x", "shift_y", "scale_x", "scale_y"]
    assert found.cube.shape == (5, 5, 3, 3) == tuple(len(axis) for axis in found.axes.values())
    for index in np.ndindex(found.cube.shape):
        x = [axis[k] for axis, k in zip(found.axes.values(), index, strict=True)]
        assert found.cube[index] == case.problem.score(x)
    for p in case.space:
        np.testing.assert_allclose(found.axes[p.name], np.linspace(p.lower, p.upper, len(found.axes[p.name])))


def test_answer_without_refinement_is_the_best_of_the_cube():
    case = small_problem(noise=3.0)
    found = run(GridSearch(step=2.0, refine=False), case.objective())
    assert found.fun == found.cube.max()
    j, i = np.unravel_index(found.cube.argmax(), found.cube.shape)
    assert found.x.tolist() == [found.axes["shift_x"][j], found.axes["shift_y"][i]]
    assert found.success


def test_steps_are_reference_pixels_from_the_start():
    case = small_problem(fit=("shift", "rotation"), start={"shift_x": 1.5}, max_shift=10.0)
    axes = run(GridSearch(step={"shift_x": 1.0, "shift": 0.5}, n_points=1), case.objective()).axes
    np.testing.assert_allclose(axes["shift_x"], [-6.5, -2.5, 1.5, 5.5, 9.5])
    np.testing.assert_allclose(axes["shift_y"], np.arange(-10, 11, 2.0))
    assert axes["rotation"].tolist() == [0.0]


def test_a_step_of_zero_holds_a_parameter():
    case = small_problem(fit=("shift", "scale"), max_shift=8.0)
    axes = run(GridSearch(step={"shift": 1.0, "scale": 0}), case.objective()).axes
    assert axes["scale_x"].tolist() == axes["scale_y"].tolist() == [1.0]
    assert len(axes["shift_x"]) == 5


def test_by_default_shifts_are_a_pixel_apart_and_the_others_few():
    case = small_problem(fit=("shift_x", "scale_x"), max_shift=8.0)
    axes = run(GridSearch(), case.objective()).axes
    np.testing.assert_allclose(axes["shift_x"], [-8, -4, 0, 4, 8])
    assert len(axes["scale_x"]) == 5


@given(st.floats(-9, 9), st.floats(-9, 9))
def test_refinement_finds_the_top_between_the_points(shift_x, shift_y):
    case = small_problem(truth={"shift_x": shift_x, "shift_y": shift_y}, max_shift=16.0)
    found = run(GridSearch(), case.objective())
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.1
    assert found.fun >= found.cube.max()


def test_refinement_in_five_dimensions():
    truth = {"scale_x": 1.01, "scale_y": 0.99, "rotation": 0.4}
    case = small_problem(fit=("shift", "scale", "rotation"), truth=truth, max_shift=8.0, shape=(30, 28))
    coarse, fine = (
        run(
            GridSearch(n_points=1, step={"shift": 1.0, "rotation": 0.5, "scale": 0.5}, refine=refine), small.objective()
        )
        for refine, small in ((False, _narrow(case)), (True, _narrow(case)))
    )
    assert fine.fun > coarse.fun
    assert np.abs((fine.x - case.truth) / case.space.step).max() < 0.2


def _narrow(case):
    """Bounds of a pixel around the whole steps that are nearest the truth."""
    parameters = []
    for p in case.space:
        centre = p.start + np.rint((case.truth[case.space.index(p.name)] - p.start) / p.step) * p.step
        parameters.append(replace(p, start=centre, lower=centre - p.step, upper=centre + p.step))
    return case._replace(space=SearchSpace(tuple(parameters)))


def test_best_point_at_a_bound_stays_there():
    case = small_problem(truth={"shift_x": 60.0, "shift_y": 0.0}, max_shift=12.0)
    found = run(GridSearch(), case.objective())
    assert found.x[0] <= 12.0


def test_no_overlap_anywhere_is_no_success():
    case = small_problem(start={"shift_x": 900.0}, max_shift=8.0)
    found = run(GridSearch(), case.objective())
    assert not found.success
    assert "enough overlap" in found.message
    assert np.isneginf(found.cube).all()


def test_budget_goes_through():
    case = small_problem()
    objective = case.objective(max_evaluations=10)
    with pytest.raises(BudgetSpent):
        GridSearch().maximize(objective, case.space, rng=np.random.default_rng(0))
    assert objective.nfev == 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"step": -0.5}, "'step' is a number of pixels, 0 or more; got -0.5"),
        ({"step": {"shift": -1.0}}, "'step' is a number of pixels, 0 or more; got -1"),
        ({"n_points": 0}, "'n_points' is a number of points, at least 1; got 0"),
        ({"n_points": 2.5}, "'n_points' is a number of points"),
        ({"n_points": {"roll": 3}}, "'n_points' is by shift, scale, rotation, shift_x, .*; got roll"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        GridSearch(**options)
