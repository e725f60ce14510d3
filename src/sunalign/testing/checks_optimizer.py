"""Laws for optimizers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import NormalEquations, Optimizer, ShiftSurface
from sunalign.metrics import NCC
from sunalign.model.budget import BudgetSpent
from sunalign.model.objective import Objective
from sunalign.testing._law import Check, require, unchanged
from sunalign.testing.helpers import SmallProblem, run, small_problem

__all__ = ["CHECKS"]

#: Enough for a careful search; those that would try every point of a grid in five dimensions are cut short.
_BUDGET = 250

_FITS: tuple[tuple[str, ...], ...] = (
    ("shift_x",),
    ("shift",),
    ("shift", "rotation"),
    ("shift", "scale"),
    ("shift", "scale", "rotation"),
)


def _cases() -> Iterator[SmallProblem]:
    """One to five dimensions, and a top that lies outside the bounds."""
    for fit in _FITS:
        yield small_problem(fit=fit, noise=4.0)
    yield small_problem(truth={"shift_x": 30.0, "shift_y": -26.0}, max_shift=16.0)


class _Answer(NamedTuple):
    case: SmallProblem
    found: OptimizeResult
    objective: Objective


#: Of the optimizer that was asked last: several laws look at the same answers.
_LATEST: dict[str, tuple[Optimizer, list[_Answer]]] = {}


def _answers(optimizer: Optimizer) -> list[_Answer]:
    if "answers" not in _LATEST or _LATEST["answers"][0] is not optimizer:
        _LATEST["answers"] = (optimizer, [_answer(optimizer, case) for case in _cases()])
    return _LATEST["answers"][1]


def _answer(optimizer: Optimizer, case: SmallProblem) -> _Answer:
    objective = case.objective(max_evaluations=_BUDGET)
    return _Answer(case, run(optimizer, objective), objective)


def check_result_is_complete(optimizer: Optimizer) -> None:
    """In one to five dimensions the answer is an `~scipy.optimize.OptimizeResult` with all its fields."""
    for case, found, _ in _answers(optimizer):
        require(isinstance(found, OptimizeResult), f"The answer is of type {type(found).__name__}.")
        missing = {"x", "fun", "success", "message", "nit"} - set(found)
        require(not missing, f"The answer lacks {', '.join(sorted(missing))}.")
        n = len(case.space)
        require(np.shape(found.x) == (n,), f"For {n} parameters x has the shape {np.shape(found.x)}.")
        require(isinstance(found.success, (bool, np.bool_)), f"'success' is True or False; got {found.success!r}.")
        require(bool(str(found.message)), "'message' says in words why the search ended.")


def check_x_is_inside_the_bounds(optimizer: Optimizer) -> None:
    """Also where the score still rises at a bound."""
    for case, found, _ in _answers(optimizer):
        inside = np.all((case.space.lower <= found.x) & (found.x <= case.space.upper))
        require(inside, f"x={found.x} is not within {case.space.lower} and {case.space.upper}.")


def check_trials_are_inside_the_bounds(optimizer: Optimizer) -> None:
    """Nothing beyond the bounds is ever tried: the reference was cropped to them."""
    for case, _, objective in _answers(optimizer):
        history = objective.history
        for p in case.space:
            tried = np.asarray(history[p.name].value)
            low, high = tried.min(initial=p.start), tried.max(initial=p.start)
            slack = 1e-9 * max(abs(p.lower), abs(p.upper))
            require(p.lower - slack <= low and high <= p.upper + slack, f"{p.name} was tried from {low} to {high}.")


def check_fun_is_the_score_at_x(optimizer: Optimizer) -> None:
    """``fun`` is what the objective gives at ``x``, not a mean, a prediction or its negative."""
    for case, found, _ in _answers(optimizer):
        score = case.problem.score(found.x)
        require(np.isclose(found.fun, score, rtol=0, atol=1e-6), f"fun={found.fun}, but the score at x is {score}.")


def check_never_worse_than_the_start(optimizer: Optimizer) -> None:
    """Begun at the top, at the bottom or among noise, a search does not end below where it began."""
    top = {"shift_x": 5.6, "shift_y": -4.4}
    for case in (
        small_problem(start=top),
        small_problem(noise=60.0, smoothness=1.0, seed=3),
        small_problem(fit=("shift", "scale", "rotation"), start={**top, "scale_x": 1.1}, truth={"scale_x": 1.1}),
    ):
        found, begun = run(optimizer, case.objective(max_evaluations=_BUDGET)), case.problem.score(case.space.start)
        require(found.fun >= begun - 1e-6, f"The search began at {begun} and ended at {found.fun}.")


def check_same_rng_same_answer(optimizer: Optimizer) -> None:
    """A search can be repeated: everything it draws comes from ``rng``."""
    case = small_problem(fit=("shift", "scale"), noise=10.0)
    one, two = (run(optimizer, case.objective(max_evaluations=_BUDGET), rng=42) for _ in range(2))
    same = np.array_equal(one.x, two.x) and one.fun == two.fun
    require(same, f"Two searches with the same rng ended at {one.x} and at {two.x}.")


def check_global_random_state_is_untouched(optimizer: Optimizer) -> None:
    """The caller's own random numbers do not change (SPEC 7)."""
    before = _random_state()
    case = small_problem()
    run(optimizer, case.objective(max_evaluations=_BUDGET))
    require(_random_state() == before, "The search used the global random state; draw from rng.")


def check_inputs_are_not_changed(optimizer: Optimizer) -> None:
    """Images and search space are as they were."""
    case = small_problem()
    space = repr(case.space)
    image = case.problem.reference._image.data  # type: ignore[attr-defined]
    with unchanged("The optimizer", case.problem.target.data, image):
        run(optimizer, case.objective(max_evaluations=_BUDGET))
    require(repr(case.space) == space, "The optimizer changed the search space.")


def check_survives_scores_that_are_missing(optimizer: Optimizer) -> None:
    """NaN everywhere, here and there, or -inf beyond an edge: the search ends with the best there is."""
    for case in (small_problem(_Barren()), small_problem(_Patchy()), small_problem(max_shift=250.0)):
        found = _survived(optimizer, case, "scores are missing")
        if np.isfinite(case.problem.score(case.space.start)):
            require(np.isfinite(found.fun), "The start has a score, and the search ended at a point that has none.")


def check_survives_a_flat_objective(optimizer: Optimizer) -> None:
    """Where every point scores the same the search ends."""
    found = _survived(optimizer, small_problem(_Flat()), "the objective is flat")
    require(found.fun == 0.5, f"Every point scores 0.5, and fun is {found.fun}.")


def check_budget_is_respected(optimizer: Optimizer) -> None:
    """No more images are compared than allowed, and the search ends soon after the budget is spent."""
    for allowed in (1, 2, 7):
        metric = _Counting()
        case = small_problem(metric, fit=("shift", "scale"))
        objective = _Impatient(case.problem, case.space, max_evaluations=allowed)
        try:
            run(optimizer, objective)
        except _NeverEndsError as error:
            raise AssertionError("The search goes on after BudgetSpent; let it through, or return.") from error
        require(
            len(metric.calls) <= allowed,
            f"{allowed} evaluations were allowed and {len(metric.calls)} images were compared; ask the objective.",
        )


def check_budget_ends_in_the_best_so_far(optimizer: Optimizer) -> None:
    """A search that catches ``BudgetSpent`` itself returns the best point it saw and does not call it a success."""
    case = small_problem(fit=("shift", "scale"))
    objective = case.objective(max_evaluations=3)
    try:
        found = optimizer.maximize(objective, case.space, rng=np.random.default_rng(0))
    except BudgetSpent:
        return
    if objective.nfev < 3:
        return
    best = objective.best
    require(best is None or found.fun >= best[1] - 1e-6, "The search saw a better point than it returned.")


def check_finds_the_top_of_a_smooth_hill(optimizer: Optimizer) -> None:
    """A shift of a pixel or two is found to within one natural step."""
    for truth in ({}, {"shift_x": -3.3, "shift_y": 2.1}):
        case = small_problem(truth=truth)
        found = run(optimizer, case.objective(max_evaluations=5000))
        off = np.abs(found.x - case.truth) / case.space.step
        require(np.all(off < 1), f"The top is at {case.truth} and the search ended at {found.x}.")


CHECKS: tuple[Check, ...] = (
    check_result_is_complete,
    check_x_is_inside_the_bounds,
    check_trials_are_inside_the_bounds,
    check_fun_is_the_score_at_x,
    check_never_worse_than_the_start,
    check_same_rng_same_answer,
    check_global_random_state_is_untouched,
    check_inputs_are_not_changed,
    check_survives_scores_that_are_missing,
    check_survives_a_flat_objective,
    check_budget_is_respected,
    check_budget_ends_in_the_best_so_far,
    check_finds_the_top_of_a_smooth_hill,
)


def _survived(optimizer: Optimizer, case: SmallProblem, where: str) -> OptimizeResult:
    try:
        found = run(optimizer, case.objective(max_evaluations=_BUDGET))
    except Exception as error:
        raise AssertionError(f"Where {where} the search raises {type(error).__name__}: {error}.") from error
    x = np.asarray(found.x, float)
    require(np.isfinite(x).all() and np.array_equal(x, case.space.clip(x)), f"Where {where} the search ends at x={x}.")
    require(not np.isnan(found.fun), f"Where {where} fun is NaN; a missing score is -inf.")
    return found


def _random_state() -> str:
    return repr((random.getstate(), np.random.get_state()))  # noqa: NPY002  (that state is what the law is about)


# Metrics that make special landscapes. They have the powers of ncc, so that the optimizers that need those run too.


@dataclass(frozen=True, kw_only=True)
class _Barren(NCC):
    """No point has a score."""

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        return np.nan

    def shift_surface(self, *args: Any) -> ShiftSurface:
        surface = super().shift_surface(*args)
        return surface._replace(scores=np.full_like(surface.scores, -np.inf))

    def normal_equations(self, *args: Any) -> NormalEquations:
        return _level(super().normal_equations(*args), np.nan)


@dataclass(frozen=True, kw_only=True)
class _Flat(NCC):
    """Every point has the same score."""

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        return 0.5

    def shift_surface(self, *args: Any) -> ShiftSurface:
        surface = super().shift_surface(*args)
        return surface._replace(scores=np.full_like(surface.scores, 0.5))

    def normal_equations(self, *args: Any) -> NormalEquations:
        return _level(super().normal_equations(*args), 0.5)


@dataclass(frozen=True, kw_only=True)
class _Patchy(NCC):
    """Every third point, or so, has no score."""

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        score = super().score(reference, target, mask)
        return np.nan if int(score * 1e6) % 3 == 0 else score


class _Counting(NCC):
    """Counts the images that are compared."""

    def __init__(self) -> None:
        object.__setattr__(self, "calls", [])

    calls: Sequence[str]

    def score(self, *args: Any) -> float:
        self.calls.append("score")  # type: ignore[attr-defined]
        return super().score(*args)

    def shift_surface(self, *args: Any) -> ShiftSurface:
        self.calls.append("shift_surface")  # type: ignore[attr-defined]
        return super().shift_surface(*args)

    def normal_equations(self, *args: Any) -> NormalEquations:
        self.calls.append("normal_equations")  # type: ignore[attr-defined]
        return super().normal_equations(*args)


def _level(equations: NormalEquations, score: float) -> NormalEquations:
    n = len(equations.gradient)
    return NormalEquations(score, np.zeros(n), np.zeros((n, n)), equations.n_pixels)


class _NeverEndsError(BaseException):
    """Passes through ``except Exception``, which is what hides a search without end."""


class _Impatient(Objective):
    """Ends a search that goes on asking long after its budget is spent."""

    refusals = 0

    def __call__(self, x: Any) -> float:
        try:
            return super().__call__(x)
        except BudgetSpent:
            self._refuse()
            raise

    def many(self, points: Any) -> np.ndarray:
        try:
            return super().many(points)
        except BudgetSpent:
            self._refuse()
            raise

    def _refuse(self) -> None:
        self.refusals += 1
        if self.refusals > 100:
            raise _NeverEndsError
