"""One sequence, top to bottom."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

import astropy.units as u

from sunpy import log

from sunalign.abc import Metric, Optimizer
from sunalign.alignment.inputs import checked_jobs, pair_of_limits
from sunalign.exceptions import AlignmentDoubtError, AlignmentError, warn_user
from sunalign.geometry.coordinates import ARCSEC
from sunalign.geometry.dates import seconds_between
from sunalign.geometry.observation import check_modelling
from sunalign.images.cubes import CHOICES
from sunalign.model.intensity import IntensityScaling, make_scaling
from sunalign.sequences._anchors import anchor_numbers, find_anchors
from sunalign.sequences._drift import DRIFTS, settle_drift
from sunalign.sequences._estimators import CorrelationEstimator, Estimate, Estimator
from sunalign.sequences._frames import SequenceFrame, Sources, open_sequence
from sunalign.sequences._loading import Loaded, Preparation, load_all, reload
from sunalign.sequences._options import check_options
from sunalign.sequences._output import corrected_item, output_paths, write_files
from sunalign.sequences._plugins import PluginEstimator, free_names
from sunalign.sequences._result import SequenceResult
from sunalign.sequences._stack import Stack
from sunalign.sequences._tables import make_result

__all__ = ["align_sequence"]

METHODS = ("auto", "pairs", "template")

#: Part of a frame's side within which neighbours are sought unless the caller says more.
_SEARCH = 0.25

#: Working pixels along a side of which a window and a transform leave nothing; such frames are aligned pair by pair.
_NARROW = 24


def align_sequence(
    frames: Any,
    reference: Any = None,
    *,
    fit: str | Sequence[str] = ("shift",),
    method: str | Estimator = "auto",
    metric: str | type[Metric] | Metric = "ncc",
    optimizer: str | type[Optimizer] | Optimizer = "coarse-to-fine",
    max_shift: u.Quantity | None = None,
    max_lag: int | None = None,
    anchor_every: int | None = None,
    drift: str = "auto",
    solar_rotation: str = "differential",
    observer_motion: Any = None,
    scaling: str | IntensityScaling | None = None,
    target_mask: np.ndarray | None = None,
    target_limits: tuple[float | None, float | None] | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    n_jobs: int = 1,
    progress: bool | Callable[..., Any] | None = None,
    on_doubt: str = "warn",
    **options: Any,
) -> SequenceResult:
    """Align the frames of one instrument with each other and, if there is one, with a trusted reference.

    Parameters
    ----------
    frames : sequence of maps, cubes or paths, `~sunpy.map.MapSequence`, `~ndcube.NDCubeSequence` or `~ndcube.NDCube`
        In any order; they are taken by their dates, and come back in the order given. Sizes, plate scales and exposures
        may differ. A cube has an axis for time. Paths are read one at a time; a raster or another cube in a file is
        one frame.
    reference : image, or a sequence of them, optional
        Trusted images, each compared with the frames nearest to it in time.
    fit : `str` or sequence of `str`
        Free parameters of every frame, as in `sunalign.align`.
    method : {"auto", "pairs", "template"} or `~sunalign.sequences.Estimator`
        ``"pairs"`` measures frames against their neighbours up to some lag and finds the positions that suit all pairs
        best; ``"template"`` measures each frame against the mean of all others, which is best where the scene does not
        change. ``"auto"`` takes what two halves of the images agree on best. An estimator of your own places the
        frames by itself.
    metric, optimizer : `str`, class or instance
        Plugins, as in `sunalign.align`. Other than the defaults they compare pair by pair, which takes longer.
    max_shift : `~astropy.units.Quantity`, optional
        How far a frame may be off its header along each axis. Both of two frames may be, so that they are sought within
        twice that of each other, but no less than two working pixels; other metrics and parameters than the defaults
        compare within ``max_shift`` itself. By default two frames are sought within a quarter of a frame. It bounds the
        search and not the answer, which may add up along the sequence; where neighbours come out more than twice
        ``max_shift`` apart, the answer is doubted.
    max_lag : `int`, optional
        Longest lag of the pairs; by default it is chosen from the data.
    anchor_every : `int`, optional
        Every so many frames one is aligned with the reference; by default some sixteen in all.
    drift : {"auto", "keep", "remove"}
        Without a reference nothing tells a slow drift of the pointing from a motion of the scene. ``"keep"`` corrects
        the jitter only and keeps the slow pointing of the headers, ``"remove"`` holds the scene still. ``"auto"`` is
        ``"keep"``; with a reference it is what the anchors say.
    solar_rotation : {"differential", "rigid", "none"}
        How the Sun turns between frames, which is taken out first.
    observer_motion : optional
        As the reference builder ``"image"`` has it.
    scaling : {"sqrt", "log", "linear"} or `~sunalign.model.intensity.IntensityScaling`, optional
        Of the intensities, square root by default, each frame by its own percentiles.
    target_mask : `numpy.ndarray` of `bool`, optional
        True where the pixels of all frames of this shape are to be ignored: an occulter, dust, dead columns.
    target_limits : `tuple` of `float`, optional
        (lower, upper) intensities beyond which pixels are ignored; `None` for no limit.
    output : path, optional
        Directory to which corrected copies of frames that are paths go, under their own names: all of them or none.
    overwrite : `bool`
        Whether files there may be replaced.
    n_jobs : `int`
        Worker processes that read files and compare pairs; -1 for one a core.
    progress : `bool` or callable, optional
        True for a bar on the terminal, or something like `tqdm.tqdm`.
    on_doubt : {"warn", "raise", "ignore"}
        What to do when a frame cannot be placed or the answer is doubtful; ``success`` is False in any case.
    **options
        For cubes, in files too, those of `sunalign.images.cubes.spectral_image`, and ``hdu``, the number or EXTNAME of
        a file's window; by default it is the first on the sky that has the ``line`` or ``wavelength``. The others go
        to `sunalign.align` where frames are compared by it, which is with the reference and with other metrics.

    Returns
    -------
    `~sunalign.sequences.SequenceResult`

    Raises
    ------
    ~sunalign.exceptions.AlignmentError
        The frames are no sequence, or nothing ties them together.

    Examples
    --------
    >>> import sunalign
    >>> from sunalign.testing.helpers import small_sequence
    >>> frames, truth = small_sequence(12)
    >>> result = sunalign.align_sequence(frames, drift="remove")
    >>> result.success
    True
    """
    _check(method, drift, on_doubt, max_lag, anchor_every, max_shift)
    if anchor_every is not None and reference is None:
        raise ValueError("'anchor_every' is for frames that are compared with a reference, and none was given.")
    if target_limits is not None:
        target_limits = pair_of_limits(target_limits, "target")
    free = free_names(fit)
    n_jobs = checked_jobs(n_jobs)
    check_options(metric, optimizer, {k: v for k, v in options.items() if k not in _TAKEN}, {*_KEYWORDS, *_TAKEN})
    choices = {key: options.pop(key) for key in (*CHOICES, "hdu") if key in options}
    modelling = check_modelling(solar_rotation, "step", observer_motion, options.pop("height", 0 * u.Mm))
    prepare = Preparation(make_scaling(scaling or "sqrt"), target_mask, target_limits)
    plugins = {"fit": fit, "metric": metric, "optimizer": optimizer, "max_shift": max_shift, **options}

    # The frames, and where they are on one scene by their headers.
    sources = open_sequence(frames, choices)
    paths = None if output is None else output_paths(sources.items, output, overwrite)
    loaded = load_all(sources.frames, modelling, prepare, n_jobs, progress)
    problems = dict(loaded.problems)
    if metric == "ncc":
        problems |= _of_other_light(sources.frames, problems)
    stack = Stack([None if k in problems else image for k, image in enumerate(loaded.images)])
    if len(stack.usable) < 2:
        raise AlignmentError(_nothing_left(sources, problems))

    # What moves between them.
    def again(moved: np.ndarray) -> list[Any]:
        return reload(sources.frames, loaded.placings, loaded.prepare, moved, {}, n_jobs, progress)

    plain = free == ("shift_x", "shift_y") and (metric, optimizer) == ("ncc", "coarse-to-fine")
    estimator: Estimator
    if not isinstance(method, str):
        estimator = method
    elif plain and min(loaded.scene.grid.shape) >= _NARROW:
        search = _search(loaded, max_shift)
        estimator = CorrelationEstimator(method, max_lag, search, again if loaded.is_warped else None)
    else:
        estimator = PluginEstimator(plugins, max_lag, n_jobs, progress)
    estimate = estimator.estimate(stack, loaded.placings, loaded.scene)
    problems |= estimate.odd
    if not estimate.placed.any():
        raise AlignmentError(_no_tie(sources, loaded, stack))

    # Where all of it is.
    anchors = None
    if reference is not None:
        numbers = anchor_numbers(np.flatnonzero(estimate.placed), anchor_every)
        seen = {"solar_rotation": solar_rotation, "observer_motion": observer_motion, "pivot": estimate.pivot}
        seen |= _only_given(plugins)
        anchors = find_anchors(sources.frames, numbers, reference, seen, progress)
    settled = settle_drift(estimate, _seconds(sources.frames, loaded), drift, anchors)

    # What comes of it.
    result = make_result(
        sources,
        loaded,
        stack,
        estimate,
        settled,
        anchors,
        problems,
        _assumed(loaded, prepare, estimate),
        _beyond(sources.frames, estimate, max_shift),
    )
    result = replace(result, aligned=_corrected(sources, result, paths, progress))
    log.debug(f"{len(result.table)} frames by {result.method}: {result.message}")
    _announce(result, on_doubt)
    return result


#: For the hint at a misspelt one; and loose ones that are read here.
_KEYWORDS = tuple(inspect.signature(align_sequence).parameters)
_TAKEN = (*CHOICES, "hdu", "height")


def _corrected(sources: Sources, result: SequenceResult, paths: Any, progress: Any) -> Any:
    if paths is not None:
        return write_files(
            sources.items,
            paths,
            result.corrections,
            result.provenance,
            lambda row: row not in sources.unreadable,
            {frame.number: frame.window for frame in sources.frames if frame.window is not None},
            progress,
        )
    of_file = [isinstance(item, (str, os.PathLike)) for item in sources.items]
    if all(of_file):
        return None
    return sources.rebuild(
        [
            None if of_file[row] else corrected_item(item, correction, result.provenance(row))
            for row, (item, correction) in enumerate(zip(sources.items, result.corrections, strict=True))
        ]
    )


def _seconds(frames: Sequence[SequenceFrame], loaded: Loaded) -> np.ndarray:
    middle = loaded.scene.head.date
    return np.array([seconds_between(middle, frame.date) for frame in frames])


def _search(loaded: Loaded, max_shift: u.Quantity | None) -> tuple[float, float]:
    """Working pixels within which neighbours are sought."""
    grid = loaded.scene.grid
    if max_shift is None:
        return max(4.0, _SEARCH * grid.shape[1]), max(4.0, _SEARCH * grid.shape[0])
    # Each of the two may be off.
    x, y = (2 * float(max_shift.to_value(u.rad)) / size for size in grid.pixel_size)
    return max(x, 2.0), max(y, 2.0)


def _of_other_light(frames: Sequence[SequenceFrame], problems: Mapping[int, str]) -> dict[int, str]:
    """Frames of another wavelength than most."""
    lights = [frame.light for k, frame in enumerate(frames) if k not in problems and frame.light]
    if len({*lights}) < 2:
        return {}
    usual = max({*lights}, key=lights.count)
    return {
        k: f"It was taken in {frame.light}, most frames in {usual}; choose metric='mutual-information' to use it too"
        for k, frame in enumerate(frames)
        if k not in problems and frame.light and frame.light != usual
    }


def _assumed(loaded: Loaded, prepare: Preparation, estimate: Estimate) -> dict[str, str]:
    kept = {key: value for key, value in loaded.assumptions.items() if key != "target time"}
    if estimate.held.said:
        kept["pattern of the detector"] = estimate.held.said
    return {
        "scaling": str(prepare.scaling),
        **kept,
        "frames compared": "sampled on the scene's grid" if loaded.is_warped else "on their own pixels",
    }


def _only_given(plugins: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plugins.items() if value is not None}


# Words


def _beyond(frames: Sequence[SequenceFrame], estimate: Estimate, max_shift: u.Quantity | None) -> str:
    """A word where neighbours come out further from each other than was allowed."""
    columns = [k for k, name in enumerate(estimate.names) if name in ("shift_x", "shift_y")]
    placed = np.flatnonzero(estimate.placed)
    if max_shift is None or not columns or len(placed) < 2:
        return ""
    jumps = np.abs(np.diff(estimate.values[placed][:, columns], axis=0)).max(axis=1)
    errors = np.sqrt(np.array([np.diag(estimate.covariance[k])[columns].max() for k in placed]))
    limit = 2 * float(max_shift.to_value(u.arcsec))
    most = int(np.argmax(jumps))
    if not jumps[most] > limit + 3 * np.hypot(errors[most], errors[most + 1]):
        return ""
    first, second = (frames[placed[k]].name for k in (most, most + 1))
    return (
        f"{first} and {second} come out {jumps[most]:.3g} arcsec from where their headers have them to each other, "
        f"more than twice max_shift ({limit:.3g} arcsec). Raise max_shift, or look at these frames."
    )


def _nothing_left(sources: Sources, problems: Mapping[int, str]) -> str:
    number, why = next(iter(problems.items()))
    return (
        f"Fewer than two of the {len(sources.items)} frames show anything to align. "
        f"{sources.frames[number].name}: {why}."
    )


def _no_tie(sources: Sources, loaded: Loaded, stack: Stack) -> str:
    first, second = (sources.frames[k].name for k in stack.usable[:2])
    place, size = stack.positions()[stack.usable], stack.shapes()[stack.usable]
    gap = np.abs(np.diff(place, axis=0)) > 0.75 * size[:-1]
    if gap.any(axis=1).all():
        moved = np.abs(np.diff(place, axis=0)).max() * min(loaded.scene.grid.pixel_size) / ARCSEC
        return (
            f"No two neighbours overlap: by their headers {first} and {second} are up to {moved:.0f} arcsec apart, "
            f"more than three quarters of a frame. Check the headers, or align each with a reference by itself."
        )
    return (
        f"No frame can be tied to another: {first} and {second} and all the others have no structure in common within "
        f"max_shift. Check that they show one field in one light, raise max_shift, or choose another metric."
    )


def _check(
    method: Any, drift: str, on_doubt: str, max_lag: Any, anchor_every: Any, max_shift: u.Quantity | None
) -> None:
    if not isinstance(method, str) and hasattr(method, "estimate"):
        method = "auto"
    for name, value, allowed in (
        ("method", method, METHODS),
        ("drift", drift, DRIFTS),
        ("on_doubt", on_doubt, ("warn", "raise", "ignore")),
    ):
        if value not in allowed:
            words = ", ".join(repr(word) for word in allowed[:-1])
            raise ValueError(f"'{name}' is {words} or {allowed[-1]!r}; got {value!r}.")
    for name, value in (("max_lag", max_lag), ("anchor_every", anchor_every)):
        if value is not None and (not isinstance(value, Integral) or value < 1):
            raise ValueError(f"'{name}' is a number of frames, 1 or more; got {value!r}.")
    if max_shift is not None and not (
        isinstance(max_shift, u.Quantity) and max_shift.unit.is_equivalent(u.arcsec) and max_shift > 0
    ):
        raise TypeError(f"'max_shift' is an angle such as 30 * u.arcsec; got {max_shift!r}.")


def _announce(result: SequenceResult, on_doubt: str) -> None:
    if result.success or on_doubt == "ignore":
        return
    if on_doubt == "raise":
        raise AlignmentDoubtError(result.message, result)
    warn_user(result.message)
