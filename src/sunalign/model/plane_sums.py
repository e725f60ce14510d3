"""Sums over an image whose derivatives by the parameters are planes times one of two slopes.

Whatever moves pixels affinely displaces them by planes, so that a few moments of the slopes along x and y of what is
sampled serve any number of parameters, and no array of derivatives is filled for any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sunalign.abc import NormalEquations

__all__ = ["PlaneSums", "SupportsPlanes", "bent_sums", "is_rounding", "near_mean", "speaks_of_planes"]

_BLOCK = 16384  # Pixels at a time, so that every copy stays in the cache.


@runtime_checkable
class SupportsPlanes(Protocol):
    """A metric that needs no array of derivatives for `sunalign.abc.SupportsGaussNewton.normal_equations`."""

    def plane_equations(
        self,
        reference: np.ndarray,
        slopes: Sequence[np.ndarray],
        planes: np.ndarray,
        target: np.ndarray,
        mask: np.ndarray,
    ) -> NormalEquations:
        """Give the same equations from the slopes of the reference along x and y.

        Parameters
        ----------
        reference, target : `numpy.ndarray`, shape (ny, nx)
        slopes : sequence of two `numpy.ndarray`, shape (ny, nx)
            Derivatives of the reference's samples along x and y.
        planes : `numpy.ndarray`, shape (p, 2, 3)
            Displacements by every parameter, as `sunalign.model.problem.Problem.displacements` has them.
        mask : `numpy.ndarray` of `bool`, shape (ny, nx)
            True where there is nothing to compare.
        """


def speaks_of_planes(metric: Any) -> bool:
    """Whether a metric has equations of planes, and no others of its own: a subclass may have changed those.

    Parameters
    ----------
    metric : `~sunalign.abc.Metric`
    """
    if not isinstance(metric, SupportsPlanes):
        return False
    by_name = [
        next(cls for cls in type(metric).__mro__ if name in vars(cls))
        for name in ("plane_equations", "normal_equations")
    ]
    return issubclass(*by_name)


@dataclass(frozen=True, eq=False)
class PlaneSums:
    """Sums over the pixels that are compared.

    Parameters
    ----------
    n_pixels : `int`
    products : `numpy.ndarray`, shape (2, 2)
        Of the reference's samples and the target, about their means.
    along : `numpy.ndarray`, shape (2, 2, 3)
        Of each slope with either of them, about their means, and with 1, x and y.
    totals : `numpy.ndarray`, shape (2, 3)
        Of each slope with 1, x and y.
    squares : `numpy.ndarray`, shape (2, 2, 3, 3)
        Of two slopes with two of 1, x and y.
    means : `numpy.ndarray`, shape (2,)
        Of the reference's samples and the target.
    shape : `tuple` of `int`
        ``(ny, nx)``. Here x and y run from -1 to 1 over the image.
    """

    n_pixels: int
    products: np.ndarray
    along: np.ndarray
    totals: np.ndarray
    squares: np.ndarray
    means: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, sampled: np.ndarray, slopes: Sequence[np.ndarray], target: np.ndarray, hidden: np.ndarray) -> PlaneSums:
        """Sum over the pixels that are not hidden.

        Parameters
        ----------
        sampled, target : `numpy.ndarray`, shape (ny, nx)
        slopes : sequence of two `numpy.ndarray`, shape (ny, nx)
            Derivatives of the samples by x and y.
        hidden : `numpy.ndarray` of `bool`, shape (ny, nx)
        """
        near = np.array([near_mean(image, hidden) for image in (sampled, target)])
        n, total, products, moments = 0, np.zeros(2), np.zeros((2, 2)), np.zeros((9, 3, 3))
        for part, out, places in _blocks(hidden):
            images = np.empty((2, *out.shape))
            for row, image, offset in zip(images, (sampled, target), near, strict=True):
                np.subtract(image[part], offset, out=row)
            steep = np.array([slope[part] for slope in slopes], np.float32)
            n += out.size
            if out.any():
                n -= int(np.count_nonzero(out))
                np.copyto(images, 0.0, where=out)
                np.copyto(steep, 0.0, where=out)
            total += images.sum(axis=(1, 2))
            products += np.einsum("ayx,byx->ab", images, images)
            moments += _moments(_all_products(steep, images.astype(np.float32)), places)
        mean = total / max(n, 1)
        totals, with_images = moments[:2, 0], moments[2:6, 0].reshape(2, 2, 3)
        one, both, other = moments[6:]
        return cls(
            n,
            products - np.outer(mean, total),
            with_images - mean[:, None] * totals[:, None],
            totals,
            np.array([[one, both], [both, other]]),
            mean + near,
            hidden.shape,
        )

    @cached_property
    def varies(self) -> bool:
        """Whether neither image is constant."""
        n, ((rr, _), (_, tt)), (r, t) = self.n_pixels, self.products.tolist(), self.means.tolist()
        return n > 0 and not (is_rounding(rr / n, r) or is_rounding(tt / n, t))

    @cached_property
    def gain(self) -> float:
        """By which the reference fits the target best; 0 where either is constant."""
        (mm, mt), _ = self.products
        return float(mt / mm) if self.varies else 0.0

    def with_planes(self, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of all parameters' derivatives with both images, (p, 2), and with each other, about means, (p, p).

        Parameters
        ----------
        planes : `numpy.ndarray`, shape (p, 2, 3)
            As `sunalign.model.problem.Problem.displacements` has them.
        """
        planes = centred(planes, self.shape)
        flat = planes.reshape(len(planes), 6)
        total = flat @ self.totals.ravel()
        squares = flat @ _as_matrix(self.squares) @ flat.T
        with_images = flat @ self.along.transpose(0, 2, 1).reshape(6, 2)
        return with_images, squares - np.outer(total, total) / max(self.n_pixels, 1)


def bent_sums(left: np.ndarray, bends: Sequence[np.ndarray], planes: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Sums of what is left unexplained with the second derivatives by every two parameters, shape (p, p).

    Parameters
    ----------
    left : `numpy.ndarray`, shape (ny, nx)
    bends : sequence of three `numpy.ndarray`, shape (ny, nx)
        Second derivatives of the samples by x, by x and y, and by y.
    planes : `numpy.ndarray`, shape (p, 2, 3)
        See `PlaneSums.with_planes`.
    hidden : `numpy.ndarray` of `bool`, shape (ny, nx)
    """
    moments = np.zeros((3, 3, 3))
    for part, out, places in _blocks(hidden):
        bent = np.array([bend[part] for bend in bends], np.float32)
        bent *= left[part].astype(np.float32)
        np.copyto(bent, 0.0, where=out)
        moments += _moments(bent, places)
    flat = centred(planes, hidden.shape).reshape(len(planes), 6)
    squares = np.array([[moments[0], moments[1]], [moments[1], moments[2]]])
    return np.asarray(flat @ _as_matrix(squares) @ flat.T)


def _as_matrix(squares: np.ndarray) -> np.ndarray:
    """Moments of two slopes and two of 1, x and y, (2, 2, 3, 3), as a matrix, (6, 6), of both at once."""
    return squares.transpose(0, 2, 1, 3).reshape(6, 6)


def centred(planes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Planes by x and y that run from -1 to 1 over an image: sums over pixel numbers would lose digits.

    Parameters
    ----------
    planes : `numpy.ndarray`, shape (..., 3)
        By pixel numbers.
    shape : `tuple` of `int`
        ``(ny, nx)`` of the image.
    """
    ny, nx = shape
    half = np.array([max(nx - 1, 1) / 2, max(ny - 1, 1) / 2])
    middle = planes[..., 0] + planes[..., 1:] @ [(nx - 1) / 2, (ny - 1) / 2]
    return np.concatenate([middle[..., None], planes[..., 1:] * half], axis=-1)


def _all_products(slopes: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Slopes, their products with both images, and with each other: shape (9, ny, nx)."""
    products = np.empty((9, *slopes.shape[1:]), np.float32)
    products[:2] = slopes
    np.multiply(slopes[:, None], images, out=products[2:6].reshape(2, 2, *slopes.shape[1:]))
    np.multiply(slopes[0], slopes, out=products[6:8])
    np.multiply(slopes[1], slopes[1], out=products[8])
    return products


def _blocks(hidden: np.ndarray) -> Iterator[tuple[slice, np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """Some rows at a time, what is hidden of them, and powers 0 to 2 of x, (nx, 3), and y, (n, 3)."""
    ny, nx = hidden.shape
    x, y = (_powers(n) for n in (nx, ny))
    rows = max(1, _BLOCK // nx)
    for start in range(0, ny, rows):
        part = slice(start, start + rows)
        yield part, hidden[part], (x.astype(np.float32), y[part])


def _powers(n: int) -> np.ndarray:
    """Powers 0 to 2, shape (n, 3), of places from -1 to 1."""
    powers = np.ones((n, 3))
    powers[:, 1] = (2 * np.arange(n) - (n - 1)) / max(n - 1, 1)
    powers[:, 2] = powers[:, 1] ** 2
    return powers


def _moments(images: np.ndarray, places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Sums of images with every two of 1, x and y, shape (n, 3, 3)."""
    x, y = places
    along = np.matmul(images.reshape(-1, len(x)), x).reshape(len(images), len(y), 3).astype(float)
    powers = np.einsum("njp,jq->npq", along, y)  # Of x to the p and y to the q.
    one = powers[:, 0, 0]
    by_x, by_y, by_xx, by_xy, by_yy = (powers[:, p, q] for p, q in ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2)))
    return np.moveaxis(np.array([[one, by_x, by_y], [by_x, by_xx, by_xy], [by_y, by_xy, by_yy]]), 2, 0)


def is_rounding(variance: float, value: float) -> bool:
    """Whether deviations are no more than what rounding makes of values like this one.

    Parameters
    ----------
    variance, value : `float`
    """
    return bool(variance <= (8 * np.finfo(np.float64).eps * value) ** 2)


def near_mean(image: np.ndarray, hidden: np.ndarray) -> float:
    """Mean of some thousand pixels: close enough for the products about it to keep their digits.

    Parameters
    ----------
    image : `numpy.ndarray`, shape (ny, nx)
    hidden : `numpy.ndarray` of `bool`, shape (ny, nx)
        True where it has no value.
    """
    step = max(1, image.size // 4096) | 1
    some = image.ravel()[::step][~hidden.ravel()[::step]]
    if some.size == 0:
        some = image[~hidden]
    return float(some.mean(dtype=np.float64)) if some.size else 0.0
