"""One alignment, top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import astropy.units as u

from sunpy import log

from sunalign._contract import build_reference, check_powers, corrected, maximize
from sunalign._height import at_best_height, height_bounds, split_height
from sunalign._inputs import (
    as_references,
    checked_budget,
    checked_jobs,
    checked_overlap,
    make_rng,
    prepare,
    prepared_references,
)
from sunalign._options import make_plugins
from sunalign._progress import reporter
from sunalign._search_space import (
    check_resolution,
    free_parameters,
    limits_of,
    make_space,
    pivot_pixel,
    pivot_sky,
    reach,
    start_values,
)
from sunalign._working_grid import on_working_grid
from sunalign.abc import Corrector, Metric, Optimizer, ReferenceBuilder
from sunalign.correction import Correction
from sunalign.correctors import FITSCorrector, corrector_for
from sunalign.exceptions import (
    AlignmentDoubtError,
    AlignmentError,
    warn_user,
)
from sunalign.images import Image, to_image
from sunalign.intensity import IntensityScaling, make_scaling
from sunalign.objective import Objective, SearchSpace
from sunalign.pointing._model import DriftOptions
from sunalign.pointing._request import read_request
from sunalign.pointing._slit import read_slit
from sunalign.problem import Problem
from sunalign.quality import assess, covariance
from sunalign.reference import Reference
from sunalign.registry import KINDS, name_of
from sunalign.result import AlignmentResult

__all__ = ["align"]

Limits = tuple[float | None, float | None]


def align(
    target: Any,
    reference: Any,
    *,
    fit: str | Sequence[str] = ("shift",),
    metric: str | type[Metric] | Metric = "ncc",
    optimizer: str | type[Optimizer] | Optimizer = "coarse-to-fine",
    reference_builder: str | type[ReferenceBuilder] | ReferenceBuilder | None = None,
    corrector: str | type[Corrector] | Corrector | None = None,
    max_shift: u.Quantity = 120 * u.arcsec,
    bounds: Mapping[str, Any] | None = None,
    start: Correction | Mapping[str, Any] | None = None,
    pivot: u.Quantity | None = None,
    pointing: Any = None,
    drift_time: u.Quantity | None = None,
    drift_knots: int | None = None,
    drift_prior: u.Quantity | None = None,
    scaling: str | IntensityScaling | None = None,
    target_mask: np.ndarray | None = None,
    reference_mask: np.ndarray | None = None,
    target_limits: Limits | None = None,
    reference_limits: Limits | None = None,
    min_overlap: float = 0.25,
    working_grid: str = "target",
    max_evaluations: int | None = None,
    n_jobs: int = 1,
    rng: np.random.Generator | int | None = None,
    progress: bool | Callable[..., Any] | None = None,
    on_doubt: str = "warn",
    **options: Any,
) -> AlignmentResult:
    """Find what moves a target onto a reference, and correct the target's coordinates.

    Parameters
    ----------
    target : `~sunpy.map.GenericMap`, `~ndcube.NDCube`, `tuple`, `str` or `~pathlib.Path`
        Image or raster whose pointing is to be corrected; anything `sunalign.images.to_image` reads. Never changed.
    reference : image, or a sequence of them
        Image whose pointing is trusted, or several for a reference builder that takes several.
    fit : `str` or sequence of `str`
        Free parameters: ``"shift"``, ``"scale"``, ``"rotation"``, or one of ``shift_x``, ``shift_y``, ``scale_x``,
        ``scale_y``. The others stay at their start. ``"height"`` besides fits the height of the emission where two
        observers are more than a degree apart; it is found in ``result.extra["height"]``, without an error.
        ``"drift"`` besides fits a pointing that changes while a raster is taken; it is found, column by column, in
        ``result.pointing``, and ``result.drift`` says how much of it is significant.
    metric, optimizer, reference_builder, corrector : `str`, class or instance
        Plugins. By default the corrector goes with the target's type, and the reference builder is ``"image"`` for
        one reference and ``"synthetic-raster"`` for several.
    max_shift : `~astropy.units.Quantity`
        Largest shift, along each axis of the sky, from the start.
    bounds : mapping, optional
        ``(lower, upper)`` by parameter name; by default 0.8 to 1.25 for scales, 5 degrees either way for rotation, and
        0 to 50 Mm for the height.
    start : `~sunalign.Correction` or mapping, optional
        Where the search begins: what is known beforehand.
    pivot : `~astropy.units.Quantity`, shape (2,), optional
        (Tx, Ty) in the target's coordinates about which scale and rotation act; its centre by default.
    pointing : `~astropy.table.QTable`, template, sequence of those, ``"file"`` or ``"ignore"``, optional
        What is known of the pointing of the columns (see `sunalign.pointing`): a table with ``time`` (or ``column``),
        ``x`` and ``y`` that are to be added to the coordinates. With ``"drift"`` in ``fit`` it is a template whose gain
        is fitted, and tested; without, it is taken as it is.
    drift_time, drift_knots : `~astropy.units.Quantity`, `int`, optional
        Shortest time within which the drift changes, or the number of intervals of its spline; by default a sixteenth
        of the raster, or six columns where that is more.
    drift_prior : `~astropy.units.Quantity`, optional
        Expected rms of the drift along each axis; by default found from the data by marginal likelihood.
    scaling : {"sqrt", "log", "linear"} or `~sunalign.intensity.IntensityScaling`, optional
        Intensity scaling of both images, after a clip at the 1st and 99th percentile; the metric's own by default.
    target_mask, reference_mask : `numpy.ndarray` of `bool`, optional
        True where a pixel is to be ignored, besides masked and non-finite ones.
    target_limits, reference_limits : `tuple` of `float`, optional
        (lower, upper) intensities beyond which pixels are ignored; `None` for no limit.
    min_overlap : `float`
        Fraction of the target's valid pixels that the reference has to cover.
    working_grid : {"target", "reference"}
        ``"target"`` samples the reference at the target's own pixels. ``"reference"`` reprojects the target onto the
        reference's grid first, aligns there, and translates the correction back; the times of a raster's steps are
        lost on the way, so that the reference is taken as frozen.
    max_evaluations : `int`, optional
        The search ends with the best so far when that many images were compared.
    n_jobs : `int`
        Worker processes for optimizers that try many candidates; -1 for one a core.
    rng : `numpy.random.Generator`, `int` or `None`
        For optimizers that draw (SPEC 7).
    progress : `bool` or callable, optional
        True for a bar on the terminal, or something like `tqdm.tqdm`.
    on_doubt : {"warn", "raise", "ignore"}
        What to do when the answer is doubtful; ``success`` is False in any case.
    **options
        Options of the plugins; each goes to the one that has it.

    Returns
    -------
    `~sunalign.AlignmentResult`

    Raises
    ------
    ~sunalign.exceptions.AlignmentError
        The two cannot be aligned as asked.
    ~sunalign.exceptions.PluginError
        A plugin is missing, broken or misbehaves.

    Examples
    --------
    >>> import sunalign
    >>> from sunalign import simulate
    >>> pair = simulate.raster_pair(seed=1, n_steps=32, n_slit=200)
    >>> result = sunalign.align(pair.target, pair.reference, fit=("shift", "scale"))
    >>> result.success
    True
    """
    if on_doubt not in ("warn", "raise", "ignore"):
        raise ValueError(f"'on_doubt' is 'warn', 'raise' or 'ignore'; got {on_doubt!r}.")
    n_jobs, rng = checked_jobs(n_jobs), make_rng(rng)
    max_evaluations, min_overlap = checked_budget(max_evaluations), checked_overlap(min_overlap)

    # The images.
    references = prepared_references(as_references(reference), reference_mask, reference_limits)
    slit = read_slit(target)
    if slit is None:
        given = to_image(target)
        image = prepare(given, target_mask, target_limits, "target")
    else:
        slit = slit.prepared(target_mask, target_limits)
        given = image = slit.single
    source = given.source if slit is None else slit.source
    if working_grid != "target":
        image = on_working_grid(working_grid, image, references)

    # The plugins.
    choices = {
        Metric: metric,
        Optimizer: optimizer,
        ReferenceBuilder: reference_builder or ("image" if len(references) == 1 else "synthetic-raster"),
        Corrector: corrector or corrector_for(source),
    }
    plugins = make_plugins(choices, options)

    # The search.
    fit, height_is_free = split_height(fit)
    fit, narrow = (fit, {}) if slit is None else slit.fit(fit)
    fit, wander = read_request(
        fit, pointing, target, given, DriftOptions(time=drift_time, knots=drift_knots, prior=drift_prior)
    )
    bounds, heights = height_bounds(bounds) if height_is_free else (bounds, None)
    names, centre = free_parameters(fit), pivot_pixel(image.grid, pivot)
    begin = start_values(start, pivot_sky(image.grid, centre))
    limits = limits_of(names, begin, max_shift, bounds)
    check_powers(plugins[Corrector], names, begin)
    wander.check(plugins[Metric], working_grid)
    stretch = make_scaling(scaling or plugins[Metric].scaling)
    scaled_target = _scaled_target(image, stretch)

    # The reference, as the target's pixels see it.
    def forward_model(builder: ReferenceBuilder) -> tuple[Reference, Problem, SearchSpace]:
        built = build_reference(builder, references, image, reach(limits, begin, image.grid))
        check_resolution(limits, {"target": min(image.grid.pixel_size), "reference": built.pixel_size})
        problem = Problem(
            target=scaled_target,
            reference=wander.applied(_scaled_reference(built, image, stretch), image, centre),
            metric=plugins[Metric],
            base=image.grid,
            pivot=centre,
            names=names,
            fixed={name: value for name, value in begin.items() if name not in names},
            min_overlap=min_overlap,
        )
        return built, problem, make_space(limits, begin, image.grid, built.pixel_size)

    extra: dict[str, Any] = {}
    if heights is not None:

        def best_score(builder: ReferenceBuilder) -> float:
            _, problem, space = forward_model(builder)
            with reporter(progress) as report:
                objective = Objective(problem, space, progress=report)
                return float(maximize(plugins[Optimizer], objective, space, rng).fun)

        plugins[ReferenceBuilder], extra["height"] = at_best_height(
            plugins[ReferenceBuilder], references, image, heights, best_score
        )
    built, problem, space = forward_model(plugins[ReferenceBuilder])

    # The climb.
    with (
        reporter(progress) as report,
        Objective(problem, space, n_jobs=n_jobs, max_evaluations=max_evaluations, progress=report) as objective,
    ):
        initial = objective(space.start)
        found = maximize(plugins[Optimizer], objective, space, rng)
        nfev, history = objective.nfev, objective.history

    # The pointing of the columns.
    exposures = None
    if slit is not None:
        margin = reach(limits, begin, image.grid)
        exposures = (
            slit.exposures,
            lambda: slit.problem(problem, plugins[ReferenceBuilder], references, stretch, margin),
        )
    problem, found, drift, wavering = wander.fitted(problem, space, found, image, exposures)

    # How sure it is.
    quality, surface = assess(problem, space, found.x)
    errors = covariance(problem, space, found.x) + wavering
    correction = problem.correction(
        found.x, errors=dict(zip(names, np.sqrt(np.diag(errors)).tolist(), strict=True)), covariance=errors
    )
    doubts = [*([] if found.success else [str(found.message)]), *quality.doubts()]

    # What comes of it.
    result = AlignmentResult(
        aligned=None,
        correction=correction,
        score=float(found.fun),
        initial_score=initial,
        success=not doubts,
        message=" ".join(doubts) or str(found.message),
        quality=quality,
        history=history,
        nfev=nfev,
        nit=int(found.get("nit", 0)),
        plugins={
            KINDS[kind][1]: {"name": name_of(plugin), "options": plugin.options()} for kind, plugin in plugins.items()
        },
        assumptions={
            "scaling": str(stretch),
            "working grid": working_grid,
            **{f"fitted {name}": f"{value:.2f}" for name, value in extra.items()},
            **built.assumptions,
            **wander.assumptions,
            **narrow,
        },
        target=image,
        reference=built,
        surface=surface,
        problem=problem,
        space=space,
        drift=drift,
        extra=extra | {k: v for k, v in found.items() if k not in ("x", "fun", "success", "message", "nit")},
    )
    if slit is not None and slit.frozen and not isinstance(plugins[Corrector], FITSCorrector):
        result = replace(result, aligned=slit.corrected(result.correction, result.provenance()))
    else:
        result = replace(result, aligned=corrected(plugins[Corrector], target, replace(given, source=source), result))
    result = wander.stored(result)
    _voice(result, doubts, on_doubt)
    return result


def _scaled_target(image: Image, scaling: IntensityScaling) -> Image:
    valid = ~image.mask
    rows, columns = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
    image = image.crop(slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    # Without its source: workers get a copy of all this.
    return replace(image, data=scaling.fit(image.data)(image.data), source=None, meta={})


def _scaled_reference(reference: Reference, image: Image, scaling: IntensityScaling) -> Reference:
    values = reference.intensities()
    if values is None:
        values = reference.sample_grid(np.eye(3), image.grid.shape, np.arange(image.grid.shape[1], dtype=float))
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() == finite.max():
        raise AlignmentError(
            f"The reference is constant where the target can be: every valid pixel is {finite[0]:g}, so there is "
            f"nothing to align. Check both pointings and reference_limits, or raise max_shift."
        )
    return reference.scaled(scaling.fit(values))


def _voice(result: AlignmentResult, doubts: Sequence[str], on_doubt: str) -> None:
    log.debug(result.summary())
    if not doubts or on_doubt == "ignore":
        return
    message = f"The alignment of {result.target.name} is doubtful. {' '.join(doubts)}"
    if on_doubt == "raise":
        raise AlignmentDoubtError(message, result)
    warn_user(message)
