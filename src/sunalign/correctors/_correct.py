"""Correct any target with the corrector that fits it."""

from __future__ import annotations

import os
from typing import Any

from ndcube.ndcube import NDCubeBase

from sunalign.abc import Corrector
from sunalign.correction import Correction
from sunalign.correctors._fits import FITSCorrector
from sunalign.correctors._ndcube import NDCubeCorrector
from sunalign.correctors._wcs import WCSCorrector
from sunalign.registry import resolve

__all__ = ["correct", "corrector_for"]


def corrector_for(target: Any) -> str:
    """Name of the corrector that fits a target: ``"ndcube"`` for a cube, ``"fits"`` for a path, else ``"wcs"``."""
    if isinstance(target, NDCubeBase):
        return "ndcube"
    return "fits" if isinstance(target, (str, os.PathLike)) else "wcs"


def correct(target: Any, correction: Correction, *, corrector: str | type[Corrector] | Corrector | None = None) -> Any:
    """Write a correction into a target's coordinates.

    Parameters
    ----------
    target : `~sunpy.map.GenericMap`, `~ndcube.NDCube`, `tuple` or path
        A map, a cube, ``(data, header)`` or ``(data, wcs)`` gives a new one of its type; a path gives the path of a new
        file beside it.
    correction : `~sunalign.Correction`
        What to write, as found by `sunalign.align` on this target or on another with the same pointing.
    corrector : `str`, class or `~sunalign.abc.Corrector`, optional
        Chosen by the type of the target by default.

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        The target's coordinates cannot express the correction.
    """
    if corrector is None:
        corrector = {"wcs": WCSCorrector, "ndcube": NDCubeCorrector, "fits": FITSCorrector}[corrector_for(target)]
    chosen = resolve(Corrector, corrector)  # type: ignore[type-abstract]
    plugin = chosen() if isinstance(chosen, type) else chosen
    return plugin.apply(target, correction)
