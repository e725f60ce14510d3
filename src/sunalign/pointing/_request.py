"""What an alignment is asked to do about the pointing of the columns."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import Metric
from sunalign.exceptions import AlignmentError
from sunalign.images import Image
from sunalign.objective import SearchSpace
from sunalign.pointing._displaced import displaced, in_pixels
from sunalign.pointing._drift import Drift
from sunalign.pointing._fit import check_metric, fit_drift, known_drift, known_pointing, split_drift
from sunalign.pointing._memory import held
from sunalign.pointing._model import DriftOptions
from sunalign.pointing._tables import OWN, FileTable, named_tables, read_tables
from sunalign.pointing._templates import Template, table_template, templates_of
from sunalign.problem import Problem
from sunalign.reference import Reference

if TYPE_CHECKING:
    from sunalign.result import AlignmentResult

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
        Fitted where the drift is free, else applied as they are.
    assumptions : mapping
    """

    free: bool
    options: DriftOptions
    templates: Sequence[Template] = ()
    assumptions: dict[str, str] = field(default_factory=dict)

    def check(self, metric: Metric, working_grid: str) -> None:
        """Refuse, before any work, what cannot be done."""
        if working_grid != "target" and (self.free or self.templates):
            raise AlignmentError(
                "On the reference's grid the columns of the target are no longer what was taken at one time; "
                "use working_grid='target' to fit or apply a pointing of the columns."
            )
        if self.free:
            check_metric(metric)

    def applied(self, reference: Reference, image: Image, pivot: tuple[float, float]) -> Reference:
        """Reference as it is seen with a pointing that is known."""
        if self.free or not self.templates:
            return reference
        return displaced(reference, in_pixels(image.grid, pivot) @ known_pointing(self.templates, image))

    def fitted(
        self,
        problem: Problem,
        space: SearchSpace,
        found: OptimizeResult,
        image: Image,
        exposures: tuple[Image, Callable[[], Problem]] | None = None,
    ) -> tuple[Problem, OptimizeResult, Drift | None, np.ndarray]:
        """Forward model and answer with the drift in them, the drift, and what it adds to the covariance.

        ``exposures`` are those of one place, and their forward model: the other one is that of their mean.
        """
        if not self.free:
            drift = known_drift(self.templates, image) if self.templates else None
            return problem, found, drift, np.zeros((len(space), len(space)))
        if exposures is None:
            answer = fit_drift(problem, space, found.x, image, self.options, self.templates)
        else:
            own, model = exposures
            answer = fit_drift(model(), space, found.x, own, self.options, self.templates, degree=0)
            answer = answer._replace(problem=problem)
        better = OptimizeResult(found | {"x": answer.x, "fun": answer.problem.score(answer.x)})
        return answer.problem, better, answer.drift, answer.extra

    def stored(self, result: AlignmentResult) -> AlignmentResult:
        """Result whose corrected target holds the pointing of the columns, where it can, and which says where it is."""
        if result.drift is None or result.drift.refused:
            return result
        if isinstance(result.aligned, Path):
            aligned, where = result.aligned, "in the file, and in result.pointing"
        else:
            aligned, where = held(result.aligned, result.drift.table)
        said = {**result.assumptions, "pointing of the columns is": where}
        return replace(result, aligned=aligned, assumptions=said)


def read_request(
    fit: str | Sequence[str], pointing: Any, target: Any, image: Image, options: DriftOptions
) -> tuple[tuple[str, ...], PointingRequest]:
    """What else is fitted, and what is to be done about the columns.

    Parameters
    ----------
    fit : `str` or sequence of `str`
    pointing : object
        As `sunalign.align` takes it.
    target : object
        As it was given: a path may lead to tables.
    image : `~sunalign.images.Image`
        What was read of it.
    options : `~sunalign.pointing.DriftOptions`
    """
    rest, free = split_drift(fit)
    from_file = pointing is None or (isinstance(pointing, str) and pointing in ("file", "ignore"))
    if not from_file:
        return rest, _with(free, options, templates_of(pointing), "as given")
    table = None if pointing == "ignore" else _table_of(target, required=pointing == "file")
    if table is not None and (free or pointing == "file"):
        template = table_template(table.to_table(), "file")
        return rest, _with(free, options, [template], table.said)
    return rest, PointingRequest(free, options, assumptions=_neglected(table, image))


def _with(free: bool, options: DriftOptions, templates: Sequence[Template], said: str) -> PointingRequest:
    if not templates:
        return PointingRequest(free, options)
    assumed = f"{said}: {'its gain is fitted' if free else 'applied'}"
    return PointingRequest(free, options, templates, assumptions={"pointing of the columns": assumed})


def _table_of(target: Any, *, required: bool) -> FileTable | None:
    """Tables of the file that a path leads to."""
    if isinstance(target, (str, os.PathLike)):
        table = read_tables(target)
        if table is None and required:
            raise AlignmentError(
                f"pointing='file' was asked for, but {target} has no table of it (no CWDIS1, CPDIS1 or {OWN}); "
                f"leave it out, or give a QTable."
            )
        return table
    if required:
        raise AlignmentError(
            f"The tables of a file are not in a {type(target).__name__}; give the path of the file, or "
            f"pointing=sunalign.pointing.read_pointing(path)."
        )
    return None


def _neglected(table: FileTable | None, image: Image) -> dict[str, str]:
    """What is said where tables are known of, and not used."""
    named = named_tables(image.meta)
    if table is None and not named:
        return {}
    what = table.said if table is not None else f"tables named by the header ({', '.join(named)})"
    return {"pointing of the columns": f"{what}: neglected"}
