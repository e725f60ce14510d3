"""What anything can do that the target is compared with, and references made of another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from sunpy.map import GenericMap

from sunalign.geometry.coordinates import apply_homography
from sunalign.geometry.mapping import homography_jacobian
from sunalign.model.mapped_image import Transform

__all__ = ["AveragedReference", "Reference", "ScaledReference", "grid_points"]

_BENT = 0.2  # Pixels of a grid over which derivatives are differenced.


class Reference(ABC):
    """A trusted image, or many, as the target's pixels would see it.

    Coordinates are 0-based pixel coordinates of the target as it was given to the reference builder. A pixel keeps
    its own time wherever it is tried: ``columns`` says which raster step (pixel column of the target) a point belongs
    to when it is not the one that ``x`` falls on.
    """

    #: Angular size, in radians, of the reference's own pixels.
    pixel_size: float = np.nan

    #: Standard deviation, in the reference's own pixels at any resolution, of the Gaussian it is smoothed with.
    smoothing: float = 0.0

    #: What the reference takes for granted, in words; goes into the result and into HISTORY.
    assumptions: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def sample(self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Values at target pixel coordinates; NaN outside coverage.

        Parameters
        ----------
        x, y : `numpy.ndarray`
            Where pixels are being tried, of one shape.
        columns : `numpy.ndarray`, optional
            Target column of each point, of a shape that broadcasts with ``x``; ``x`` itself by default.
        """

    def image(self) -> GenericMap | None:
        """What the reference looks like on the target's grid, for plots; `None` if there is no such picture."""
        return None

    def sample_with_gradient(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and their derivatives by the target pixel coordinates; by central differences unless overridden.

        Parameters
        ----------
        x, y, columns
            As in `sample`.
        """
        columns = x if columns is None else columns
        step = 0.05
        by_x = (self.sample(x + step, y, columns) - self.sample(x - step, y, columns)) / (2 * step)
        by_y = (self.sample(x, y + step, columns) - self.sample(x, y - step, columns)) / (2 * step)
        return self.sample(x, y, columns), by_x, by_y

    def sample_grid(self, matrix: np.ndarray, shape: tuple[int, int], columns: np.ndarray) -> np.ndarray:
        """Values on a grid of points: pixel ``(i, j)`` of it is tried at ``matrix @ (i, j, 1)``.

        Parameters
        ----------
        matrix : `numpy.ndarray`, shape (3, 3)
            Homography to target pixel coordinates.
        shape : `tuple` of `int`
            ``(ny, nx)`` of the grid.
        columns : `numpy.ndarray`, shape (nx,)
            Target column of every grid column.
        """
        return self.sample(*grid_points(matrix, shape), columns)

    def sample_grid_with_gradient(
        self, matrix: np.ndarray, shape: tuple[int, int], columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `sample_grid`, with derivatives by the target pixel coordinates.

        Parameters
        ----------
        matrix, shape, columns
            As in `sample_grid`.
        """
        return self.sample_with_gradient(*grid_points(matrix, shape), columns)

    def sample_grid_with_curvature(
        self, matrix: np.ndarray, shape: tuple[int, int], columns: np.ndarray
    ) -> Sequence[np.ndarray]:
        """As `sample_grid_with_gradient`, with derivatives by x twice, x and y, and y twice.

        By differences of the first ones over a fraction of the grid's pixels, unless overridden.

        Parameters
        ----------
        matrix, shape, columns
            As in `sample_grid`.
        """
        first = self.sample_grid_with_gradient(matrix, shape, columns)
        changes = []
        for offset in (_BENT, 0.0), (0.0, _BENT):
            low, high = (
                self.sample_grid_with_gradient(matrix @ _moved_by(sign * np.array(offset)), shape, columns)[1:]
                for sign in (-1, 1)
            )
            changes.append([(b - a) / (2 * _BENT) for a, b in zip(low, high, strict=True)])
        # By the grid's pixels; those of the target are wanted.
        centre = (np.array((n - 1) / 2) for n in shape[::-1])
        bent = np.tensordot(np.linalg.inv(homography_jacobian(matrix, *centre)).T, np.array(changes), 1)
        return *first, bent[0, 0], (bent[0, 1] + bent[1, 0]) / 2, bent[1, 1]

    def intensities(self) -> np.ndarray | None:
        """Values from which an intensity scaling fixes its limits; `None` to use samples at the start."""
        return None

    def scaled(self, transform: Transform) -> Reference:
        """Return the reference with its intensities scaled; on every sample unless overridden.

        Parameters
        ----------
        transform : callable
            From an array of intensities to another of its shape.
        """
        return ScaledReference(self, transform)

    def arrays(self) -> Sequence[np.ndarray]:
        """Pixels of the image, or of each of them, from which noise is measured; none where there are no pixels."""
        return ()

    def positions(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Pixel coordinates in the reference's own array, or arrays, of target ones; `None` where there are none.

        Parameters
        ----------
        x, y, columns : `numpy.ndarray`
            As in `sample`.
        """
        return None

    def mapped(self, function: Transform) -> Reference:
        """Return the reference with every array of pixels, (ny, nx), replaced; itself where there are none.

        Parameters
        ----------
        function : callable
            From an array of pixels to another of its shape.
        """
        return self

    def smoothed(self, width: float) -> Reference:
        """Return the reference smoothed by a Gaussian of this width instead; itself where there are no pixels.

        Parameters
        ----------
        width : `float`
            Standard deviation in the reference's own pixels; of a coarser version, in *its* pixels.
        """
        return self

    def within(self, margin: float) -> Reference:
        """Return the part that a target that is moved can need; all of it unless overridden.

        Parameters
        ----------
        margin : `float`
            By how much at the most, radians on the sky.
        """
        return self

    def binned(self, factor: int) -> Reference:
        """Return a coarser version; means of samples unless overridden.

        Parameters
        ----------
        factor : `int`
            Pixels of a larger one, along either side.
        """
        return self if factor == 1 else AveragedReference(self, factor)


class ScaledReference(Reference):
    """A reference whose samples are transformed one by one.

    Parameters
    ----------
    reference : `Reference`
    transform : callable
        From an array of intensities to another of its shape.
    """

    def __init__(self, reference: Reference, transform: Transform) -> None:
        self.reference = reference
        self.transform = transform
        self.pixel_size = reference.pixel_size
        self.assumptions = reference.assumptions

    def sample(self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Transformed values."""
        return self.transform(self.reference.sample(x, y, columns))

    def image(self) -> GenericMap | None:
        """Untransformed picture."""
        return self.reference.image()


class AveragedReference(Reference):
    """A reference averaged over the pixels of the grid it is sampled on.

    Parameters
    ----------
    reference : `Reference`
    factor : `int`
        How much larger the pixels are; up to four samples are taken along each side of one.
    """

    def __init__(self, reference: Reference, factor: int) -> None:
        self.reference = reference
        self.factor = factor
        self.pixel_size = reference.pixel_size * factor
        self.assumptions = reference.assumptions

    def sample(self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Single samples: points without a grid have no size."""
        return self.reference.sample(x, y, columns)

    def sample_grid(self, matrix: np.ndarray, shape: tuple[int, int], columns: np.ndarray) -> np.ndarray:
        """Means over the pixels of the grid."""
        return self._mean(self.reference.sample_grid(*self._finer(matrix, shape, columns)), shape)

    def sample_grid_with_gradient(
        self, matrix: np.ndarray, shape: tuple[int, int], columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means of samples and of their derivatives."""
        fine = self.reference.sample_grid_with_gradient(*self._finer(matrix, shape, columns))
        value, by_x, by_y = (self._mean(values, shape) for values in fine)
        return value, by_x, by_y

    def image(self) -> GenericMap | None:
        """Picture at full resolution."""
        return self.reference.image()

    @property
    def _n(self) -> int:
        return min(self.factor, 4)

    def _finer(
        self, matrix: np.ndarray, shape: tuple[int, int], columns: np.ndarray
    ) -> tuple[np.ndarray, tuple[int, int], np.ndarray]:
        n = self._n
        first = (1 / n - 1) / 2  # Centre of the first sub-pixel of pixel 0.
        inner = np.array([[1 / n, 0, first], [0, 1 / n, first], [0, 0, 1.0]])
        return matrix @ inner, (n * shape[0], n * shape[1]), np.repeat(columns, n)

    def _mean(self, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        return values.reshape(shape[0], self._n, shape[1], self._n).mean(axis=(1, 3))


def _moved_by(offset: np.ndarray) -> np.ndarray:
    """3x3 matrix of a shift."""
    moved = np.eye(3)
    moved[:2, 2] = offset
    return moved


def grid_points(matrix: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the points of a grid, of shapes that broadcast with each other.

    Parameters
    ----------
    matrix : `numpy.ndarray`, shape (3, 3)
        From (column, row, 1) on the grid to homogeneous target pixel coordinates.
    shape : `tuple` of `int`
        (ny, nx) of the grid.
    """
    return apply_homography(matrix, np.arange(shape[1], dtype=float), np.arange(shape[0], dtype=float)[:, None])
