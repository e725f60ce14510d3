"""SciPy's bounded methods, by their names there."""

import numpy as np
import pytest

from sunalign.exceptions import AlignmentError
from sunalign.metrics import GradientCorrelation
from sunalign.model.budget import BudgetSpent
from sunalign.optimizers import LevenbergMarquardt, ScipyOptimizer
from sunalign.testing.helpers import run, small_problem

LOCAL = ("Nelder-Mead", "Powell", "L-BFGS-B", "TNC", "SLSQP", "COBYLA", "COBYQA", "trust-constr")
GLOBAL = ("differential_evolution", "dual_annealing", "shgo", "direct", "brute")
FAR = {"shift_x": -7.3, "shift_y": 5.1}


@pytest.mark.parametrize("method", [*LOCAL, *GLOBAL])
def test_finds_what_levenberg_marquardt_finds(method):
    case = small_problem(truth=FAR, noise=2.0)
    best = run(LevenbergMarquardt(), case.objective())
    found = run(ScipyOptimizer(method=method), case.objective())
    assert found.success
    assert np.abs((found.x - best.x) / case.space.step).max() < 0.02
    assert found.fun == pytest.approx(best.fun, abs=1e-5)


@pytest.mark.parametrize("method", [*LOCAL, "differential_evolution", "direct"])
def test_parameters_of_all_kinds_are_alike_to_it(method):
    # An arcsecond, a percent and a tenth of a degree each move the edge by about a pixel.
    case = small_problem(fit=("shift", "scale"), truth={**FAR, "scale_x": 1.03, "scale_y": 0.98}, noise=2.0)
    best = run(LevenbergMarquardt(), case.objective())
    found = run(ScipyOptimizer(method=method), case.objective())
    assert np.abs((found.x - best.x) / case.space.step).max() < 0.05


@pytest.mark.parametrize("method", [*LOCAL, *GLOBAL])
@pytest.mark.parametrize("allowed", [1, 2, 3, 17])
def test_budget_goes_through(method, allowed):
    case = small_problem(truth=FAR)
    objective = case.objective(max_evaluations=allowed)
    with pytest.raises(BudgetSpent):
        ScipyOptimizer(method=method).maximize(objective, case.space, rng=np.random.default_rng(0))
    assert objective.nfev == allowed


@pytest.mark.parametrize("method", [*LOCAL, *GLOBAL])
def test_places_without_a_score_are_survived(method):
    # Bounds so wide that most of the space has no overlap.
    case = small_problem(truth=FAR, max_shift=400.0)
    found = run(ScipyOptimizer(method=method), case.objective(max_evaluations=600))
    assert np.isfinite(found.fun)
    assert found.fun >= case.problem.score(case.space.start)


@pytest.mark.parametrize("method", ["differential_evolution", "dual_annealing"])
def test_draws_come_from_the_rng(method):
    def found(seed):
        objective = small_problem(truth=FAR, noise=9.0).objective()
        run(ScipyOptimizer(method=method, polish=False, settings={"maxiter": 3}), objective, rng=seed)
        return objective.history["score"].tolist()

    assert found(1) == found(1) != found(2)


def test_settings_reach_the_method():
    case = small_problem(truth=FAR)
    few = run(ScipyOptimizer(method="Nelder-Mead", settings={"maxiter": 3}), case.objective())
    assert not few.success
    assert few.nit == 3
    grid = case.objective()
    run(ScipyOptimizer(method="brute", settings={"Ns": 4}, polish=False), grid)
    assert grid.nfev == 16 + 1  # and the start


def test_polish_is_for_global_methods():
    case = small_problem(truth=FAR)
    rough, fine = (
        run(ScipyOptimizer(method="brute", settings={"Ns": 7}, polish=polish), case.objective())
        for polish in (False, True)
    )
    assert fine.fun > rough.fun
    assert np.abs((fine.x - case.truth) / case.space.step).max() < 0.01


def test_differential_evolution_scores_a_generation_at_once():
    batches = []
    case = small_problem(truth=FAR)
    objective = case.objective()
    many = objective.many
    objective.many = lambda points: (batches.append(len(points)), many(points))[1]
    run(ScipyOptimizer(method="differential_evolution", settings={"maxiter": 2}, polish=False), objective)
    assert batches[:3] == [30, 30, 30]


def test_any_metric_will_do():
    case = small_problem(GradientCorrelation(), truth=FAR, noise=2.0)
    found = run(ScipyOptimizer(method="cobyla"), case.objective())
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.2


@pytest.mark.parametrize("method", ["BFGS", "newton-cg", "basinhopping", "", None])
def test_methods_without_bounds_are_refused(method):
    with pytest.raises(ValueError, match=r"'method' is one of Nelder-Mead, .*, brute, which know bounds; got"):
        ScipyOptimizer(method=method)


@pytest.mark.parametrize("name", ["x0", "bounds", "rng", "initial_simplex"])
def test_settings_that_are_the_searchs_own_are_refused(name):
    with pytest.raises(ValueError, match=f"'settings' cannot hold {name}"):
        ScipyOptimizer(settings={name: 1})
    with pytest.raises(TypeError, match="'settings' is a mapping by name; got list"):
        ScipyOptimizer(settings=[name])


@pytest.mark.parametrize("method", ["Nelder-Mead", "L-BFGS-B", "differential_evolution", "direct"])
def test_a_setting_the_method_does_not_know_is_an_error(method):
    case = small_problem()
    with pytest.raises(AlignmentError, match=f"scipy's {method} does not take these settings: .*wings"):
        run(ScipyOptimizer(method=method, settings={"wings": 2}), case.objective())
