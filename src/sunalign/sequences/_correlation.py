"""Where the cross-correlation of two low-band spectra is highest, with its covariance; many pairs at a time.

A displacement by d turns the phase of every frequency k by k·d. Sums over the two axes separate, so that the
correlation and its first and second derivatives at any d are nine products of two thin matrices with the cross
spectrum: a Newton step costs less than the cross spectrum itself, and interpolates nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from sunalign.sequences._spectra import Band, narrowing, stiffness

__all__ = ["Peaks", "coarse_peaks", "refine"]

_NEWTON = 6
_CLOSE = 1e-3  # Pixels; the next step would be its square.
_LARGEST_STEP = 0.75
_REACH = 2.5  # Working pixels from the start beyond which a maximum is another one.


@dataclass(frozen=True, eq=False)
class Peaks:
    """Maxima of n correlations.

    Parameters
    ----------
    shift : `numpy.ndarray`, shape (n, 2)
        Displacement (x, y), in pixels of the box, of the second image's content against the first's.
    covariance : `numpy.ndarray`, shape (n, 2, 2)
    score : `numpy.ndarray`, shape (n,)
        Correlation coefficient of the band at the maximum.
    height : `numpy.ndarray`, shape (n,)
        The maximum in units of the correlation's root mean square over all displacements.
    found : `numpy.ndarray` of `bool`, shape (n,)
        Whether there is a maximum near the start.
    """

    shift: np.ndarray
    covariance: np.ndarray
    score: np.ndarray
    height: np.ndarray
    found: np.ndarray

    @classmethod
    def joined(cls, parts: list[Peaks]) -> Peaks:
        """One after the other.

        Parameters
        ----------
        parts : `list` of `Peaks`
        """
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in cls.__dataclass_fields__))


def coarse_peaks(cross: np.ndarray, band: Band, reach: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Highest correlation over all whole-pixel displacements of a grid as fine as the band.

    Parameters
    ----------
    cross : `numpy.ndarray`, shape (n, rows, columns)
        Cross spectra on ``band``.
    band : `~sunalign.sequences._spectra.Band`
    reach : `tuple` of `float`
        Largest displacement along x and y, in pixels of the box.

    Returns
    -------
    shift : `numpy.ndarray`, shape (n, 2)
        In pixels of the box.
    lead : `numpy.ndarray`, shape (n,)
        How far the maximum stands above every other hill, in units of the root mean square of the rest.
    """
    my, mx = band.my, band.mx
    sy, sx = fft.next_fast_len(2 * my, real=True), fft.next_fast_len(2 * mx, real=True)
    padded = np.zeros((len(cross), sy, sx // 2 + 1), np.complex64)
    padded[:, :my, :mx] = cross[:, :my]
    padded[:, sy - my + 1 :, :mx] = cross[:, my:]
    surface = fft.irfft2(padded, (sy, sx), axes=(1, 2))
    lag_y, lag_x = (np.fft.fftfreq(s, 1 / n) for s, n in ((sy, band.ny), (sx, band.nx)))
    inside = (np.abs(lag_y) <= reach[1])[:, None] & (np.abs(lag_x) <= reach[0])
    flat = np.where(inside, surface, -np.inf).reshape(len(cross), -1)
    best = flat.argmax(axis=1)
    top = flat[np.arange(len(flat)), best]
    jy, jx = np.unravel_index(best, (sy, sx))
    # The hill of the maximum: everything within three cells of it.
    rows, columns = np.arange(sy), np.arange(sx)
    near_y = np.minimum((rows - jy[:, None]) % sy, (jy[:, None] - rows) % sy) <= 3
    near_x = np.minimum((columns - jx[:, None]) % sx, (jx[:, None] - columns) % sx) <= 3
    hill = near_y[:, :, None] & near_x[:, None, :]
    rest = np.where(hill, 0, surface)
    rms = np.sqrt(np.mean(rest**2, axis=(1, 2)) + 1e-30)
    other = np.where(hill | ~inside, -np.inf, surface).reshape(len(cross), -1).max(axis=1)
    # A search that is no wider than the hill has nothing else to compare with.
    other = np.where(np.isfinite(other), other, 0.0)
    shift = np.stack([lag_x[jx] + 0.0 * top, lag_y[jy] + 0.0 * top], axis=1)
    return shift, (top - np.maximum(other, 0.0)) / rms


def refine(
    cross: np.ndarray,
    power: np.ndarray,
    band: Band,
    start: np.ndarray,
    windows: np.ndarray | None = None,
    *,
    look: bool = True,
    nearly: bool = False,
) -> Peaks:
    """Maxima of correlations near their starts, to a small part of a pixel.

    Parameters
    ----------
    cross : `numpy.ndarray` of `numpy.complex64`, shape (n, rows, columns)
        ``conj(first) * second``.
    power : `numpy.ndarray`, shape (n,)
        Square root of the product of the two images' energies in the band.
    band : `~sunalign.sequences._spectra.Band`
    start : `numpy.ndarray`, shape (n, 2)
        Displacements, pixels.
    windows : `numpy.ndarray`, shape (n, 2), optional
        Displacements of the second image's window against the first's, 0 by default. A maximum is pulled towards
        them; that is taken out.
    look : `bool`
        Whether to look around the starts first, up to a pixel and a half.
    nearly : `bool`
        The answers will be asked for again: two steps are enough, and no covariance is needed.
    """
    n = len(cross)
    cross = np.ascontiguousarray(cross, np.complex64)
    pull = np.array([stiffness(band.nx), stiffness(band.ny)])
    held = np.zeros_like(start) if windows is None else windows
    shift = start.astype(float)
    weighted = cross * band.twice
    if look:
        shift = shift + _best_neighbour(weighted, band, shift)
    last = np.full(n, np.inf)
    for _ in range(2 if nearly else _NEWTON):
        value, gradient, hessian = _derivatives(weighted, band, shift)
        gradient = gradient + pull * (shift - held) * value[:, None]
        step = _uphill(gradient, hessian)
        shift = shift + step
        last = np.hypot(step[:, 0], step[:, 1])
        if (last < _CLOSE).all():
            break
    value, _, hessian = _derivatives(weighted, band, shift)
    hessian = hessian + (pull * value[:, None])[:, :, None] * np.eye(2)
    if nearly:
        covariance, peaked = np.full((n, 2, 2), np.nan), np.linalg.eigvalsh(hessian)[:, 1] < 0
    else:
        covariance, peaked = _sandwich(weighted, band, shift, hessian)
    flat = cross.reshape(n, -1).view(np.float32)
    square = np.einsum("nk,nk->n", flat, flat)
    # Parseval: the mean square over all displacements of the box, both halves of the plane.
    rms = np.sqrt(2 * square) + 1e-30
    found = peaked & (last < (0.5 if nearly else 0.05)) & (np.abs(shift - start).max(axis=1) < _REACH) & (value > 0)
    return Peaks(shift, covariance, value / np.maximum(power, 1e-30), value / rms, found)


def _waves(k: np.ndarray, at: np.ndarray) -> np.ndarray:
    """exp(i k d), shape (n, len(k))."""
    phase = np.outer(at.astype(np.float32), k)
    return np.cos(phase) + np.complex64(1j) * np.sin(phase)


def _best_neighbour(weighted: np.ndarray, band: Band, shift: np.ndarray) -> np.ndarray:
    """Offset of up to a pixel and a half to the highest of 49 neighbours: where Newton's method is sure to climb."""
    offsets = np.arange(-3, 4) * 0.5
    ey, ex = _waves(band.ky, shift[:, 1]), _waves(band.kx, shift[:, 0])
    fy, fx = _waves(band.ky, offsets), _waves(band.kx, offsets)
    left = (fy[None] * ey[:, None, :]) @ weighted
    values = (left @ np.swapaxes(fx[None] * ex[:, None, :], 1, 2)).real
    best = values.reshape(len(weighted), -1).argmax(axis=1)
    return np.stack([offsets[best % 7], offsets[best // 7]], axis=1)


def _derivatives(weighted: np.ndarray, band: Band, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlation, gradient (n, 2) and second derivatives (n, 2, 2) at displacements."""
    ey, ex = _waves(band.ky, shift[:, 1]), _waves(band.kx, shift[:, 0])
    left = np.stack([ey, ey * band.ky, ey * band.ky**2], axis=1)
    right = np.stack([ex, ex * band.kx, ex * band.kx**2], axis=2)
    m = ((left @ weighted) @ right).astype(np.complex128)
    gradient = np.stack([-m[:, 0, 1].imag, -m[:, 1, 0].imag], axis=1)
    xx, xy, yy = -m[:, 0, 2].real, -m[:, 1, 1].real, -m[:, 2, 0].real
    return m[:, 0, 0].real, gradient, np.stack([np.stack([xx, xy], 1), np.stack([xy, yy], 1)], axis=1)


def _uphill(gradient: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Newton step, along the gradient where the surface is no hill, never far."""
    lam, axes = np.linalg.eigh(hessian)
    # A direction without downward curvature is climbed as if it had that of the other.
    steepest = -np.abs(lam).max(axis=1, keepdims=True) - 1e-30
    lam = np.where(lam < 0.05 * steepest, lam, steepest)
    step = -np.einsum("nij,nj->ni", axes, np.einsum("nji,nj->ni", axes, gradient) / lam)
    length = np.maximum(np.hypot(step[:, 0], step[:, 1]) / _LARGEST_STEP, 1.0)
    return step / length[:, None]


def _sandwich(
    weighted: np.ndarray, band: Band, shift: np.ndarray, hessian: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance from what is left of the phases at the maximum, and whether it is one.

    Every frequency asks for its own displacement; how much they differ is the error. It needs no model of the noise,
    and takes in what the two images do not have in common.
    """
    ey, ex = _waves(band.ky, shift[:, 1]), _waves(band.kx, shift[:, 0])
    left = (weighted * ey[:, :, None] * ex[:, None, :]).imag
    left *= left
    # Its mirror image doubles a frequency's share, which is a factor of 4 in a variance; in column 0 both are there.
    left[:, :, 0] *= 2
    rows = np.stack([np.ones_like(band.ky), band.ky, band.ky**2])
    columns = np.stack([np.ones_like(band.kx), band.kx, band.kx**2], axis=1)
    m = ((rows @ left) @ columns).astype(float)
    middle = np.stack([np.stack([m[:, 0, 2], m[:, 1, 1]], 1), np.stack([m[:, 1, 1], m[:, 2, 0]], 1)], axis=1)
    lam = np.linalg.eigvalsh(hessian)
    peaked = lam[:, 1] < 1e-3 * lam[:, 0]
    safe = np.where(peaked[:, None, None], hessian, -np.eye(2))
    inverse = np.linalg.inv(safe)
    return inverse @ middle @ inverse * narrowing(band.nx, band.ny), peaked & (lam[:, 1] < 0)
