"""One image as a reference: a spline between its pixels, and the way there from those of the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sunpy.map import GenericMap

from sunalign.exceptions import CoverageError
from sunalign.geometry.coordinates import ARCSEC, PixelGrid, apply_homography
from sunalign.geometry.mapping import DirectionTransform, PixelMapping
from sunalign.images import Image
from sunalign.model.interpolation import SplineImage
from sunalign.model.mapped_image import MappedImage, Transform
from sunalign.model.reference_contract import Reference, grid_points

__all__ = ["ImageReference"]

# Reference pixels by which a grid may deviate from one that is spanned by its rows and columns: by a shear or a turn,
# which a parameter would feel, and by the keystone of a plane seen askew, which none of them can follow.
_SEPARABLE_TURN = 1e-3
_SEPARABLE_KEYSTONE = 1e-2

# By how much, as a part of it, the scale of a mapping may differ over a grid whose derivatives are taken for constant.
_SAME_SLOPE = 1e-4


class ImageReference(Reference):
    """One image, sampled by cubic spline at the target's pixels.

    Parameters
    ----------
    image : `~sunalign.images.Image`
    mapping : `~sunalign.geometry.mapping.PixelMapping`
        From the target's pixels to the image's.
    assumptions : mapping, optional
        See `Reference.assumptions`.
    smoothing : `float`
        See `Reference.smoothing`.
    """

    def __init__(
        self,
        image: Image,
        mapping: PixelMapping,
        assumptions: Mapping[str, str] | None = None,
        smoothing: float = 0.0,
    ) -> None:
        self._part = MappedImage(image, (mapping,), None, smoothing)
        self.smoothing = smoothing
        self.assumptions = dict(assumptions or {})
        self.pixel_size = float(np.sqrt(np.prod(image.grid.pixel_size)))
        self._target_name = "the target"

    @classmethod
    def of(
        cls,
        image: Image,
        target: Image,
        transform: DirectionTransform | None = None,
        margin: float = np.inf,
        assumptions: Mapping[str, str] | None = None,
    ) -> ImageReference:
        """Reference of the part of ``image`` that the target can need.

        Parameters
        ----------
        image, target : `~sunalign.images.Image`
        transform : callable, optional
            As in `~sunalign.geometry.mapping.PixelMapping`.
        margin : `float`
            How far, in radians on the sky, the target may be moved.
        assumptions : mapping, optional
            See `Reference.assumptions`.
        """
        whole = cls(image, PixelMapping(target.grid, image.grid, transform), assumptions)
        if not np.isfinite(margin):
            whole._target_name = target.name
            return whole
        needed = whole._part.needed(margin)
        if needed is None or not np.isfinite(image.data[needed]).any():
            if not np.isfinite(image.data).any():
                raise CoverageError(f"The reference {image.name} has no valid pixel: all are NaN or masked.")
            raise CoverageError(
                f"The reference {image.name} does not cover {target.name}: {_span(image.grid)}, but "
                f"{_span(target.grid)} of the target and a margin of {margin / ARCSEC:.0f} arcsec are needed. "
                f"Check both pointings and dates, or raise max_shift."
            )
        return whole._with(whole._part.cropped(needed))

    def _with(self, part: MappedImage) -> ImageReference:
        return ImageReference(part.image, part.mapping, self.assumptions, part.smoothing)

    @property
    def _image(self) -> Image:
        return self._part.image

    @property
    def mapping(self) -> PixelMapping:
        """From the target's pixels to the image's."""
        return self._part.mapping

    def within(self, margin: float) -> ImageReference:
        """Crop to what is needed."""
        target = Image(np.empty(self.mapping.target.shape), self.mapping.target, name=self._target_name)
        return self.of(self._image, target, self.mapping.transform, margin, self.assumptions)

    @property
    def spline(self) -> SplineImage:
        """Coefficients of the image."""
        return self._part.spline

    def sample(self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Values at target pixel coordinates."""
        return self._part.sample(x, y, columns)

    def sample_with_gradient(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and their derivatives by the target pixel coordinates."""
        return self._part.sample_with_gradient(x, y, columns)

    def sample_grid(self, matrix: np.ndarray, shape: tuple[int, int], columns: np.ndarray) -> np.ndarray:
        """Values on a grid of points."""
        axes = self._separable(matrix, shape)
        if axes is not None:
            return self.spline.sample_separable(*axes)
        if self.mapping.homography is not None:
            return self.spline.sample_grid(self.mapping.homography @ matrix, shape)
        return super().sample_grid(matrix, shape, columns)

    def sample_grid_with_gradient(
        self, matrix: np.ndarray, shape: tuple[int, int], columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `sample_grid`, with derivatives by the target pixel coordinates."""
        if self.mapping.homography is None:
            return super().sample_grid_with_gradient(matrix, shape, columns)
        axes, jacobian = self._separable(matrix, shape), self._jacobian_on_grid(matrix, shape)
        if axes is None:
            value, by_x, by_y = self.spline.sample_grid_with_gradient(self.mapping.homography @ matrix, shape, jacobian)
            return value, by_x, by_y
        value, by_column, by_row = self.spline.sample_separable_with_gradient(*axes)
        by_column *= jacobian[0, 0].astype(np.float32)
        by_row *= jacobian[1, 1].astype(np.float32)
        return value, by_column, by_row

    def sample_grid_with_curvature(
        self, matrix: np.ndarray, shape: tuple[int, int], columns: np.ndarray
    ) -> Sequence[np.ndarray]:
        """As `sample_grid_with_gradient`, with the second derivatives, in closed form where the map is a homography.

        Parameters
        ----------
        matrix, shape, columns
            As in `sample_grid`.
        """
        if self.mapping.homography is None:
            return super().sample_grid_with_curvature(matrix, shape, columns)
        jacobian = self._jacobian_on_grid(matrix, shape)
        return tuple(self.spline.sample_grid_with_curvature(self.mapping.homography @ matrix, shape, jacobian))

    def _jacobian_on_grid(self, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Derivatives of the mapping, (2, 2) as at the centre where they hardly differ elsewhere, or (2, 2, ny, nx)."""
        ny, nx = shape
        corners = apply_homography(matrix, np.array([0, nx - 1, 0, nx - 1]), np.array([0, 0, ny - 1, ny - 1]))
        centre = self.mapping.jacobian(*apply_homography(matrix, (nx - 1) / 2, (ny - 1) / 2))
        change = np.abs(self.mapping.jacobian(*corners) - centre[..., None]).max()
        if change < _SAME_SLOPE * np.abs(centre).max():
            return centre
        return self.mapping.jacobian(*grid_points(matrix, shape))

    def _separable(self, matrix: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray] | None:
        """Columns and rows of the reference that span the grid, if they do."""
        if self.mapping.homography is None:
            return None
        total = self.mapping.homography @ matrix
        ny, nx = shape
        edges = np.array([0, (nx - 1) / 2, nx - 1]), np.array([[0], [(ny - 1) / 2], [ny - 1]])
        x, y = apply_homography(total, *edges)
        tilt = np.abs(x[2] - x[0]), np.abs(y[:, 2] - y[:, 0])
        if max(tilt[0][1], tilt[1][1]) > _SEPARABLE_TURN or max(tilt[0].max(), tilt[1].max()) > 2 * _SEPARABLE_KEYSTONE:
            return None
        return (
            apply_homography(total, np.arange(nx, dtype=float), (ny - 1) / 2)[0],
            apply_homography(total, (nx - 1) / 2, np.arange(ny, dtype=float))[1],
        )

    def image(self) -> GenericMap:
        """The image itself, cropped to what can be needed."""
        return self._image.to_map()

    def intensities(self) -> np.ndarray:
        """All values of the cropped image."""
        return self._image.data

    def arrays(self) -> Sequence[np.ndarray]:
        """The image's pixels."""
        return (self._image.data,)

    def positions(
        self, x: np.ndarray, y: np.ndarray, columns: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates of the image."""
        return self._part.positions(x, y, columns)

    def scaled(self, transform: Transform) -> ImageReference:
        """Scale the image before its spline is made: outliers must not ring."""
        return self.mapped(transform)

    def mapped(self, function: Transform) -> ImageReference:
        """Replace the pixels."""
        return self._with(self._part.mapped(function))

    def smoothed(self, width: float) -> ImageReference:
        """Smooth the image before its spline is made."""
        if width == self.smoothing:
            return self
        return self._with(self._part.smoothed(width))

    def binned(self, factor: int) -> ImageReference:
        """Coarser version."""
        if factor == 1 or not self._part.can_be_binned(factor):
            return self
        return self._with(self._part.binned(factor))


def _span(grid: PixelGrid) -> str:
    ny, nx = grid.shape
    tx, ty = grid.angles(np.array([0, nx - 1, 0, nx - 1]), np.array([0, 0, ny - 1, ny - 1]))
    low, high = (f"({f(tx) / ARCSEC:.0f}, {f(ty) / ARCSEC:.0f})" for f in (np.min, np.max))
    return f"{low} to {high} arcsec"
