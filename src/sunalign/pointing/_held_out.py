"""Whether a template explains columns that it was not fitted to."""

from __future__ import annotations

import numpy as np

from sunalign.pointing._equations import ColumnSums, equations
from sunalign.pointing._solve import Solution
from sunalign.pointing._strength import posterior
from sunalign.pointing.options import PointingModel

__all__ = ["held_out_gain"]

_FOLDS = 8
_STRENGTHS = 5  # Of the drift that may stand in for a template: a coarse net tells.

Quadratic = tuple[np.ndarray, np.ndarray]


def held_out_gain(solution: Solution, model: PointingModel, index: int, columns: np.ndarray) -> float:
    """Logarithm of how much more probable a template makes columns that were left out.

    Parts of the raster, an eighth each, are left out in turn. The rest is fitted with the template and without it, with
    a drift in both, and the likelihoods of the parts that were left out are compared; above 0 the template helps.

    Parameters
    ----------
    solution : `~sunalign.pointing._solve.Solution`
        Around which all is linear.
    model : `~sunalign.pointing.options.PointingModel`
    index : `int`
        Of the template.
    columns : `numpy.ndarray`
        Columns of the target as it was given, of those of ``solution.sums``.
    """
    sums = solution.sums
    functions = model.at(columns)
    fold = np.arange(len(sums.gram)) * _FOLDS // len(sums.gram)
    out = len(solution.state.x) + index
    gain = 0.0
    for k in range(_FOLDS):
        inside, rest = (ColumnSums(sums.gram * chosen[:, None, None]) for chosen in (fold == k, fold != k))
        if min(inside.pixels.sum(), rest.pixels.sum()) < 16:
            continue
        known, judge = (_quadratic(part, functions, solution) for part in (rest, inside))
        gain += _likelihood(judge, _fitted(known, model)) - _likelihood(judge, _fitted(known, model, out))
    return float(gain)


def _quadratic(sums: ColumnSums, functions: np.ndarray, solution: Solution) -> Quadratic:
    """Linear and quadratic part of a log-likelihood of all parameters."""
    found = equations(sums, functions)
    information = found.hessian / solution.noise
    return found.gradient / solution.noise + information @ solution.around, information


def _fitted(known: Quadratic, model: PointingModel, out: int | None = None) -> np.ndarray:
    """Parameters, of which one may be kept at 0."""
    score, information = known
    kept = np.arange(len(score)) != (-1 if out is None else out)
    some = np.unique(np.linspace(0, len(model.strengths) - 1, _STRENGTHS).astype(int))
    chances = model.chances[some] / model.chances[some].sum()
    answer = posterior(score[kept], information[np.ix_(kept, kept)], model.basis.share, model.strengths[some], chances)
    values = np.zeros(len(score))
    values[kept] = answer.mean
    return values


def _likelihood(judge: Quadratic, values: np.ndarray) -> float:
    score, information = judge
    return float(score @ values - 0.5 * values @ information @ values)
