"""What an alignment is asked to do about the pointing of the columns."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import Corrector, Metric, Plugin
from sunalign.alignment.climb import Climb, Images
from sunalign.alignment.inputs import neglected
from sunalign.alignment.search import Search, reach
from sunalign.alignment.slit import Slit
from sunalign.exceptions import AlignmentError
from sunalign.files.pointing_tables import OWN, FileTable, named_tables, read_tables
from sunalign.images import Image
from sunalign.model.reference_contract import Reference
from sunalign.pointing.displaced import displaced, in_pixels
from sunalign.pointing.drift import Drift
from sunalign.pointing.fit import check_metric, fit_drift, known_drift, known_pointing, split_drift
from sunalign.pointing.memory import held
from sunalign.pointing.options import DriftOptions
from sunalign.pointing.templates import Template, table_template, templates_of

if TYPE_CHECKING:
    from sunalign.result import AlignmentResult

__all__ = ["PointingRequest", "read_request"]


class Followed(NamedTuple):
    """Answer with the pointing of the columns in it, that pointing, and what it adds to the covariance.

    Parameters
    ----------
    climbed : `~sunalign.alignment.climb.Climb`
        The answer.
    drift : `~sunalign.pointing.Drift` or `None`
        `None` where the columns have no pointing of their own.
    covariance : `numpy.ndarray`, shape (p, p)
        What is added to that of the affine parameters.
    """

    climbed: Climb
    drift: Drift | None
    covariance: np.ndarray


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
    slit : `~sunalign.alignment.slit.Slit`, optional
        Where the target is of one slit position.
    """

    free: bool
    options: DriftOptions
    templates: Sequence[Template] = ()
    assumptions: dict[str, str] = field(default_factory=dict)
    slit: Slit | None = None

    def check(self, metric: Metric, working_grid: str) -> None:
        """Refuse, before any work, what cannot be done.

        Parameters
        ----------
        metric : `~sunalign.abc.Metric`
        working_grid : `str`
            ``"target"`` or ``"reference"``.
        """
        if working_grid != "target" and (self.free or self.templates):
            raise AlignmentError(
                "On the reference's grid the columns of the target are no longer what was taken at one time; "
                "use working_grid='target' to fit or apply a pointing of the columns."
            )
        if self.free:
            check_metric(metric)

    def check_lookup(self, corrector: Corrector, image: Image) -> None:
        """Refuse, before any work, to write lookups that could not be written after it.

        Parameters
        ----------
        corrector : `~sunalign.abc.Corrector`
        image : `~sunalign.images.Image`
            The target.
        """
        if self.free and image.transposed and getattr(corrector, "lookup", None) is not None:
            raise AlignmentError(
                f"{image.name} has latitude along its first axis, and so the raster steps along its second; lookups "
                f"are written along the first axis alone. Leave 'lookup' out, and the table alone is written."
            )

    def applied(self, reference: Reference, image: Image, pivot: tuple[float, float]) -> Reference:
        """Reference as it is seen with a pointing that is known.

        Parameters
        ----------
        reference : `~sunalign.model.reference_contract.Reference`
        image : `~sunalign.images.Image`
            The target.
        pivot : `tuple` of `float`
            Pixel ``(x, y)`` of the target about which scale and rotation act.
        """
        if self.free or not self.templates:
            return reference
        return displaced(reference, in_pixels(image.grid, pivot) @ known_pointing(self.templates, image))

    def follow(self, climbed: Climb, images: Images, plugins: Mapping[type[Plugin], Any], search: Search) -> Followed:
        """Answer with the pointing of the columns in it.

        Parameters
        ----------
        climbed : `~sunalign.alignment.climb.Climb`
            The affine answer.
        images : `~sunalign.alignment.climb.Images`
        plugins : mapping
            An instance for every kind.
        search : `~sunalign.alignment.search.Search`
        """
        problem, space, found = climbed.model.problem, climbed.model.space, climbed.found
        if not self.free:
            drift = known_drift(self.templates, images.target) if self.templates else None
            return Followed(climbed, drift, np.zeros((len(space), len(space))))
        if self.slit is None:
            answer = fit_drift(problem, space, found.x, images.target, self.options, self.templates)
        else:
            margin = reach(search.limits, search.begin, images.target.grid)
            every = self.slit.problem(problem, climbed.builder, images.references, images.scaling, margin)
            exposures = self.slit.exposures
            answer = fit_drift(every, space, found.x, exposures, self.options, self.templates, degree=0)
            # What is compared and shown remains their mean.
            answer = answer._replace(problem=problem)
        better = OptimizeResult(found | {"x": answer.x, "fun": answer.problem.score(answer.x)})
        model = climbed.model._replace(problem=answer.problem)
        return Followed(climbed._replace(model=model, found=better), answer.drift, answer.extra)

    def stored(self, result: AlignmentResult) -> AlignmentResult:
        """Result whose corrected target holds the pointing of the columns, where it can, and which says where it is.

        Parameters
        ----------
        result : `~sunalign.AlignmentResult`
        """
        if result.drift is None or result.drift.refused:
            return result
        if isinstance(result.aligned, Path):
            aligned, where = result.aligned, "in the file, and in result.pointing"
        else:
            aligned, where = held(result.aligned, result.drift.table)
        assumptions = {**result.assumptions, "pointing of the columns is": where}
        return replace(result, aligned=aligned, assumptions=assumptions)


def read_request(
    fit: str | Sequence[str], pointing: Any, target: Any, image: Image, slit: Slit | None, options: DriftOptions
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
    slit : `~sunalign.alignment.slit.Slit`, optional
        Where the target is of one slit position.
    options : `~sunalign.pointing.DriftOptions`
    """
    words, left_out = (fit, {}) if slit is None else slit.fit(fit)
    rest, free = split_drift(words)
    if free and not rest:
        raise AlignmentError("'fit' has drift alone, and a drift is found beside a shift; use fit=('shift', 'drift').")
    if not free and options != DriftOptions():
        raise AlignmentError(
            "'drift_time', 'drift_knots' and 'drift_prior' say how a drift is fitted, and 'fit' has none; "
            "add drift, as in fit=('shift', 'drift'), or leave them out."
        )
    templates, known = _known(free, pointing, target, image)
    return rest, PointingRequest(free, options, templates, {**known, **left_out}, slit)


def _known(free: bool, pointing: Any, target: Any, image: Image) -> tuple[list[Template], dict[str, str]]:
    """Templates, and what is to be said of them."""
    if pointing is not None and not (isinstance(pointing, str) and pointing in ("file", "ignore")):
        templates, words = templates_of(pointing), "as given"
    else:
        table = None if pointing == "ignore" else _table_of(target, required=pointing == "file")
        if table is None or not (free or pointing == "file"):
            return [], _neglected(table, image, asked=pointing == "ignore")
        templates, words = [table_template(table.to_table(), "file")], table.description
    if not templates:
        return [], {}
    return templates, {"pointing of the columns": f"{words}: {'its gain is fitted' if free else 'applied'}"}


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


def _neglected(table: FileTable | None, image: Image, *, asked: bool) -> dict[str, str]:
    """What is said where tables are known of, and not used; a warning besides, unless that was asked for."""
    named = named_tables(image.meta)
    assumptions = {} if asked else neglected(image)
    if table is None and not named:
        return assumptions
    what = table.description if table is not None else f"tables named by the header ({', '.join(named)})"
    return {**assumptions, "pointing of the columns": f"{what}: neglected"}
