"""The contract that plugins sign.

A plugin is a frozen, keyword-only dataclass: its constructor's keywords are its options. It implements one
abstract method. NaN, masks, frozen parameters, caching, history, budget, workers and progress are the
framework's work (`sunalign.model.objective.Objective`), so that no plugin has to care.

Masks are True where a pixel is to be ignored. Arrays are ``(ny, nx)``. Pixel coordinates are 0-based, ``x`` first.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

    from sunalign.correction import Correction
    from sunalign.images import Image
    from sunalign.model.objective import Objective
    from sunalign.model.reference_contract import Reference
    from sunalign.model.search_space import SearchSpace

__all__ = [
    "Corrector",
    "Metric",
    "NormalEquations",
    "Optimizer",
    "Plugin",
    "ReferenceBuilder",
    "ShiftSurface",
    "SupportsGaussNewton",
    "SupportsJudgement",
    "SupportsShiftSurface",
]


class Plugin(ABC):
    """Anything that can be chosen by name."""

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Names of the options, read from the constructor's signature."""
        return _option_names(cls)

    def options(self) -> dict[str, Any]:
        """Options as given; they go into the result and into HISTORY."""
        return {name: getattr(self, name) for name in self.option_names()}


@cache  # A signature takes longer to read than an option to find.
def _option_names(cls: type[Plugin]) -> tuple[str, ...]:
    parameters = inspect.signature(cls).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        raise TypeError(f"{cls.__name__} must name every option; *args and **kwargs cannot be matched to options.")
    return tuple(p.name for p in parameters)


class Metric(Plugin):
    """How alike two images on one pixel grid are. Larger is better."""

    #: Intensity scaling the metric likes when the caller does not ask for one; see `sunalign.model.intensity`.
    scaling: ClassVar[str] = "sqrt"

    @abstractmethod
    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        """Score of a candidate.

        Parameters
        ----------
        reference, target : `numpy.ndarray`, shape (ny, nx)
            Never to be changed. Values under the mask are meaningless and may be NaN.
        mask : `numpy.ndarray` of `bool`, shape (ny, nx)
            True where a pixel is to be ignored.

        Returns
        -------
        `float`
            NaN, or a documented neutral value, when there is nothing to compare.
        """


class Optimizer(Plugin):
    """Looks for the parameters that score best."""

    @abstractmethod
    def maximize(self, objective: Objective, space: SearchSpace, *, rng: np.random.Generator) -> OptimizeResult:
        """Search ``space``, which holds the free parameters only.

        Parameters
        ----------
        objective : `~sunalign.model.Objective`
            Called with the free parameters, in the order and the units of ``space``; larger is better.
        space : `~sunalign.model.SearchSpace`
        rng : `numpy.random.Generator`
            For optimizers that draw.

        Returns
        -------
        `scipy.optimize.OptimizeResult`
            ``x`` in the order of ``space``, ``fun`` the score there, ``success``, ``message``, ``nit``.
        """


class ReferenceBuilder(Plugin):
    """Makes what the target is compared with."""

    @abstractmethod
    def build(self, references: Sequence[Any], target: Image) -> Reference | Image:
        """Make the reference.

        Parameters
        ----------
        references : sequence
            One image or more, each a `~sunpy.map.GenericMap`, a path, or what else `sunalign.images.to_image` takes.
        target : `~sunalign.images.Image`
            At whose pixels the reference will be sampled.
        """


class Corrector(Plugin):
    """Writes a correction into a target's coordinates."""

    #: What the corrector can express.
    parameters: ClassVar[frozenset[str]] = frozenset({"shift_x", "shift_y", "scale_x", "scale_y", "rotation"})

    @classmethod
    def accepts(cls, target: Any) -> bool:
        """Whether this corrector is the one for a target when the caller names none; not unless overridden.

        Parameters
        ----------
        target : object
            What is to be corrected: a `~sunpy.map.GenericMap`, an `~ndcube.NDCube`, a path, or anything else.
        """
        return False

    @abstractmethod
    def apply(self, target: Any, correction: Correction, *, provenance: str | None = None) -> Any:
        """Write a correction into a target's coordinates.

        Parameters
        ----------
        target : object
            Never to be changed.
        correction : `~sunalign.Correction`
        provenance : `str`, optional
            Lines for HISTORY that say how the correction was found.

        Returns
        -------
        object
            A new one of the target's type: data shared; mask, uncertainty, unit and metadata kept. For a path, the
            path of a new file.
        """


class ShiftSurface(NamedTuple):
    """Scores at every integer shift; element ``[j, i]`` belongs to the shift ``(dx[i], dy[j])`` in pixels.

    Parameters
    ----------
    scores, overlap : `numpy.ndarray`, shape (n_y, n_x)
        Score, and the number of pixels that were compared.
    dx, dy : `numpy.ndarray`, shapes (n_x,) and (n_y,)
    """

    scores: np.ndarray
    overlap: np.ndarray
    dx: np.ndarray
    dy: np.ndarray


class NormalEquations(NamedTuple):
    """Score and its second-order model in p parameters at one point; ``solve(hessian, gradient)`` is the step uphill.

    Parameters
    ----------
    score : `float`
    gradient : `numpy.ndarray`, shape (p,)
        Right-hand side.
    hessian : `numpy.ndarray`, shape (p, p)
        Gauss-Newton approximation of minus the second derivative of the metric's quadratic form.
    n_pixels : `int`
        How many pixels were compared.
    """

    score: float
    gradient: np.ndarray
    hessian: np.ndarray
    n_pixels: int


@runtime_checkable
class SupportsShiftSurface(Protocol):
    """A metric that can score every integer shift at once."""

    def shift_surface(
        self,
        reference: np.ndarray,
        target: np.ndarray,
        reference_mask: np.ndarray,
        target_mask: np.ndarray,
        margin: tuple[int, int],
        min_overlap: float,
    ) -> ShiftSurface:
        """Score the target at every shift.

        Parameters
        ----------
        reference, reference_mask : `numpy.ndarray`, shape (ny + 2 my, nx + 2 mx)
            On the target's grid, widened by the margin on every side.
        target, target_mask : `numpy.ndarray`, shape (ny, nx)
        margin : `tuple` of `int`
            Largest shifts ``(my, mx)``, in pixels.
        min_overlap : `float`
            Shifts that compare a smaller part of the target's valid pixels are -inf.
        """


@runtime_checkable
class SupportsGaussNewton(Protocol):
    """A metric that can give a step uphill from the derivatives of the reference's samples."""

    def normal_equations(
        self, reference: np.ndarray, jacobian: np.ndarray, target: np.ndarray, mask: np.ndarray
    ) -> NormalEquations:
        """Score and the step uphill.

        Parameters
        ----------
        reference, target, mask
            As in `Metric.score`.
        jacobian : `numpy.ndarray`, shape (p, ny, nx)
            Derivative of every reference sample by every parameter.
        """


@runtime_checkable
class SupportsJudgement(SupportsShiftSurface, SupportsGaussNewton, Protocol):
    """A metric that can say in closed form how sure an answer is; any other is judged by differences of its scores.

    It has the other two powers as well: signs of doubt are read from its surface of shifts, and halves of the target
    are climbed by its normal equations.
    """

    def block_scores(
        self, reference: np.ndarray, jacobian: np.ndarray, target: np.ndarray, mask: np.ndarray, block: tuple[int, int]
    ) -> np.ndarray:
        """Every block's share of the gradient, from which errors are estimated.

        Parameters
        ----------
        reference, jacobian, target, mask
            As in `SupportsGaussNewton.normal_equations`.
        block : `tuple` of `int`
            Height and width of a block, in pixels.

        Returns
        -------
        `numpy.ndarray`, shape (p, n_blocks)
            Its sum over the blocks is the gradient of the normal equations.
        """

    def significance(self, score: float, other: float, n_pixels: int) -> float:
        """By how many standard errors a score exceeds another.

        Parameters
        ----------
        score, other : `float`
        n_pixels : `int`
            How many pixels either was made of.
        """
