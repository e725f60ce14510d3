"""Plugins held to their contract: what they raise and return is checked, and blamed on them by name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from sunalign.abc import Corrector, Optimizer, ReferenceBuilder
from sunalign.alignment.search import with_units
from sunalign.correction import Correction
from sunalign.correctors import FITSCorrector
from sunalign.exceptions import AlignmentError, CorrectionError, PluginError, WorkerError, describe_error
from sunalign.images import Image, to_image
from sunalign.model.budget import BudgetSpent
from sunalign.model.objective import Objective
from sunalign.model.reference import ImageReference
from sunalign.model.reference_contract import Reference
from sunalign.model.search_space import SearchSpace
from sunalign.registry import name_of
from sunalign.result import AlignmentResult

__all__ = ["build_reference", "check_powers", "corrected", "maximize"]


@contextmanager
def _blamed(plugin: str, *words_of_its_own: type[Exception]) -> Iterator[None]:
    """Name the plugin in whatever it raises, but for words of its own about the input, and what the framework raises.

    The package's own errors are such words, and a warning that the user has made an error; where a plugin reads or
    writes files, so is what the system says of them.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (AlignmentError, PluginError, WorkerError, BudgetSpent, Warning, *words_of_its_own)):
            raise
        raise PluginError(f"The {plugin} failed: {describe_error(error)}.") from error


def check_powers(corrector: Corrector, names: Sequence[str], begin: Mapping[str, float]) -> None:
    """Refuse, before any work, a fit that the corrector cannot express.

    Parameters
    ----------
    corrector : `~sunalign.abc.Corrector`
    names : sequence of `str`
        The free parameters.
    begin : mapping
        What all parameters begin with, as plain numbers: one that is held may move something too.
    """
    still = all(value == (1.0 if name.startswith("scale") else 0.0) for name, value in begin.items())
    wanted = {*names, *(() if still else Correction.from_parameters(**with_units(begin)).moved)}
    beyond = sorted(wanted - corrector.parameters)
    if beyond:
        raise CorrectionError(
            f"The corrector '{name_of(corrector)}' cannot apply {' and '.join(beyond)}; "
            f"choose another corrector, or leave it out of fit."
        )


def build_reference(builder: ReferenceBuilder, references: Sequence[Any], image: Image, margin: float) -> Reference:
    """Let the builder build, and make a `~sunalign.model.reference_contract.Reference` of what it returns.

    Parameters
    ----------
    builder : `~sunalign.abc.ReferenceBuilder`
    references : sequence
        As the caller gave them.
    image : `~sunalign.images.Image`
        The target.
    margin : `float`
        By how much the target may be moved at the most, radians.
    """
    with _blamed(f"reference builder '{name_of(builder)}'", OSError):
        built = builder.build(references, image)
    if isinstance(built, Reference):
        return built.within(margin)
    if isinstance(built, Image) or _is_readable(built):
        return ImageReference.of(to_image(built), image, margin=margin)
    raise PluginError(
        f"The reference builder '{name_of(builder)}' returned {type(built).__name__}; "
        f"it has to return a sunalign.model.reference_contract.Reference or an image."
    )


def _is_readable(built: Any) -> bool:
    return to_image.dispatch(type(built)) is not to_image.dispatch(object)


def maximize(
    optimizer: Optimizer, objective: Objective, space: SearchSpace, rng: np.random.Generator
) -> OptimizeResult:
    """Let the optimizer search, and check what it returns.

    Parameters
    ----------
    optimizer : `~sunalign.abc.Optimizer`
    objective : `~sunalign.model.objective.Objective`
    space : `~sunalign.model.search_space.SearchSpace`
    rng : `numpy.random.Generator`

    Raises
    ------
    ~sunalign.exceptions.PluginError
        If the optimizer fails, or returns what is no point of the space.
    """
    name = name_of(optimizer)
    try:
        with _blamed(f"optimizer '{name}'"):
            found = optimizer.maximize(objective, space, rng=rng)
    except BudgetSpent:
        x, score = objective.best or (space.start, -np.inf)
        message = f"max_evaluations={objective.max_evaluations} were spent before the search ended."
        found = OptimizeResult(x=x, fun=score, success=False, message=message)
    _check_result(name, found, len(space))
    found.x, found.fun = np.asarray(found.x, float), float(found.fun)
    if not np.isfinite(found.x).all() or np.any(found.x != space.clip(found.x)):
        raise PluginError(f"The optimizer '{name}' returned a point outside the bounds: {found.x.tolist()}.")
    if not np.isfinite(found.fun):
        raise AlignmentError(
            "No trial pointing has a score: target and reference overlap too little, or are constant where they do. "
            "Check both pointings and dates, raise max_shift, or lower min_overlap; and if masks or limits are given, "
            "what target_mask, reference_mask and the limits leave."
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


def corrected(corrector: Corrector, target: Any, given: Image, result: AlignmentResult) -> Any:
    """Apply the correction, and write down how it was found.

    Parameters
    ----------
    corrector : `~sunalign.abc.Corrector`
    target : object
        As the caller gave it.
    given : `~sunalign.images.Image`
        As it was read.
    result : `~sunalign.AlignmentResult`
        With everything but the corrected target.
    """
    # A path that the corrector does not take as such was read as a map, which is what comes back of it.
    source = target if corrector.accepts(target) else given.source
    with _blamed(f"corrector '{name_of(corrector)}'", OSError):
        if isinstance(corrector, FITSCorrector):
            aligned = corrector.apply(
                source, result.correction, provenance=result.provenance(), pointing=result.found_pointing
            )
        else:
            aligned = corrector.apply(source, result.correction, provenance=result.provenance())
    if not isinstance(aligned, (str, os.PathLike) if isinstance(source, (str, os.PathLike)) else type(source)):
        raise PluginError(
            f"The corrector '{name_of(corrector)}' returned {type(aligned).__name__}; "
            f"it has to return the type that it was given, {type(source).__name__}."
        )
    return aligned
