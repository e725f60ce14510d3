"""What an alignment is asked to do about the pointing of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.coordinates import PixelGrid
from sunalign.exceptions import AlignmentError
from sunalign.images import Image
from sunalign.objective import SearchSpace
from sunalign.pointing._displaced import displaced, in_pixels
from sunalign.pointing._drift import Drift
from sunalign.pointing._fit import check_metric, fit_drift, split_drift
from sunalign.pointing._model import DriftOptions
from sunalign.pointing._templates import Template, templates_of
from sunalign.problem import Problem
from sunalign.reference import Reference

__all__ = ["PointingRequest", "read_request"]


@dataclass(frozen=True, eq=False)
class PointingRequest:
    """Whether a drift is free, which templates it has, and what is taken as known.

    Parameters
    ----------
    free : `bool`
        Whether drift and templates are fitted.
    options : `~sunalign.pointing.DriftOptions`
    templates : sequence of `~sunalign.pointing.Template`
    known : `numpy.ndarray` or `None`, shape (2, n)
        Displacement of the columns, in arcsec, that is applied as it is.
    assumptions : mapping
    """

    free: bool
    options: DriftOptions
    templates: Sequence[Template] = ()
    known: np.ndarray | None = None
    assumptions: dict[str, str] = field(default_factory=dict)

    def check(self, metric: object, working_grid: str) -> None:
        """Refuse, before any work, what cannot be done."""
        if working_grid != "target" and (self.free or self.known is not None):
            raise AlignmentError(
                "On the reference's grid the columns of the target are no longer what was taken at one time; "
                "use working_grid='target' to fit or apply a pointing of the columns."
            )
        if self.free:
            check_metric(metric)

    def applied(self, reference: Reference, grid: PixelGrid, pivot: tuple[float, float]) -> Reference:
        """Reference as it is seen with the known pointing."""
        return reference if self.known is None else displaced(reference, in_pixels(grid, pivot) @ self.known)

    def fitted(
        self, problem: Problem, space: SearchSpace, found: OptimizeResult, image: Image
    ) -> tuple[Problem, OptimizeResult, Drift | None, np.ndarray]:
        """Forward model and answer with the drift in them, the drift, and what it adds to the covariance."""
        if not self.free:
            return problem, found, None, np.zeros((len(space), len(space)))
        answer = fit_drift(problem, space, found.x, image, self.options, self.templates)
        better = OptimizeResult(found | {"x": answer.x, "fun": answer.problem.score(answer.x)})
        return answer.problem, better, answer.drift, answer.extra


def read_request(
    fit: str | Sequence[str], pointing: Any, image: Image, options: DriftOptions
) -> tuple[tuple[str, ...], PointingRequest]:
    """What else is fitted, and what is to be done about the columns."""
    rest, free = split_drift(fit)
    templates = templates_of(pointing)
    if free:
        return rest, PointingRequest(free, options, templates)
    known = np.sum([template.shape(image) for template in templates], axis=0) if templates else None
    assumptions = {"pointing of the columns": "applied as given"} if templates else {}
    return rest, PointingRequest(free, options, (), known, assumptions)
