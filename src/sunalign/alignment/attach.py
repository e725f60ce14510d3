"""``align_to`` on maps, cubes and sequences of them, beside ``reproject_to``.

Neither sunpy nor ndcube has a registry for such methods yet. Until one exists importing this sets the method, never
overrides, keeps nothing on instances and can be undone. ``import sunalign`` imports it together with maps and cubes.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import astropy.units as u

from ndcube.ndcube import NDCubeBase
from ndcube.ndcube_sequence import NDCubeSequenceBase
from sunpy.map import GenericMap, MapSequence

from sunalign.exceptions import warn_user

if TYPE_CHECKING:
    import numpy as np

    from astropy.table import Table

    from sunalign.abc import Corrector, Metric, Optimizer, ReferenceBuilder
    from sunalign.correction import Correction
    from sunalign.model.intensity import IntensityScaling

__all__ = ["attach", "detach"]

TARGETS: tuple[type, ...] = (GenericMap, NDCubeBase, MapSequence, NDCubeSequenceBase)

# Classes that were found to have a method of that name: saying so once is enough.
_WARNED: set[type] = set()


def align_to(
    self: Any,
    reference: Any,
    *,
    return_result: bool = False,
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
    target_limits: tuple[float | None, float | None] | None = None,
    reference_limits: tuple[float | None, float | None] | None = None,
    min_overlap: float = 0.25,
    working_grid: str = "target",
    max_evaluations: int | None = None,
    n_jobs: int = 1,
    rng: np.random.Generator | int | None = None,
    progress: bool | Callable[..., Any] | None = None,
    on_doubt: str = "warn",
    **options: Any,
) -> Any:
    """Correct this image's pointing by comparing it with a reference.

    Parameters
    ----------
    reference : image, or a sequence of them
        Image whose pointing is trusted.
    return_result : `bool`
        Return ``(image, result)`` instead of the image alone.
    fit, metric, optimizer, reference_builder, corrector, max_shift, bounds, start, pivot, pointing, drift_time, \
    drift_knots, drift_prior, scaling, target_mask, reference_mask, target_limits, reference_limits, min_overlap, \
    working_grid, max_evaluations, n_jobs, rng, progress, on_doubt
        As `sunalign.align` has them.
    **options
        Options of the plugins; for a cube also those of `sunalign.images.cubes.spectral_image`: ``wavelength``,
        ``width``, ``line``, ``reduce``, ``mask_dumbbells``.

    Returns
    -------
    `~sunpy.map.GenericMap` or `~ndcube.NDCube`
        A new object of the same type with corrected coordinates; the data are shared and not resampled.
    `~sunalign.AlignmentResult`
        With ``return_result=True``: the whole story.
    """
    keywords = {key: value for key, value in locals().items() if key not in ("self", "reference", *_OWN)}
    # Loaded with the first alignment, not with the package.
    from sunalign.alignment.align import align
    from sunalign.images.cubes import CHOICES, spectral_image

    target = self
    if isinstance(self, NDCubeBase) and any(key in options for key in CHOICES):
        target = spectral_image(self, **{key: options.pop(key) for key in CHOICES if key in options})
    result = align(target, reference, **keywords, **options)
    return (result.aligned, result) if return_result else result.aligned


#: Arguments that are not handed on as they are.
_OWN = ("return_result", "options")


def align_sequence_to(self: Any, reference: Any = None, *, return_result: bool = False, **options: Any) -> Any:
    """Correct the pointing of all images of this sequence, by comparing them with each other and with a reference.

    Parameters
    ----------
    reference : image, or a sequence of them, optional
        Image whose pointing is trusted.
    return_result : `bool`
        Return ``(sequence, result)`` instead of the sequence alone.
    **options
        As `sunalign.align_sequence` has them.

    Returns
    -------
    `~sunpy.map.MapSequence` or `~ndcube.NDCubeSequence`
        A new sequence with corrected coordinates; the data are shared and not resampled.
    `~sunalign.sequences.SequenceResult`
        With ``return_result=True``: the whole story.
    """
    from sunalign.sequences import align_sequence

    result = align_sequence(self, reference, **options)
    return (result.aligned, result) if return_result else result.aligned


def _method_for(cls: type) -> Any:
    return align_sequence_to if issubclass(cls, (MapSequence, NDCubeSequenceBase)) else align_to


def attach(targets: tuple[type, ...] = TARGETS) -> None:
    """Give maps, cubes and sequences of them their ``align_to``; ``import sunalign`` does so.

    Parameters
    ----------
    targets : `tuple` of class
        Which get the method; one that has an ``align_to`` of its own keeps it, with a warning.
    """
    for cls in targets:
        method = _method_for(cls)
        existing = inspect.getattr_static(cls, "align_to", None)
        if existing is None:
            cls.align_to = method  # type: ignore[attr-defined]
        elif existing is not method and cls not in _WARNED:
            _WARNED.add(cls)
            warn_user(f"{cls.__name__} has an align_to of its own, which is left alone; use sunalign.align() instead.")


def detach(targets: tuple[type, ...] = TARGETS) -> None:
    """Take the methods away again.

    Parameters
    ----------
    targets : `tuple` of class
        As in `attach`.
    """
    for cls in targets:
        if cls.__dict__.get("align_to") is _method_for(cls):
            del cls.align_to  # type: ignore[attr-defined]


attach()
