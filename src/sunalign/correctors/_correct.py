"""Correct any target with the corrector that fits it."""

from __future__ import annotations

from typing import Any

from sunpy import log

from sunalign.abc import Corrector
from sunalign.correction import Correction
from sunalign.exceptions import PluginConflictError, PluginError, describe_error
from sunalign.registry import load, names, resolve

__all__ = ["correct", "corrector_for"]


def corrector_for(target: Any) -> str:
    """Name of the installed corrector that accepts a target.

    Parameters
    ----------
    target : object
        A map, a cube, ``(data, header)``, ``(data, wcs)``, a path, or what a corrector of another package takes.

    Returns
    -------
    `str`
        That of another package where one accepts the target, for it knows more of it; else ``"ndcube"`` for a cube,
        ``"fits"`` for a path and ``"wcs"`` for all else.

    Raises
    ------
    ~sunalign.exceptions.PluginConflictError
        Two other packages bring a corrector that accepts it.
    """
    ours: list[str] = []
    theirs: list[str] = []
    for name in names(Corrector):
        try:
            corrector = load(Corrector, name)  # type: ignore[type-abstract]
        except PluginError as error:
            # A broken plugin is an error for whoever asks for it, and nobody did.
            log.debug(f"The corrector '{name}' is left out: {describe_error(error)}.")
            continue
        if corrector.accepts(target):
            (ours if corrector.__module__.startswith("sunalign.") else theirs).append(name)
    if len(theirs) > 1:
        raise PluginConflictError(
            f"The correctors {' and '.join(map(repr, theirs))} both accept a {type(target).__name__}; "
            f"say which is meant: corrector='{theirs[0]}'."
        )
    return next(iter([*theirs, *ours]), "wcs")


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
        By default the one that accepts the target; see `~sunalign.correctors.corrector_for`.

    Raises
    ------
    ~sunalign.exceptions.CorrectionError
        The target's coordinates cannot express the correction.
    """
    chosen = resolve(Corrector, corrector or corrector_for(target))  # type: ignore[type-abstract]
    plugin = chosen() if isinstance(chosen, type) else chosen
    return plugin.apply(target, correction)
