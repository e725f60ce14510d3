"""Mean-centred normalised cross-correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sunalign.abc import Metric, NormalEquations, ShiftSurface
from sunalign.model.masked_correlation import masked_ncc_surface
from sunalign.model.plane_sums import PlaneSums, is_rounding, near_mean
from sunalign.model.surface import fisher_significance

__all__ = ["NCC"]

_BLOCK = 16384  # Pixels at a time.


@dataclass(frozen=True, kw_only=True)
class NCC(Metric):
    r"""Normalised cross-correlation of the pixels that are valid in both images.

    .. math:: \frac{\sum (r - \bar r)(t - \bar t)}{\sqrt{\sum (r - \bar r)^2 \sum (t - \bar t)^2}}

    with means and sums over the valid pixels only. In [-1, 1]; 0 when there are none or when either image is
    constant. Unchanged by a gain (above 0) and an offset of either image.
    """

    def score(self, reference: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
        """See `sunalign.abc.Metric.score`."""
        moments = _moments(reference, target, ~mask)
        if moments is None:
            return 0.0
        rr, tt, rt = moments
        return float(np.clip(rt / np.sqrt(rr * tt), -1, 1))

    def shift_surface(
        self,
        reference: np.ndarray,
        target: np.ndarray,
        reference_mask: np.ndarray,
        target_mask: np.ndarray,
        margin: tuple[int, int],
        min_overlap: float,
    ) -> ShiftSurface:
        """See `sunalign.abc.SupportsShiftSurface`.

        Parameters
        ----------
        reference, target, reference_mask, target_mask, margin, min_overlap
            As there.
        """
        return masked_ncc_surface(reference, target, reference_mask, target_mask, margin, min_overlap)

    def normal_equations(
        self, reference: np.ndarray, jacobian: np.ndarray, target: np.ndarray, mask: np.ndarray
    ) -> NormalEquations:
        """See `sunalign.abc.SupportsGaussNewton`.

        Gain and offset are projected out, as in ECC (Evangelidis & Psarakis 2008, IEEE PAMI 30, 1858): the model is
        ``t = a m + b`` with a and b the best for every trial.

        Parameters
        ----------
        reference, jacobian, target, mask
            As there.
        """
        p, n = len(jacobian), int(np.count_nonzero(~mask))
        means, gram = _gram(reference, target, jacobian, mask)
        mm, tt = gram[0, 0], gram[1, 1]
        if n == 0 or is_rounding(mm / n, means[0]) or is_rounding(tt / n, means[1]):
            return NormalEquations(0.0, np.zeros(p), np.eye(p), n)
        return _projected(gram[:2, :2], gram[2:, :2], gram[2:, 2:], n)

    def plane_equations(
        self,
        reference: np.ndarray,
        slopes: Sequence[np.ndarray],
        planes: np.ndarray,
        target: np.ndarray,
        mask: np.ndarray,
    ) -> NormalEquations:
        """See `sunalign.model.plane_sums.SupportsPlanes`.

        Parameters
        ----------
        reference, slopes, planes, target, mask
            As there.
        """
        sums = PlaneSums.of(reference, slopes, target, mask)
        if not sums.varies:
            return NormalEquations(0.0, np.zeros(len(planes)), np.eye(len(planes)), sums.n_pixels)
        return _projected(sums.products, *sums.with_planes(planes), sums.n_pixels)

    def block_scores(
        self, reference: np.ndarray, jacobian: np.ndarray, target: np.ndarray, mask: np.ndarray, block: tuple[int, int]
    ) -> np.ndarray:
        """See `sunalign.abc.SupportsJudgement`.

        Parameters
        ----------
        reference, jacobian, target, mask, block
            As there.
        """
        (mean_m, mean_t, *mean_g), gram = _gram(reference, target, jacobian, mask)
        gain, tilt = gram[0, 1] / gram[0, 0], gram[2:, 0] / gram[0, 0]
        model, residual = (np.where(mask, 0.0, image - mean) for image, mean in ((reference, mean_m), (target, mean_t)))
        residual -= gain * model
        # Orthogonal to the model and to constants: what is left when gain and offset have taken their share.
        with_model, alone = _block_sums(model * residual, block), _block_sums(residual, block)
        shares = [
            _block_sums(np.where(mask, 0.0, slope) * residual, block) - mean * alone - own * with_model
            for slope, mean, own in zip(jacobian, mean_g, tilt, strict=True)
        ]
        return gain * np.array(shares)

    def significance(self, score: float, other: float, n_pixels: int) -> float:
        """See `sunalign.abc.SupportsJudgement`; by Fisher's z, whose standard error is ``1 / sqrt(n - 3)``.

        Parameters
        ----------
        score, other, n_pixels
            As there.
        """
        return fisher_significance(score, other, n_pixels)


def _projected(images: np.ndarray, with_images: np.ndarray, squares: np.ndarray, n_pixels: int) -> NormalEquations:
    """Normal equations with gain and offset projected out, from sums of products about means.

    Of reference and target, (2, 2), of the derivatives with both, (p, 2), and of the derivatives, (p, p).
    """
    (mm, mt), (_, tt) = images
    gain, (gm, gt) = mt / mm, with_images.T
    return NormalEquations(
        score=float(np.clip(mt / np.sqrt(mm * tt), -1, 1)),
        gradient=gain * (gt - gain * gm),
        hessian=gain**2 * (squares - np.outer(gm, gm) / mm),
        n_pixels=n_pixels,
    )


def _block_sums(image: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Sums over blocks of some rows and columns, in one dimension; those at the end may be smaller."""
    for axis, size in enumerate(block):
        image = np.add.reduceat(image, np.arange(0, image.shape[axis], size), axis=axis)
    return image.ravel()


def _gram(
    reference: np.ndarray, target: np.ndarray, jacobian: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means of reference, target and derivatives over the valid pixels, and sums of all their products about these.

    In rows that stay in the cache: at 2048² copies of everything would not even stay in memory.
    """
    ny, nx = mask.shape
    images = [reference, target, *jacobian]
    near = np.array([near_mean(image, mask) for image in images])
    rows = max(1, _BLOCK // max(nx, 1))
    gram = np.zeros((len(images) + 1, len(images) + 1))
    stack = np.ones((len(images) + 1, rows * nx))
    for start in range(0, ny, rows):
        part = slice(start, start + rows)
        hidden = mask[part].ravel()
        z = stack[:, : hidden.size]
        z[-1] = 1.0
        for row, image, offset in zip(z, images, near, strict=False):
            np.subtract(image[part].ravel(), offset, out=row)
        if hidden.any():
            z[:, hidden] = 0.0
        gram += z @ z.T
    n, sums = max(gram[-1, -1], 1.0), gram[-1, :-1]
    return near + sums / n, gram[:-1, :-1] - np.outer(sums, sums) / n


def _moments(reference: np.ndarray, target: np.ndarray, valid: np.ndarray) -> tuple[float, float, float] | None:
    """Sums over the valid pixels of r r, t t and r t about the means; `None` if there are none or either is constant.

    Block by block, so that every copy stays in the cache, each about its own means, joined as in Chan, Golub & LeVeque
    1983 (The American Statistician 37, 242): as exact as two passes over all.
    """
    ny, nx = valid.shape
    rows = max(1, _BLOCK // max(nx, 1))
    n, mean_r, mean_t, rr, tt, rt = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    first: tuple[float, float] | None = None
    for start in range(0, ny, rows):
        part = slice(start, start + rows)
        where = valid[part]
        # Where nothing is hidden there is nothing to pick out.
        which: Any = ... if where.all() else where
        r, t = (image[part][which].ravel().astype(np.float64) for image in (reference, target))
        if r.size == 0:
            continue
        # Subtracting a value of the image first keeps every digit where the offset is a million sigmas.
        first = first or (float(r[0]), float(t[0]))
        r -= first[0]
        t -= first[1]
        m, own_r, own_t = r.size, float(r.sum()) / r.size, float(t.sum()) / t.size
        r -= own_r
        t -= own_t
        n += m
        apart_r, apart_t, share = own_r - mean_r, own_t - mean_t, m * (n - m) / n
        rr += _dot(r, r) + apart_r * apart_r * share
        tt += _dot(t, t) + apart_t * apart_t * share
        rt += _dot(r, t) + apart_r * apart_t * share
        mean_r += apart_r * m / n
        mean_t += apart_t * m / n
    if first is None or is_rounding(rr / n, first[0]) or is_rounding(tt / n, first[1]):
        return None
    return rr, tt, rt


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    # BLAS splits long sums between its threads, whose number differs between this process and a worker.
    return float(np.einsum("i,i->", a, b))
