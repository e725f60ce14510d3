"""The step of an alignment that finds the pointing of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

import astropy.units as u
from astropy.table import QTable

from sunalign.abc import Metric, SupportsGaussNewton
from sunalign.exceptions import AlignmentError
from sunalign.geometry.coordinates import ARCSEC
from sunalign.images import Image
from sunalign.model.problem import Problem
from sunalign.model.search_space import SearchSpace
from sunalign.pointing._held_out import held_out_gain
from sunalign.pointing._solve import NothingInCommon, Solution, columns_of, displaced_problem, solve
from sunalign.pointing._strength import posterior
from sunalign.pointing.drift import Drift
from sunalign.pointing.options import DriftOptions, PointingModel, make_model
from sunalign.pointing.templates import Template
from sunalign.registry import name_of

__all__ = ["Fitted", "check_metric", "fit_drift", "known_drift", "known_pointing", "split_drift"]

_SAYS_NOTHING = 0.8  # Error after over error before, beyond which the data are silent.


def split_drift(fit: str | Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """What is fitted besides the drift, and whether the drift is.

    Parameters
    ----------
    fit : `str` or sequence of `str`
        As a caller of `sunalign.align` gave it.

    Returns
    -------
    `tuple` of `str`, `bool`
    """
    words = (fit,) if isinstance(fit, str) else tuple(fit)
    return tuple(word for word in words if word != "drift"), "drift" in words


def check_metric(metric: Metric) -> None:
    """Refuse, before any work, a metric from which no drift can be had.

    Parameters
    ----------
    metric : `~sunalign.abc.Metric`

    Raises
    ------
    ~sunalign.exceptions.AlignmentError
        If it has no normal equations.
    """
    if not isinstance(metric, SupportsGaussNewton):
        raise AlignmentError(
            f"The metric '{name_of(metric)}' offers no normal equations, from which a drift is found; "
            f"use metric='ncc', or leave drift out of fit."
        )


class Fitted(NamedTuple):
    """An answer with the pointing of the columns in it.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
        With displaced columns.
    x : `numpy.ndarray`, shape (p,)
        Affine parameters, in the order of ``problem.names``.
    extra : `numpy.ndarray`, shape (p, p)
        What the drift adds to their covariance.
    drift : `~sunalign.pointing.Drift`
    evaluations : `int`
        What the fit cost, in evaluations of the score.
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
    degree: int = 1,
) -> Fitted:
    """Fit drift and templates together with the affine parameters, from an affine answer.

    Parameters
    ----------
    problem : `~sunalign.model.problem.Problem`
    space : `~sunalign.model.search_space.SearchSpace`
    x : `numpy.ndarray`
        The affine answer.
    image : `~sunalign.images.Image`
        The target, unscaled and uncropped, with the times of its columns.
    options : `~sunalign.pointing.DriftOptions`
    templates : sequence of `~sunalign.pointing.Template`
    degree : `int`
        Up to which power of the column the affine parameters can stand in for it: 1, or 0 for exposures of one place.
    """
    pixel = _pixel(problem)
    model = make_model(image, pixel, options, templates, degree=degree)
    typical = pixel if options.prior is None else float(model.strengths[0])
    try:
        found = solve(problem, space, x, model)
    except NothingInCommon:
        return _unfitted(problem, x, image, model)
    sensitivity = _sensitivity(found, model, typical)
    if (sensitivity > _SAYS_NOTHING).all():
        model = make_model(image, pixel, options, templates, drift=False, degree=degree)
        return _refused(problem, space, x, image, model, sensitivity, typical)
    drift = _drift(image, problem, found, model, sensitivity)
    return Fitted(
        displaced_problem(problem, found.state.moved(model)), found.state.x, _extra(found), drift, found.iterations
    )


def _refused(
    problem: Problem,
    space: SearchSpace,
    x: np.ndarray,
    image: Image,
    model: PointingModel,
    sensitivity: np.ndarray,
    strength: float,
) -> Fitted:
    """Answer without a smooth drift: that of the templates, which ask less of the data, or the affine one."""
    reason = (
        f"No drift was fitted: the data would not notice one of {strength:.2g} arcsec rms (error after over before "
        f"{sensitivity[0]:.2f} along x, {sensitivity[1]:.2f} along y; at most {_SAYS_NOTHING:g} is needed)."
    )
    try:
        found = solve(problem, space, x, model)
    except NothingInCommon:
        return _unfitted(problem, x, image, model)
    drift = replace(_drift(image, problem, found, model, sensitivity), refused=True, message=reason)
    if model.templates:
        return Fitted(
            displaced_problem(problem, found.state.moved(model)), found.state.x, _extra(found), drift, found.iterations
        )
    for axis in "xy":
        drift.table[f"shift_{axis}_error"][:] = np.nan
    return Fitted(problem, x, np.zeros((len(x), len(x))), drift, found.iterations)


def _unfitted(problem: Problem, x: np.ndarray, image: Image, model: PointingModel) -> Fitted:
    """The affine answer as it is: the images have too little in common even to ask for more."""
    names, n = [template.name for template in model.templates], len(model.valid)
    nil, unknown = np.zeros(len(names)), np.full((2, n), np.nan)
    shapes = np.reshape([template.shape(image) for template in model.templates], (len(names), 2, n))
    drift = Drift(
        table=_table(image, model.valid, np.zeros_like(unknown), unknown),
        refused=True,
        message="No drift was fitted: where the fit led, the images have nothing in common that tells one column.",
        freedom=0.0,
        strength=np.zeros(2) * u.arcsec,
        jitter=0 * u.arcsec,
        no_drift=np.nan,
        sensitivity=np.full(2, np.nan),
        templates=_template_table(names, nil, nil * np.nan, nil * np.nan, shapes),
    )
    return Fitted(problem, x, np.zeros((len(x), len(x))), drift, 0)


def known_pointing(templates: Sequence[Template], image: Image) -> np.ndarray:
    """Displacement of every column by templates taken as they are.

    Parameters
    ----------
    templates : sequence of `~sunalign.pointing.Template`
    image : `~sunalign.images.Image`

    Returns
    -------
    `numpy.ndarray`, shape (2, n)
        Arcsec towards (+Tx, +Ty).
    """
    return np.asarray(np.sum([template.shape(image) for template in templates], axis=0))


def known_drift(templates: Sequence[Template], image: Image) -> Drift:
    """What is to be said of a pointing that was applied and not fitted.

    Parameters
    ----------
    templates : sequence of `~sunalign.pointing.Template`
        Which were applied with a gain of 1.
    image : `~sunalign.images.Image`
        The target.
    """
    moved = known_pointing(templates, image)
    valid = np.isfinite(image.data).any(axis=0)
    names = tuple(template.name for template in templates)
    one, shapes = np.ones(len(names)), np.array([template.shape(image) for template in templates])
    return Drift(
        table=_table(image, valid, moved, np.full_like(moved, np.nan)),
        refused=False,
        message=f"The pointing of the columns was taken as given ({', '.join(names)}), and not fitted.",
        freedom=0.0,
        strength=np.zeros(2) * u.arcsec,
        jitter=0 * u.arcsec,
        no_drift=np.nan,
        sensitivity=np.full(2, np.nan),
        templates=_template_table(names, one, 0 * one, np.nan * one, shapes),
    )


def _template_table(
    names: Sequence[str], gains: np.ndarray, errors: np.ndarray, held: np.ndarray, shapes: np.ndarray
) -> QTable:
    table = {"name": np.array(names, dtype=str), "gain": gains, "error": errors, "held_out": held, "helps": held > 0}
    return QTable(table | {f"shift_{axis}": shapes[:, k] * u.arcsec for k, axis in enumerate("xy")})


def _pixel(problem: Problem) -> float:
    """Size, in arcsec, of what can be told apart."""
    own = problem.reference.pixel_size
    return (own if np.isfinite(own) else float(max(problem.base.pixel_size))) / ARCSEC


def _sensitivity(found: Solution, model: PointingModel, strength: float) -> np.ndarray:
    """Error of a drift of given rms after the fit, as a part of that rms, along x and y."""
    information = found.equations.hessian / found.noise
    answer = posterior(np.zeros(len(information)), information, model.basis.share, np.array([strength]), np.ones(1))
    q = model.basis.size
    variance = np.diag(answer.covariance)[-2 * q :].reshape(2, q).sum(axis=1)
    return np.asarray(np.sqrt(variance) / strength)


def _extra(found: Solution) -> np.ndarray:
    """What the uncertainty about the columns adds to the covariance of the affine parameters."""
    p = len(found.state.x)
    own, stiff = found.equations.hessian, found.stiff.hessian[:p, :p]
    pull = np.linalg.solve(own[:p, :p], own[:p, p:])
    jittery = found.noise * (np.linalg.inv(own[:p, :p]) - np.linalg.inv(stiff)) if found.jitter else 0.0
    return np.asarray(pull @ found.posterior.covariance[p:, p:] @ pull.T + jittery)


def _drift(image: Image, problem: Problem, found: Solution, model: PointingModel, sensitivity: np.ndarray) -> Drift:
    p, m = len(found.state.x), len(model.templates)
    spread = np.sqrt(np.maximum(np.einsum("aac->ac", found.covariance), 0.0))
    columns = columns_of(problem.at_finest_level())
    held = np.array([held_out_gain(found, model, k, columns) for k in range(m)])
    errors = np.sqrt(np.diag(found.posterior.covariance)[p : p + m])
    templates = _template_table(model.names, found.state.amplitudes[:m], errors, held, model.shapes)
    drift = Drift(
        table=_table(image, model.valid, found.state.moved(model), spread),
        refused=False,
        message="",
        freedom=found.posterior.freedom,
        strength=found.posterior.strength * u.arcsec,
        jitter=found.jitter * u.arcsec,
        no_drift=found.posterior.nothing,
        sensitivity=sensitivity,
        templates=templates,
    )
    return replace(drift, message=_words(drift))


def _table(image: Image, valid: np.ndarray, moved: np.ndarray, spread: np.ndarray) -> QTable:
    n = len(valid)
    table = QTable({"column": np.arange(n)})
    times = image.times
    if times is not None and not times.is_instant:
        table["time"] = times.at(np.arange(n))
    for k, axis in enumerate("xy"):
        table[f"shift_{axis}"] = moved[k] * u.arcsec
        table[f"shift_{axis}_error"] = spread[k] * u.arcsec
    table["valid"] = valid
    table.meta["description"] = "To be added to the corrected coordinates of each column."
    return table


def _words(drift: Drift) -> str:
    rms, error = (value.to_value(u.arcsec) for value in (drift.rms, drift.rms_error))
    jitter = f" and a jitter of {drift.jitter.to_value(u.arcsec):.2g} arcsec a column" if drift.jitter > 0 else ""
    return (
        f"The columns move by {rms[0]:.2f} arcsec rms along x and {rms[1]:.2f} along y (errors {error[0]:.2f} and "
        f"{error[1]:.2f}), a smooth drift of {drift.freedom:.1f} effective degrees of freedom{jitter}; "
        f"the probability of no drift is {drift.no_drift:.2g}."
    )
