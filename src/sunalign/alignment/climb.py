"""From a reference builder to the best parameters: the forward model, and one climb on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.optimize import OptimizeResult

import astropy.units as u
from astropy.table import QTable

from sunalign.abc import Metric, Optimizer, Plugin, ReferenceBuilder
from sunalign.alignment.contract import build_reference, maximize
from sunalign.alignment.height import at_best_height
from sunalign.alignment.scaled import compared, describe_noise, without_hot_pixels
from sunalign.alignment.search import Search, check_resolution, make_space, reach
from sunalign.images import Image
from sunalign.model.budget import Budget
from sunalign.model.intensity import IntensityScaling
from sunalign.model.masked_correlation import transforms_kept
from sunalign.model.noise import NoiseModel
from sunalign.model.objective import Objective
from sunalign.model.problem import Problem
from sunalign.model.reference_contract import Reference
from sunalign.model.search_space import SearchSpace
from sunalign.wcs.plausible import check_field

__all__ = ["Climb", "ForwardModel", "Images", "climb"]


class ForwardModel(NamedTuple):
    """What the target is compared with, the space in which, and what was done about noise.

    Parameters
    ----------
    reference : `~sunalign.model.reference_contract.Reference`
        As it was built: in the intensities of its images.
    problem : `~sunalign.model.problem.Problem`
        Scaled, without hot pixels, and with one band limit for both images where noise asks for it.
    space : `~sunalign.model.search_space.SearchSpace`
    assumptions : mapping
        What was done, in words, by what it is about.
    """

    reference: Reference
    problem: Problem
    space: SearchSpace
    assumptions: Mapping[str, str]


class Columns(Protocol):
    """What is known of where the columns of a target point."""

    def applied(self, reference: Reference, image: Image, pivot: tuple[float, float]) -> Reference:
        """Reference as a target sees it whose columns point where they are known to.

        Parameters
        ----------
        reference : `~sunalign.model.reference_contract.Reference`
        image : `~sunalign.images.Image`
            The target.
        pivot : `tuple` of `float`
            Pixel ``(x, y)`` of the target about which scale and rotation act.
        """


class Climb(NamedTuple):
    """Where a search ended.

    Parameters
    ----------
    builder : `~sunalign.abc.ReferenceBuilder`
        That made the reference: the chosen one, with the height that was found where that was free.
    model : `ForwardModel`
    found : `~scipy.optimize.OptimizeResult`
    initial : `float`
        Score at the start.
    history : `~astropy.table.QTable`
        Every evaluation at the resolution that is compared.
    height : `~astropy.units.Quantity`, optional
        Of the emission, where that was free.
    """

    builder: ReferenceBuilder
    model: ForwardModel
    found: OptimizeResult
    initial: float
    history: QTable
    height: u.Quantity | None = None


@dataclass(frozen=True, eq=False)
class Images:
    """Target and references as they are to be compared.

    Parameters
    ----------
    target : `~sunalign.images.Image`
        Masked, not scaled.
    references : sequence
        As a reference builder takes them.
    scaling : `~sunalign.IntensityScaling`
    assumptions : mapping
        What is taken for granted of the target.
    columns : `Columns`, optional
        What is known of the pointing of the target's columns.
    """

    target: Image
    references: Sequence[Any]
    scaling: IntensityScaling
    assumptions: Mapping[str, str] = field(default_factory=dict)
    columns: Columns | None = None

    def model(self, builder: ReferenceBuilder, metric: Metric, search: Search, min_overlap: float) -> ForwardModel:
        """Forward model with the reference that a builder makes.

        Parameters
        ----------
        builder : `~sunalign.abc.ReferenceBuilder`
        metric : `~sunalign.abc.Metric`
        search : `~sunalign.alignment.search.Search`
            How far the target may be moved, by which the reference is cut.
        min_overlap : `float`
            From 0 to 1.
        """
        grid = self.target.grid
        built = build_reference(builder, self.references, self.target, reach(search.limits, search.begin, grid))
        check_field(grid, self.target.name, built.pixel_size)
        check_resolution(search.limits, {"target": min(grid.pixel_size), "reference": built.pixel_size})
        clean, noise, n_hot = self._clean_target
        target, reference, n_hot_too = compared(clean, noise, built, grid, self.scaling)
        problem = Problem(
            target=target,
            reference=self._by_columns(reference, search.pivot),
            metric=metric,
            base=grid,
            pivot=search.pivot,
            names=search.names,
            fixed=search.fixed,
            min_overlap=min_overlap,
        ).as_compared()
        space = make_space(search.limits, search.begin, grid, built.pixel_size)
        return ForwardModel(built, problem, space, describe_noise(problem, {"target": n_hot, "reference": n_hot_too}))

    @cached_property
    def _clean_target(self) -> tuple[Image, NoiseModel, int]:
        return without_hot_pixels(self.target)

    def _by_columns(self, reference: Reference, pivot: tuple[float, float]) -> Reference:
        return reference if self.columns is None else self.columns.applied(reference, self.target, pivot)


def climb(
    images: Images,
    plugins: Mapping[type[Plugin], Any],
    search: Search,
    *,
    min_overlap: float,
    rng: np.random.Generator,
    budget: Budget,
    n_jobs: int = 1,
) -> Climb:
    """Let the optimizer search, at every height that is tried where the height is free.

    Parameters
    ----------
    images : `Images`
    plugins : mapping
        An instance for every kind.
    search : `~sunalign.alignment.search.Search`
    min_overlap : `float`
        Fraction of the target's valid pixels that the reference has to cover.
    rng : `numpy.random.Generator`
    budget : `~sunalign.model.budget.Budget`
        Of all that is compared.
    n_jobs : `int`
        Worker processes.
    """

    def model_of(builder: ReferenceBuilder) -> ForwardModel:
        return images.model(builder, plugins[Metric], search, min_overlap)

    def climb_with(builder: ReferenceBuilder) -> Climb:
        model = model_of(builder)
        with (
            transforms_kept(),
            Objective(model.problem, model.space, n_jobs=n_jobs, budget=budget) as objective,
        ):
            initial = objective(model.space.start)
            found = maximize(plugins[Optimizer], objective, model.space, rng)
            return Climb(builder, model, found, initial, objective.history)

    builder = plugins[ReferenceBuilder]
    if search.heights is None:
        return climb_with(builder)
    best = at_best_height(builder, images, search.heights, climb_with)
    # Made again: what there is to warn of was not said while heights were tried.
    return best._replace(model=model_of(best.builder))
