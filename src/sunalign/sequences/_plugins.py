"""Pairs compared by `sunalign.align`: any parameters, any metric, any optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import astropy.units as u

from sunalign._progress import tracked
from sunalign.alignment.align import align
from sunalign.alignment.search import free_parameters
from sunalign.correction import PARAMETERS
from sunalign.exceptions import AlignmentError
from sunalign.geometry.coordinates import ARCSEC, PixelGrid
from sunalign.images import Image
from sunalign.model.intensity import IntensityScaling
from sunalign.sequences._choice import Choice
from sunalign.sequences._estimators import Estimate
from sunalign.sequences._held import Held, held_by_detector
from sunalign.sequences._known_motion import Placing, SceneGrid
from sunalign.sequences._network import PairTable, closure_share, pairs_up_to, solve_network
from sunalign.sequences._stack import Stack
from sunalign.sequences._working import WorkingImage

__all__ = ["PluginEstimator", "free_names"]

#: Longest lag of pairs that cost as much as an alignment each.
_REACH = 2


def free_names(fit: str | Sequence[str]) -> tuple[str, ...]:
    """Free parameters, in order.

    Parameters
    ----------
    fit : `str` or sequence of `str`
    """
    for word in ("drift", "height"):
        if word in ([fit] if isinstance(fit, str) else fit):
            raise AlignmentError(
                f"'fit' of a sequence has no parameter {word!r}: every frame is one image of one time. Choose among "
                f"shift, scale and rotation, or fit it frame by frame with sunalign.align()."
            )
    return tuple(free_parameters(fit))


@dataclass(frozen=True, eq=False)
class PluginEstimator:
    """Pairs of working images aligned by plugins.

    Parameters
    ----------
    options : mapping
        Of `sunalign.align`: fit, metric, optimizer, max_shift and those of the plugins.
    max_lag : `int`, optional
    n_jobs : `int`
    progress : `bool` or callable, optional
    """

    options: Mapping[str, Any]
    max_lag: int | None
    n_jobs: int
    progress: bool | Callable[..., Any] | None

    def estimate(self, stack: Stack, placings: list[Placing | None], scene: SceneGrid) -> Estimate:
        """Where all frames are.

        Parameters
        ----------
        stack, placings, scene
            As in `CorrelationEstimator.estimate`.
        """
        names = free_names(self.options["fit"])
        frames = stack.usable
        reach = self.max_lag or _REACH
        local = pairs_up_to(len(frames), min(reach, 8), reach if reach > 8 else 4 * reach)
        options = self._align_options(scene)
        images = {int(k): _as_image(stack, int(k), scene) for k in frames}
        jobs = [(images[int(frames[j])], images[int(frames[i])], options, names) for i, j in local]
        measured = list(_run(jobs, self.n_jobs, self.progress))
        table = PairTable(
            local[:, 0],
            local[:, 1],
            np.array([m[0] for m in measured]),
            np.array([m[1] for m in measured]),
            np.array([m[2] for m in measured]),
            np.full(len(local), np.nan),
            np.array([m[3] for m in measured], bool),
        )
        network = solve_network(table, len(frames), closure_share(table.only(table.found)))
        residual = table.shift - (network.theta[table.second] - network.theta[table.first])
        n, p = len(stack), len(names)
        values, covariance = np.full((n, p), np.nan), np.full((n, p, p), np.nan)
        placed = np.zeros(n, bool)
        placed[frames] = network.placed
        nothing = np.array([1.0 if name.startswith("scale") else 0.0 for name in names])
        values[placed], covariance[placed] = network.theta[network.placed] + nothing, network.covariance[network.placed]
        local = np.full((n, p, p), np.nan)
        local[placed] = network.local[network.placed]
        shift = _scene_shift(names, values, scene)
        renumbered = replace(table, first=frames[table.first], second=frames[table.second])
        return Estimate(
            names,
            values,
            covariance,
            local,
            placed,
            renumbered,
            network.weight,
            residual,
            Choice("pairs", reach),
            scene_shift=shift,
            pivot=_pivot(scene),
            held=_held(stack, names, shift, covariance, placings, scene),
        )

    def _align_options(self, scene: SceneGrid) -> dict[str, Any]:
        kept = {key: value for key, value in self.options.items() if value is not None}
        nx, ny = scene.grid.shape[1], scene.grid.shape[0]
        width = 0.25 * min(nx * scene.grid.pixel_size[0], ny * scene.grid.pixel_size[1]) / ARCSEC
        kept.setdefault("max_shift", max(width, 1.0) * u.arcsec)
        # They are scaled and brought to one time already.
        return {
            "solar_rotation": "none",
            "scaling": IntensityScaling(stretch="linear", clip=None),
            "pivot": _pivot(scene),
            **kept,
        }


def _held(
    stack: Stack,
    names: Sequence[str],
    shift: np.ndarray,
    covariance: np.ndarray,
    placings: list[Placing | None],
    scene: SceneGrid,
) -> Held:
    """Whether a pattern of the detector draws frames that are shifted and nothing else."""
    placed = np.flatnonzero(np.isfinite(shift).all(axis=1))
    if tuple(names) != ("shift_x", "shift_y") or not len(placed):
        return Held()
    theta = np.where(np.isfinite(shift), shift, 0.0)
    pixel = np.sqrt(np.prod(scene.grid.pixel_size)) / ARCSEC
    return held_by_detector(stack.at(theta), theta, covariance / pixel**2, placed, placings, scene, only_ask=True)


def _pivot(scene: SceneGrid) -> u.Quantity:
    return np.array([float(a) for a in scene.grid.angles(*scene.grid.centre)]) / ARCSEC * u.arcsec


def _as_image(stack: Stack, number: int, scene: SceneGrid) -> Image:
    image: WorkingImage | None = stack.images[number]
    assert image is not None
    x, y = stack.positions()[number]
    x0, bx, y0, by = scene.grid.to_base
    grid = PixelGrid(scene.grid.wcs, image.data.shape, (x0 + bx * x, bx, y0 + by * y, by))
    data = image.data.astype(float)
    if image.valid is not None:
        data[~image.valid] = np.nan
    return Image(data, grid, {}, None, f"frame {number}")


def _run(jobs: Sequence[tuple[Any, ...]], n_jobs: int, progress: Any) -> Any:
    if n_jobs == 1:
        for job in tracked(jobs, progress, "pairs"):
            yield _one(*job)
        return
    from sunalign.model.workers import reusable_executor

    executor = reusable_executor(n_jobs)
    futures = [executor.submit(_one, *job) for job in jobs]
    for future in tracked(futures, progress, "pairs"):
        yield future.result()


def _one(
    target: Image, reference: Image, options: Mapping[str, Any], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """What is to be added to the second frame's parameters, the first's held."""
    p = len(names)
    try:
        result = align((target.data, _wcs(target)), (reference.data, _wcs(reference)), on_doubt="ignore", **options)
    except AlignmentError:
        return np.zeros(p), np.full((p, p), np.nan), 0.0, False
    parameters = result.correction.parameters
    value = np.array([parameters[name] - (1.0 if name.startswith("scale") else 0.0) for name in names])
    covariance = result.correction.covariance
    if covariance is None or not np.isfinite(covariance).all():
        return value, np.full((p, p), np.nan), float(result.score), False
    return value, covariance, float(result.score), bool(result.success)


def _wcs(image: Image) -> Any:
    """WCS of a working image, without a date: all of them are of one moment."""
    from sunalign.visualization.axes import plain_wcs

    wcs = plain_wcs(image.grid)
    for name in ("dateobs", "dateavg", "datebeg", "dateend"):
        setattr(wcs.wcs, name, "")
    for name in ("mjdobs", "mjdavg", "mjdbeg", "mjdend"):
        setattr(wcs.wcs, name, np.nan)
    return wcs


def _scene_shift(names: Sequence[str], values: np.ndarray, scene: SceneGrid) -> np.ndarray:
    turn = np.linalg.inv(scene.grid.jacobian(*scene.grid.centre) / ARCSEC)
    shift = np.zeros((len(values), 2))
    for column, name in enumerate(PARAMETERS[:2]):
        if name in names:
            shift[:, column] = values[:, list(names).index(name)]
    return shift @ turn.T
