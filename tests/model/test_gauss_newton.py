"""Climbs: when they have converged, and that they tell the score."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from sunalign.metrics import NCC
from sunalign.model.gauss_newton import climb
from sunalign.model.reference_contract import Reference
from sunalign.optimizers import CoarseToFine, LevenbergMarquardt
from sunalign.testing.helpers import run, small_problem


class EndsInside(Reference):
    """Samples of another reference up to a column of the target, by a class that knows no derivatives."""

    def __init__(self, reference, last):
        self.reference, self.last = reference, last
        self.pixel_size = reference.pixel_size

    def sample(self, x, y, columns=None):
        x, y = np.broadcast_arrays(x, y)
        return np.where(x <= self.last, self.reference.sample(x, y, columns), np.nan)


@dataclass(frozen=True, kw_only=True)
class Downhill(NCC):
    """Says that the score rises where it falls."""

    def normal_equations(self, *args):
        equations = super().normal_equations(*args)
        return equations._replace(gradient=-equations.gradient)


def of_half_the_field(last=20.02, noise=8.0):
    """A reference whose edge falls between pixels so that samples there have no derivative."""
    case = small_problem(noise=noise, truth={"shift_x": 3.0, "shift_y": -5.0})
    reference = EndsInside(case.problem.reference, last)
    return case._replace(problem=replace(case.problem, reference=reference))


def test_where_coverage_ends_inside_the_field_some_samples_have_no_derivative():
    case = of_half_the_field()
    equations = case.problem.normal_equations(np.zeros(2))
    assert equations.n_pixels < np.count_nonzero(np.isfinite(case.problem.sample(np.zeros(2))))
    assert abs(equations.score - case.problem.score(np.zeros(2))) > 1e-6


@pytest.mark.parametrize("optimizer", [LevenbergMarquardt(), CoarseToFine()], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("last", [20.02, 25.0, 30.6, np.inf])
def test_what_is_told_is_the_score_of_the_answer(optimizer, last):
    case = of_half_the_field(last)
    objective = case.objective()
    found = run(optimizer, objective)
    assert found.fun == pytest.approx(case.problem.score(found.x), abs=1e-9)
    for row in objective.history:
        x = [row["shift_x"].to_value("arcsec"), row["shift_y"].to_value("arcsec")]
        assert row["score"] == pytest.approx(case.problem.score(x), abs=1e-9)
    x, best = objective.best
    assert best == pytest.approx(case.problem.score(x), abs=1e-9)


def test_a_spent_budget_tells_the_score_too():
    case = of_half_the_field()
    found = run(LevenbergMarquardt(), case.objective(max_evaluations=3))
    assert found.fun == pytest.approx(case.problem.score(found.x), abs=1e-9)


@pytest.mark.parametrize("tolerance", [1e-3, 0.05])
def test_a_climb_that_finds_no_step_uphill_has_not_converged(tolerance):
    case = small_problem(Downhill(), truth={"shift_x": 6.0})
    top = climb(case.objective(), case.space.start, tolerance=tolerance)
    assert not top.converged
    assert "No step uphill" in top.message
    np.testing.assert_array_equal(top.x, case.space.start)
    found = run(LevenbergMarquardt(), case.objective())
    assert not found.success
    assert found.message == top.message


def test_a_climb_at_the_top_has_converged_whatever_it_is_told():
    case = small_problem(Downhill())
    assert climb(case.objective(), case.truth).converged


def test_coarse_to_fine_says_why_its_last_climb_ended():
    found = run(CoarseToFine(), small_problem(Downhill(), truth={"shift_x": 6.6}).objective())
    assert not found.success
    assert found.message.startswith("The last climb did not converge. No step uphill")
