"""The bounded methods of `scipy.optimize`."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize
from scipy.optimize import OptimizeResult

from sunalign.abc import Optimizer
from sunalign.exceptions import AlignmentError
from sunalign.model.objective import Objective
from sunalign.model.search_space import SearchSpace

__all__ = ["ScipyOptimizer"]

# What each method is told unless the caller says otherwise; lengths are in pixels, as everything the methods see.
_FIRST = 2.0  # How far a local method first reaches out.
_LOCAL: dict[str, dict[str, Any]] = {
    "Nelder-Mead": {},
    "Powell": {},
    "L-BFGS-B": {},
    "TNC": {},
    "SLSQP": {"ftol": 1e-9},
    "COBYLA": {"rhobeg": _FIRST},
    "COBYQA": {"initial_tr_radius": _FIRST},
    "trust-constr": {"initial_tr_radius": _FIRST, "xtol": 1e-4},
}
# No derivatives within global methods: their differences are too short for the score of single-precision samples.
_GLOBAL: dict[str, dict[str, Any]] = {
    "differential_evolution": {"polish": False},
    "dual_annealing": {"no_local_search": True, "maxiter": 200},
    "shgo": {"minimizer_kwargs": {"method": "COBYLA", "options": {"rhobeg": _FIRST}}},
    "direct": {"len_tol": 5e-3},
    "brute": {"Ns": 20},
}
_DERIVATIVES = ("L-BFGS-B", "TNC", "SLSQP", "trust-constr")
_DELTA = 0.02  # Pixels over which a derivative is taken.
_OURS = (
    *("fun", "func", "x0", "args", "bounds", "ranges", "jac", "hess", "rng", "seed", "callback", "workers"),
    *("vectorized", "updating", "full_output", "finish", "initial_simplex"),
)


@dataclass(frozen=True, kw_only=True)
class ScipyOptimizer(Optimizer):
    """Any method of `scipy.optimize` that respects bounds, by its name there.

    It works on parameters in units of one reference pixel at the edge of the target, so that all are alike. Methods
    that want derivatives get central differences; `~scipy.optimize.differential_evolution` scores a whole generation at
    once. Both are where workers help.

    Parameters
    ----------
    method : `str`
        Local, for a start within a few pixels: ``"Nelder-Mead"``, ``"Powell"``, ``"L-BFGS-B"``, ``"TNC"``,
        ``"SLSQP"``, ``"COBYLA"``, ``"COBYQA"``, ``"trust-constr"``. Global: ``"differential_evolution"``,
        ``"dual_annealing"``, ``"shgo"``, ``"direct"``, ``"brute"``.
    settings : mapping, optional
        What the method is told: the ``options`` of `~scipy.optimize.minimize` for a local one, keywords for a global
        one. Lengths are in those pixels.
    polish : `bool`
        Let Nelder-Mead finish what a global method found.
    """

    method: str = "Nelder-Mead"
    settings: Mapping[str, Any] | None = None
    polish: bool = True

    def __post_init__(self) -> None:
        known = {name.lower(): name for name in (*_LOCAL, *_GLOBAL)}
        if not isinstance(self.method, str) or self.method.lower() not in known:
            raise ValueError(f"'method' is one of {', '.join(known.values())}, which know bounds; got {self.method!r}.")
        if self.settings is not None and not isinstance(self.settings, Mapping):
            raise TypeError(f"'settings' is a mapping by name; got {type(self.settings).__name__}.")
        taken = sorted(set(self.settings or {}) & set(_OURS))
        if taken:
            raise ValueError(f"'settings' cannot hold {', '.join(taken)}, which the search itself decides.")

    def maximize(self, objective: Objective, space: SearchSpace, *, rng: np.random.Generator) -> OptimizeResult:
        """See `sunalign.abc.Optimizer.maximize`."""
        # First, so that a budget that ends the search leaves no less than this.
        objective(space.start)
        loss = _Loss(objective, space)
        name = next(name for name in (*_LOCAL, *_GLOBAL) if name.lower() == self.method.lower())
        with warnings.catch_warnings():
            # A name that the method does not know is only a warning there; what else it has to say is in the message.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", category=optimize.OptimizeWarning, message="Unknown solver options")
            try:
                if name in _GLOBAL:
                    found = self._global(name, loss, rng)
                else:
                    found = _local(name, loss, np.zeros(len(space)), self.settings)
            except (TypeError, optimize.OptimizeWarning) as error:
                raise AlignmentError(f"scipy's {name} does not take these settings: {error}.") from error
        candidates = [loss.point(found.x), space.start]
        scores = objective.many(np.array(candidates))
        best = int(np.argmax(scores))
        return OptimizeResult(
            x=candidates[best],
            fun=float(scores[best]),
            success=bool(found.success and np.isfinite(scores[best])),
            message=" ".join(np.atleast_1d(found.message).astype(str)),
            nit=int(found.get("nit", 1)),
        )

    def _global(self, name: str, loss: _Loss, rng: np.random.Generator) -> OptimizeResult:
        function = getattr(optimize, name)
        given: dict[str, Any] = {**_GLOBAL[name], **(self.settings or {})}
        accepted = inspect.signature(function).parameters
        # SciPy called it seed until 1.15 (SPEC 7).
        given |= dict.fromkeys([word for word in ("rng", "seed") if word in accepted][:1], rng)
        if name == "brute":
            top, value, *_ = optimize.brute(loss, loss.bounds, full_output=True, finish=None, **given)
            found = OptimizeResult(x=np.atleast_1d(top), fun=value, success=True, message="The best point of the grid.")
        elif name == "differential_evolution":
            start = np.zeros(len(loss.bounds))
            found = function(loss.many, loss.bounds, x0=start, vectorized=True, updating="deferred", **given)
        else:
            found = function(loss, loss.bounds, **given)
        if found.x is None:
            # shgo, where it saw nothing worth a local search.
            found.x = np.zeros(len(loss.bounds))
        if not self.polish:
            return found
        finished = _local("Nelder-Mead", loss, np.asarray(found.x, float), None)
        return OptimizeResult(found, x=finished.x)


class _Loss:
    """Minus the score, in pixels from the start."""

    def __init__(self, objective: Objective, space: SearchSpace) -> None:
        self.objective = objective
        self.space = space
        self.bounds = [
            (float(low), float(high))
            for low, high in zip(*((end - space.start) / space.step for end in (space.lower, space.upper)), strict=True)
        ]
        self._worst = 0.0

    def point(self, z: np.ndarray) -> np.ndarray:
        """Parameters, within the bounds: some methods overstep them by rounding."""
        return self.space.clip(self.space.start + np.asarray(z, float) * self.space.step)

    def __call__(self, z: np.ndarray) -> float:
        return float(self._finite(np.array([self.objective(self.point(z))]))[0])

    def many(self, columns: np.ndarray) -> np.ndarray:
        """Losses of points given as the columns of an array of shape (p, n)."""
        return self._finite(self.objective.many(np.array([self.point(z) for z in columns.T])))

    def gradient(self, z: np.ndarray) -> np.ndarray:
        """Central differences, one-sided at a bound."""
        low, high = np.array(self.bounds).T
        offsets = _DELTA * np.eye(len(z))
        ends = np.clip(np.concatenate([z + offsets, z - offsets]), low, high)
        losses = self.many(ends.T)
        n = len(z)
        lengths = np.diagonal(ends[:n] - ends[n:])
        return (losses[:n] - losses[n:]) / lengths

    def _finite(self, scores: np.ndarray) -> np.ndarray:
        # A little worse than the worst so far: infinity would turn every difference and mean into nonsense.
        finite = np.isfinite(scores)
        self._worst = max(self._worst, float(np.max(-scores[finite], initial=-np.inf)))
        return np.where(finite, -scores, self._worst + 0.1 * (1 + abs(self._worst)))


def _local(name: str, loss: _Loss, z: np.ndarray, settings: Mapping[str, Any] | None) -> OptimizeResult:
    given: dict[str, Any] = {**_LOCAL[name], **(settings or {})}
    if name == "Nelder-Mead":
        given["initial_simplex"] = _simplex(z, loss.bounds)
    jac = loss.gradient if name in _DERIVATIVES else None
    z = np.clip(z, *np.array(loss.bounds).T)
    return optimize.minimize(loss, z, method=name, jac=jac, bounds=loss.bounds, options=given)


def _simplex(z: np.ndarray, bounds: list[tuple[float, float]]) -> np.ndarray:
    """The point and one neighbour along every parameter, on the side with more room."""
    simplex = np.tile(z, (len(z) + 1, 1))
    for k, (low, high) in enumerate(bounds):
        side = 1 if high - z[k] >= z[k] - low else -1
        simplex[k + 1, k] += side * min(_FIRST, max(high - z[k], z[k] - low))
    return simplex
