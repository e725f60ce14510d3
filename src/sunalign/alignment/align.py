"""One alignment, top to bottom."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import astropy.units as u
from astropy.table import Table

from sunalign._progress import reporter
from sunalign.abc import Corrector, Metric, Optimizer, ReferenceBuilder
from sunalign.alignment.climb import Images, climb
from sunalign.alignment.columns import read_request
from sunalign.alignment.contract import check_powers, corrected
from sunalign.alignment.inputs import (
    as_references,
    checked_budget,
    checked_jobs,
    checked_overlap,
    make_rng,
    prepare,
    prepared_references,
)
from sunalign.alignment.options import make_plugins
from sunalign.alignment.outcome import announce, check_on_doubt, judge, tell
from sunalign.alignment.search import make_search
from sunalign.alignment.slit import read_slit
from sunalign.alignment.start import start_for
from sunalign.alignment.working_grid import on_working_grid
from sunalign.correction import Correction
from sunalign.correctors import corrector_for
from sunalign.images import to_image
from sunalign.model.budget import Budget
from sunalign.model.intensity import IntensityScaling, make_scaling
from sunalign.pointing.options import DriftOptions
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
    start: Correction | Mapping[str, Any] | Table | str | os.PathLike[str] | None = None,
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
    start : `~sunalign.Correction`, mapping, `~astropy.table.QTable` or path, optional
        Where the search begins: what is known beforehand. A table has a column ``time`` and columns by parameter name,
        as `sunalign.archive.fit_trend` makes it, and is read off at the target's time; a path is one of such a table
        (ECSV), or of a correction (JSON).
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
    scaling : {"sqrt", "log", "linear"} or `~sunalign.model.intensity.IntensityScaling`, optional
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
    check_on_doubt(on_doubt)
    n_jobs, rng = checked_jobs(n_jobs), make_rng(rng)
    budget, min_overlap = checked_budget(max_evaluations), checked_overlap(min_overlap)

    # The images.
    references = prepared_references(as_references(reference), reference_mask, reference_limits)
    slit = read_slit(target, target_mask, target_limits)
    given = to_image(target) if slit is None else slit.single
    prepared = prepare(given, target_mask, target_limits, "target") if slit is None else given
    image = on_working_grid(working_grid, prepared, references)

    # The plugins.
    choices = {
        Metric: metric,
        Optimizer: optimizer,
        ReferenceBuilder: reference_builder or ("image" if len(references) == 1 else "synthetic-raster"),
        Corrector: corrector or corrector_for(given.source if slit is None else slit.source),
    }
    plugins = make_plugins(choices, options, reserved=_KEYWORDS)

    # What is searched.
    drift_options = DriftOptions(time=drift_time, knots=drift_knots, prior=drift_prior)
    fit, columns = read_request(fit, pointing, target, given, slit, drift_options)
    columns.check(plugins[Metric], working_grid)
    columns.check_lookup(plugins[Corrector], given)
    begin = start_for(start, image)
    search = make_search(image.grid, fit=fit, max_shift=max_shift, bounds=bounds, start=begin, pivot=pivot)
    check_powers(plugins[Corrector], search.names, search.begin)
    images = Images(image, references, make_scaling(scaling or plugins[Metric].scaling), columns.assumptions, columns)

    # The reference, as the target's pixels see it, and the climb.
    with reporter(progress) as report:
        spending = Budget(budget, report)
        climbed = climb(images, plugins, search, min_overlap=min_overlap, rng=rng, budget=spending, n_jobs=n_jobs)

    # The pointing of the columns.
    followed = columns.follow(climbed, images, plugins, search)

    # How sure it is.
    judged = judge(followed.climbed, followed.covariance)

    # What comes of it.
    plugins[ReferenceBuilder] = climbed.builder
    result = tell(images, plugins, followed.climbed, judged, nfev=spending.spent, grid=working_grid)
    result = replace(result, drift=followed.drift)
    if slit is None:
        result = replace(result, aligned=corrected(plugins[Corrector], target, given, result))
    else:
        result = replace(result, aligned=slit.corrected(plugins[Corrector], target, result))
    result = columns.stored(result)
    announce(result, on_doubt)
    return result


#: What cannot be the name of a plugin's option.
_KEYWORDS = tuple(inspect.signature(align).parameters)
