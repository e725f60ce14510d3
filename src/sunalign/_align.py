"""One alignment, top to bottom."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import astropy.units as u
import numpy as np
from scipy.optimize import OptimizeResult
from sunpy import log

from sunalign._inputs import (
    as_references,
    checked_budget,
    checked_jobs,
    checked_overlap,
    make_rng,
    prepare,
    prepared_references,
    reporter,
)
from sunalign._options import make_plugins
from sunalign._search_space import (
    check_resolution,
    free_parameters,
    limits_of,
    make_space,
    pivot_pixel,
    pivot_sky,
    reach,
    start_values,
    with_units,
)
from sunalign._working_grid import on_working_grid
from sunalign.abc import Corrector, Metric, Optimizer, ReferenceBuilder
from sunalign.correction import Correction
from sunalign.correctors import FITSCorrector, add_history, corrector_for
from sunalign.exceptions import (
    AlignmentDoubtError,
    AlignmentError,
    CorrectionError,
    PluginError,
    WorkerError,
    told,
    warn_user,
)
from sunalign.images import Image, to_image
from sunalign.intensity import IntensityScaling, make_scaling
from sunalign.objective import BudgetSpent, Objective, Problem, SearchSpace
from sunalign.quality import assess, covariance
from sunalign.reference import ImageReference, Reference
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
        ``scale_y``. The others stay at their start.
    metric, optimizer, reference_builder, corrector : `str`, class or instance
        Plugins. By default the corrector goes with the target's type, and the reference builder is ``"image"`` for
        one reference and ``"synthetic-raster"`` for several.
    max_shift : `~astropy.units.Quantity`
        Largest shift, along each axis of the sky, from the start.
    bounds : mapping, optional
        ``(lower, upper)`` by parameter name; by default 0.8 to 1.25 for scales and 5 degrees either way for rotation.
    start : `~sunalign.Correction` or mapping, optional
        Where the search begins: what is known beforehand.
    pivot : `~astropy.units.Quantity`, shape (2,), optional
        (Tx, Ty) in the target's coordinates about which scale and rotation act; its centre by default.
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
        reference's grid first, aligns there, and translates the correction back.
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
    given = to_image(target)
    image = prepare(given, target_mask, target_limits, "target")
    if working_grid != "target":
        image = on_working_grid(working_grid, image, references)

    # The plugins.
    choices = {
        Metric: metric,
        Optimizer: optimizer,
        ReferenceBuilder: reference_builder or ("image" if len(references) == 1 else "synthetic-raster"),
        Corrector: corrector or corrector_for(given.source),
    }
    plugins = make_plugins(choices, options)

    # The search.
    names, centre = free_parameters(fit), pivot_pixel(image.grid, pivot)
    begin = start_values(start, pivot_sky(image.grid, centre))
    limits = limits_of(names, begin, max_shift, bounds)
    _check_powers(plugins[Corrector], names, begin)

    # The reference, as the target's pixels see it.
    built = _build(plugins[ReferenceBuilder], references, image, reach(limits, begin, image.grid))
    check_resolution(limits, {"target": min(image.grid.pixel_size), "reference": built.pixel_size})
    stretch = make_scaling(scaling or plugins[Metric].scaling)
    problem = Problem(
        target=_scaled_target(image, stretch),
        reference=_scaled_reference(built, image, stretch),
        metric=plugins[Metric],
        base=image.grid,
        pivot=centre,
        names=names,
        fixed={name: value for name, value in begin.items() if name not in names},
        min_overlap=min_overlap,
    )
    space = make_space(limits, begin, image.grid, built.pixel_size)

    # The climb.
    with (
        reporter(progress) as report,
        Objective(problem, space, n_jobs=n_jobs, max_evaluations=max_evaluations, progress=report) as objective,
    ):
        initial = objective(space.start)
        found = _maximize(plugins[Optimizer], objective, space, rng)
        nfev, history = objective.nfev, objective.history

    # How sure it is.
    quality, surface = assess(problem, space, found.x)
    errors = covariance(problem, found.x)
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
        assumptions={"scaling": str(stretch), "working grid": working_grid, **built.assumptions},
        target=image,
        reference=built,
        surface=surface,
        problem=problem,
        space=space,
        extra={key: value for key, value in found.items() if key not in ("x", "fun", "success", "message", "nit")},
    )
    result = replace(result, aligned=_corrected(plugins[Corrector], target, given, result))
    _voice(result, doubts, on_doubt)
    return result


def _check_powers(corrector: Corrector, names: Sequence[str], begin: Mapping[str, float]) -> None:
    wanted = {*names, *Correction.from_parameters(**with_units(begin)).moved}
    beyond = sorted(wanted - corrector.parameters)
    if beyond:
        raise CorrectionError(
            f"The corrector '{name_of(corrector)}' cannot apply {' and '.join(beyond)}; "
            f"choose another corrector, or leave it out of fit."
        )


def _build(builder: ReferenceBuilder, references: Sequence[Any], image: Image, margin: float) -> Reference:
    try:
        built = builder.build(references, image)
    except (AlignmentError, TypeError, ValueError, OSError):
        # Its own words about the user's input.
        raise
    except Exception as error:
        raise PluginError(f"The reference builder '{name_of(builder)}' failed: {told(error)}.") from error
    if isinstance(built, Reference):
        return built.within(margin)
    if isinstance(built, Image) or _is_readable(built):
        return ImageReference.of(to_image(built), image, margin=margin)
    raise PluginError(
        f"The reference builder '{name_of(builder)}' returned {type(built).__name__}; "
        f"it has to return a sunalign.reference.Reference or an image."
    )


def _is_readable(built: Any) -> bool:
    return to_image.dispatch(type(built)) is not to_image.dispatch(object)


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


def _maximize(
    optimizer: Optimizer, objective: Objective, space: SearchSpace, rng: np.random.Generator
) -> OptimizeResult:
    """Run the optimizer, and hold it to its contract."""
    name = name_of(optimizer)
    try:
        found = optimizer.maximize(objective, space, rng=rng)
    except BudgetSpent:
        x, score = objective.best or (space.start, -np.inf)
        message = f"max_evaluations={objective.max_evaluations} were spent before the search ended."
        found = OptimizeResult(x=x, fun=score, success=False, message=message)
    except (PluginError, AlignmentError, WorkerError):
        raise
    except Exception as error:
        raise PluginError(f"The optimizer '{name}' failed: {told(error)}.") from error
    _check_result(name, found, len(space))
    found.x, found.fun = np.asarray(found.x, float), float(found.fun)
    if not np.isfinite(found.x).all() or np.any(found.x != space.clip(found.x)):
        raise PluginError(f"The optimizer '{name}' returned a point outside the bounds: {found.x.tolist()}.")
    if not np.isfinite(found.fun):
        raise AlignmentError(
            "No trial pointing has a score: target and reference overlap too little, or are constant where they do. "
            "Check both pointings and dates, raise max_shift, or lower min_overlap."
        )
    found.setdefault("message", "")
    return found


def _check_result(name: str, found: Any, n: int) -> None:
    wanted = f"it has to return a scipy OptimizeResult with x of {n} numbers, fun and success"
    if not isinstance(found, OptimizeResult):
        raise PluginError(f"The optimizer '{name}' returned {type(found).__name__}; {wanted}.")
    missing = [key for key in ("x", "fun", "success") if key not in found]
    if missing:
        raise PluginError(f"The optimizer '{name}' returned a result without {' and '.join(missing)}; {wanted}.")
    for key, shape in (("x", (n,)), ("fun", ())):
        value = np.asarray(found[key])
        if value.shape != shape or value.dtype.kind not in "fiu":
            raise PluginError(
                f"The optimizer '{name}' returned a result whose {key} is of type {value.dtype} and shape "
                f"{value.shape}; {wanted}."
            )


def _corrected(corrector: Corrector, target: Any, given: Image, result: AlignmentResult) -> Any:
    # A path is read as a map, which is what comes back of it, unless the corrector is the one for files.
    source = target if isinstance(corrector, FITSCorrector) else given.source
    try:
        aligned = corrector.apply(source, result.correction)
    except (AlignmentError, TypeError, ValueError, OSError):
        raise
    except Exception as error:
        raise PluginError(f"The corrector '{name_of(corrector)}' failed: {told(error)}.") from error
    alike = (str, os.PathLike) if isinstance(source, (str, os.PathLike)) else type(source)
    if not isinstance(aligned, alike):
        raise PluginError(
            f"The corrector '{name_of(corrector)}' returned {type(aligned).__name__}; "
            f"it has to return the type that it was given, {type(source).__name__}."
        )
    header = aligned[1] if isinstance(aligned, tuple) else getattr(aligned, "meta", None)
    if isinstance(header, MutableMapping):
        add_history(header, result.provenance())
    return aligned


def _voice(result: AlignmentResult, doubts: Sequence[str], on_doubt: str) -> None:
    log.debug(result.summary())
    if not doubts or on_doubt == "ignore":
        return
    message = f"The alignment of {result.target.name} is doubtful. {' '.join(doubts)}"
    if on_doubt == "raise":
        raise AlignmentDoubtError(message, result)
    warn_user(message)
