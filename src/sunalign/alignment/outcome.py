"""What comes of a climb: errors, doubts, the result, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sunpy import log

from sunalign.abc import Metric, Plugin, SupportsJudgement
from sunalign.alignment.climb import Climb, Images
from sunalign.correction import Correction
from sunalign.exceptions import AlignmentDoubtError, warn_user
from sunalign.model.fixed_pattern import pull_of_defects
from sunalign.model.quality import Quality, assess, covariance
from sunalign.model.surface import SearchSurface
from sunalign.registry import KINDS, name_of
from sunalign.result import AlignmentResult

__all__ = ["Judgement", "announce", "check_on_doubt", "judge", "tell"]

#: Fields of an optimizer's result that have a place of their own.
_TOLD = ("x", "fun", "success", "message", "nit", "refined_by")


class Judgement(NamedTuple):
    """What was found, how sure it is, and one sentence for every doubt.

    Parameters
    ----------
    correction : `~sunalign.Correction`
        With its errors.
    quality : `~sunalign.model.quality.Quality`
    surface : `~sunalign.model.surface.SearchSurface` or `None`
        That the signs of doubt were read from; `None` where no shift was free.
    doubts : `list` of `str`
        A sentence each; none for a good answer.
    """

    correction: Correction
    quality: Quality
    surface: SearchSurface | None
    doubts: list[str]


def check_on_doubt(on_doubt: str) -> None:
    """Refuse what is no answer to a doubt.

    Parameters
    ----------
    on_doubt : `str`
        ``"warn"``, ``"raise"`` or ``"ignore"``.
    """
    if on_doubt not in ("warn", "raise", "ignore"):
        raise ValueError(f"'on_doubt' is 'warn', 'raise' or 'ignore'; got {on_doubt!r}.")


def judge(climbed: Climb, wavering: np.ndarray | float = 0.0) -> Judgement:
    """Errors of the parameters and signs of a wrong answer.

    Parameters
    ----------
    climbed : `~sunalign.alignment.climb.Climb`
    wavering : `numpy.ndarray`, shape (p, p), or `float`
        What the uncertainty of something else adds to the covariance of the parameters.
    """
    problem, space = climbed.model.problem, climbed.model.space
    found = climbed.found
    quality, surface = assess(problem, space, found.x)
    errors = covariance(problem, space, found.x) + wavering
    errors = errors + pull_of_defects(problem, found.x, quality.held, errors)
    sigmas = np.sqrt(np.diag(errors))
    quality = quality.with_errors(problem.names, sigmas)
    one_sigma = dict(zip(problem.names, sigmas.tolist(), strict=True))
    correction = problem.correction(found.x, errors=one_sigma, covariance=errors)
    unfinished = [] if found.success else [str(found.message)]
    return Judgement(correction, quality, surface, [*unfinished, *quality.doubts()])


def tell(
    images: Images, plugins: Mapping[type[Plugin], Any], climbed: Climb, judged: Judgement, *, nfev: int, grid: str
) -> AlignmentResult:
    """Everything about an alignment but the corrected target."""
    found, model = climbed.found, climbed.model
    fitted = {} if climbed.height is None else {"height": climbed.height}
    return AlignmentResult(
        aligned=None,
        correction=judged.correction,
        score=float(found.fun),
        initial_score=climbed.initial,
        success=not judged.doubts,
        message=" ".join(judged.doubts) or str(found.message),
        quality=judged.quality,
        history=climbed.history,
        nfev=nfev,
        nit=int(found.get("nit", 0)),
        plugins=_named(plugins, found.get("refined_by")),
        assumptions={
            "scaling": str(images.scaling),
            "working grid": grid,
            **_judged_by(plugins[Metric]),
            **images.assumptions,
            **model.assumptions,
            **{f"fitted {name}": f"{value:.2f}" for name, value in fitted.items()},
            **model.reference.assumptions,
        },
        target=images.target,
        reference=model.reference,
        surface=judged.surface,
        problem=model.problem,
        space=model.space,
        extra=fitted | {key: value for key, value in found.items() if key not in _TOLD},
    )


def _judged_by(metric: Metric) -> dict[str, str]:
    """What errors and doubts were read from, where the metric has nothing better than its scores."""
    return {} if isinstance(metric, SupportsJudgement) else {"judged by": f"the scores of {name_of(metric)}"}


def _named(plugins: Mapping[type[Plugin], Any], refined_by: Plugin | None) -> dict[str, dict[str, Any]]:
    """Names and options by kind; the optimizer's with those of the one that it handed over to."""
    named = {KINDS[kind][1]: _record(plugin) for kind, plugin in plugins.items()}
    if refined_by is not None:
        named["optimizer"]["refined by"] = _record(refined_by)
    return named


def _record(plugin: Plugin) -> dict[str, Any]:
    return {"name": name_of(plugin), "options": plugin.options()}


def announce(result: AlignmentResult, on_doubt: str) -> None:
    """Log the result; warn or raise where it is doubtful, as was asked for."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug(result.summary())
    if result.success or on_doubt == "ignore":
        return
    message = f"The alignment of {result.target.name} is doubtful. {result.message}"
    if on_doubt == "raise":
        raise AlignmentDoubtError(message, result)
    warn_user(message)
