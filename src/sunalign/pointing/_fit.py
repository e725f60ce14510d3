"""The step of an alignment that finds the pointing of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

import astropy.units as u
from astropy.table import QTable

from sunalign.abc import SupportsGaussNewton
from sunalign.coordinates import ARCSEC
from sunalign.exceptions import AlignmentError
from sunalign.images import Image
from sunalign.objective import SearchSpace
from sunalign.pointing._drift import Drift
from sunalign.pointing._held_out import held_out_gain
from sunalign.pointing._model import DriftOptions, PointingModel, make_model
from sunalign.pointing._solve import Solution, columns_of, displaced_problem, solve
from sunalign.pointing._strength import posterior
from sunalign.pointing._templates import Template
from sunalign.problem import Problem
from sunalign.registry import name_of

__all__ = ["Fitted", "check_metric", "fit_drift", "split_drift"]

_SAYS_NOTHING = 0.8  # Error after over error before, beyond which the data are silent.


def split_drift(fit: str | Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """What is fitted besides the drift, and whether the drift is."""
    words = (fit,) if isinstance(fit, str) else tuple(fit)
    return tuple(word for word in words if word != "drift"), "drift" in words


def check_metric(metric: object) -> None:
    """Refuse, before any work, a metric from which no drift can be had."""
    if not isinstance(metric, SupportsGaussNewton):
        raise AlignmentError(
            f"The metric '{name_of(metric)}' offers no normal equations, from which a drift is found; "
            f"use metric='ncc', or leave drift out of fit."
        )


class Fitted(NamedTuple):
    """An answer with the pointing of the columns in it.

    ``extra`` is what the drift adds to the covariance of the affine parameters.
    """

    problem: Problem
    x: np.ndarray
    extra: np.ndarray
    drift: Drift
    evaluations: int


def fit_drift(
    problem: Problem,
    space: SearchSpace,
    x: np.ndarray,
    image: Image,
    options: DriftOptions,
    templates: Sequence[Template] = (),
) -> Fitted:
    """Fit drift and templates together with the affine parameters, from an affine answer.

    Parameters
    ----------
    problem : `~sunalign.problem.Problem`
    space : `~sunalign.objective.SearchSpace`
    x : `numpy.ndarray`
        The affine answer.
    image : `~sunalign.images.Image`
        The target, unscaled and uncropped, with the times of its columns.
    options : `~sunalign.pointing.DriftOptions`
    templates : sequence of `~sunalign.pointing.Template`
    """
    pixel = _pixel(problem)
    model = make_model(image, pixel, options, templates)
    found = solve(problem, space, x, model)
    sensitivity = _sensitivity(found, model, pixel if options.prior is None else model.strengths[0])
    said = _reason(sensitivity, pixel if options.prior is None else model.strengths[0])
    if said:
        still = make_model(image, pixel, options, templates, drift=False)
        found = solve(problem, space, x, still) if templates else found
        model = still
    refused = bool(said)
    amplitudes = np.zeros(len(model.functions)) if refused and not templates else found.amplitudes
    drift = _drift(image, problem, found, model, amplitudes, sensitivity, said)
    if refused and not templates:
        return Fitted(problem, x, np.zeros((len(x), len(x))), drift, found.iterations)
    return Fitted(
        displaced_problem(problem, model, amplitudes), found.x, _extra(found, len(x)), drift, found.iterations
    )


def _pixel(problem: Problem) -> float:
    """Size, in arcsec, of what can be told apart."""
    own = problem.reference.pixel_size
    return (own if np.isfinite(own) else float(max(problem.base.pixel_size))) / ARCSEC


def _sensitivity(found: Solution, model: PointingModel, strength: float) -> np.ndarray:
    """Error of a drift of given rms after the fit, as a part of that rms, along x and y."""
    information = found.equations.hessian / found.noise
    answer = posterior(
        np.zeros(len(information)), information, model.basis.share, np.array([strength]), np.ones(1)
    )
    q = model.basis.size
    variance = np.diag(answer.covariance)[-2 * q :].reshape(2, q).sum(axis=1)
    return np.asarray(np.sqrt(variance) / strength)


def _reason(sensitivity: np.ndarray, strength: float) -> str:
    """Why no drift is fitted; nothing where there is no reason."""
    if (sensitivity <= _SAYS_NOTHING).any():
        return ""
    return (
        f"No drift was fitted: the data would not notice one of {strength:.2g} arcsec rms (error after over before "
        f"{sensitivity[0]:.2f} along x, {sensitivity[1]:.2f} along y, at most {_SAYS_NOTHING:g} is needed)."
    )


def _extra(found: Solution, p: int) -> np.ndarray:
    """What the uncertainty of the amplitudes adds to the covariance of the affine parameters."""
    hessian = found.equations.hessian
    pull = np.linalg.solve(hessian[:p, :p], hessian[:p, p:]) if p else np.zeros((0, len(hessian)))
    return np.asarray(pull @ found.posterior.covariance[p:, p:] @ pull.T)


def _drift(
    image: Image,
    problem: Problem,
    found: Solution,
    model: PointingModel,
    amplitudes: np.ndarray,
    sensitivity: np.ndarray,
    reason: str,
) -> Drift:
    p = len(found.x)
    covariance = found.posterior.covariance[p:, p:]
    functions = model.functions
    moved = np.einsum("k,kac->ac", amplitudes, functions)
    spread = np.sqrt(np.maximum(np.einsum("jac,jk,kac->ac", functions, covariance, functions, optimize=True), 0.0))
    if reason and not model.templates:
        spread = np.full_like(spread, np.nan)
    table = _table(image, model, moved, spread)
    m = len(model.templates)
    held = [held_out_gain(found, model, k, columns_of(problem.at_finest_level())) for k in range(m)]
    templates = QTable(
        {
            "name": np.array(model.names, dtype=str),
            "gain": amplitudes[:m],
            "error": np.sqrt(np.diag(covariance)[:m]),
            "held_out": np.array(held, float),
            "helps": np.array(held, float) > 0,
        }
    )
    freedom = 0.0 if reason else found.posterior.freedom
    drift = Drift(
        table=table,
        refused=bool(reason),
        message=reason,
        freedom=freedom,
        strength=(np.zeros(2) if reason else found.posterior.strength) * u.arcsec,
        no_drift=np.nan if reason else found.posterior.nothing,
        sensitivity=sensitivity,
        templates=templates,
    )
    return drift if reason else replace(drift, message=_words(drift))


def _table(image: Image, model: PointingModel, moved: np.ndarray, spread: np.ndarray) -> QTable:
    n = len(model.valid)
    table = QTable({"column": np.arange(n)})
    times = image.times
    if times is not None and not times.is_instant:
        table["time"] = times.at(np.arange(n))
    for k, axis in enumerate("xy"):
        table[f"shift_{axis}"] = moved[k] * u.arcsec
        table[f"shift_{axis}_error"] = spread[k] * u.arcsec
    table["valid"] = model.valid
    table.meta["description"] = "To be added to the corrected coordinates of each column."
    return table


def _words(drift: Drift) -> str:
    rms, error = (value.to_value(u.arcsec) for value in (drift.rms, drift.rms_error))
    return (
        f"The columns move by {rms[0]:.2f} arcsec rms along x and {rms[1]:.2f} along y (errors {error[0]:.2f} and "
        f"{error[1]:.2f}), a smooth drift of {drift.freedom:.1f} effective degrees of freedom; "
        f"the probability of no drift is {drift.no_drift:.2g}."
    )
