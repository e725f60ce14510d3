"""Where the Sun went between two images of one detector, once what stays with the pixels is fitted beside it.

A scene that moved by d and a pattern that did not make two images coherent as ``s exp(i k d) + p`` at wave number k,
with s and p their shares of what is seen at that length of wave. Without a pattern one d explains the phases of waves
of every length and direction. Beside one, waves shift by less where it is the stronger, and are the less coherent the
more their crests lie across the motion. The two images say so themselves: neither spectrum has to be known.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import fft

from sunalign.model.smoothing import gaussian_smoothed

__all__ = ["beside_pattern"]

_SIDE = 48  # Pixels along each side of the windows, of which one starts wherever half of another has passed.
_FEWEST = 4  # Clumps of windows that have to be there, for how they scatter is asked.
_PART = 264  # Pixels along each side of the part that is looked at.
_MISSING = 0.05  # Part of a window's pixels that may be missing.
# Wave numbers, in radians per pixel, between which shares of waves are the same.
_LENGTHS = (0.2, 0.35, 0.5, 0.7, 0.95, 1.3, 1.8, 2.4)
_ALIKE = 0.005  # Least part of the power that is not taken for coherent: windows cut off at their edges what moved.
_TAIL = 8.0  # Squares of standard errors of a wave from which it counts for little, as lines of a checkerboard do.
_INDEPENDENT = 0.6  # Windows that are worth one that has no neighbours.
_ROUNDS, _STILL, _LARGEST_STEP = 12, 1e-3, 0.5  # Steps, the last and the largest of them in pixels.
_PULLED = 1.5  # Pixels from the pattern's place within which it may have pulled an answer from further away.
_GAPS = (1.0, 3.0, 10.0)  # Pixels over which neighbours stand in for what is missing, one after the other.
_SEEN = 0.25  # Share that the scene has to have at one length of wave at least: a flow has less beside a still Sun.
_FULL = 0.999  # Largest share: all.
_FAINT, _NONE = 1e-3, 1.0  # Curvature by shares of the scene and of the pattern, where nothing else holds them.
_SIGMAS = 3.0  # Standard errors, of which what is beyond them is believed.


class _Waves(NamedTuple):
    """Wave numbers that are looked at, in order of their length; where in a spectrum, and how many of each length."""

    rows: np.ndarray
    columns: np.ndarray
    kx: np.ndarray
    ky: np.ndarray
    length: np.ndarray
    cuts: np.ndarray

    def phases(self, at: np.ndarray) -> np.ndarray:
        """``exp(i k d)`` of column and row ``at``."""
        return np.asarray(np.exp(1j * (self.kx * at[0] + self.ky * at[1])))


@cache
def _waves() -> _Waves:
    ky, kx = 2 * np.pi * np.fft.fftfreq(_SIDE), 2 * np.pi * np.fft.rfftfreq(_SIDE)
    length = np.hypot(ky[:, None], kx)
    # Half of those without kx are the others' conjugates.
    wanted = (length >= _LENGTHS[0]) & (length < _LENGTHS[-1]) & ((kx > 0) | (ky[:, None] >= 0))
    rows, columns = np.nonzero(wanted)
    which = np.searchsorted(_LENGTHS, length[wanted], "right") - 1
    order = np.argsort(which, kind="stable")
    rows, columns, which = rows[order], columns[order], which[order]
    return _Waves(rows, columns, kx[columns], ky[rows], which, np.searchsorted(which, np.arange(len(_LENGTHS))))


class _Spectra(NamedTuple):
    """Spectra of windows of two images, shape (n, m), and the clump of neighbours that each is of."""

    reference: np.ndarray
    target: np.ndarray
    clump: np.ndarray


class _Fit(NamedTuple):
    """Displacement of the scene, how badly it fits, and what its errors follow from.

    Those are, at every wave, the coherence, the turn that makes it real, weights of what is real and imaginary then,
    and slopes by the displacement; and the curvature by it.
    """

    at: np.ndarray
    shares: np.ndarray
    misfit: float
    model: np.ndarray
    turn: np.ndarray
    weights: np.ndarray
    slopes: np.ndarray
    curvature: np.ndarray


def beside_pattern(reference: np.ndarray, target: np.ndarray, aside: np.ndarray, pattern: np.ndarray) -> float:
    """Pixels between an answer and where the scene is once a pattern is fitted beside it, less what may be chance.

    Parameters
    ----------
    reference, target : `numpy.ndarray`, shape (ny, nx)
        NaN where there is nothing.
    aside : `numpy.ndarray`, shape (2,)
        Column and row by which the answer is beside these pixels.
    pattern : `numpy.ndarray`, shape (2,)
        Column and row by which what stays with the detector is.
    """
    spectra = _spectra(reference, target, aside)
    if spectra is None:
        return 0.0
    starts = [aside]
    pulled = aside - pattern
    if _STILL < np.hypot(*pulled) < _PULLED:
        starts.append(pattern + 2 * pulled)
    fit = min((_climb(spectra, start, pattern) for start in starts), key=lambda fit: fit.misfit)
    apart = fit.at - aside
    distance, variance = float(np.hypot(*apart)), float(apart @ _covariance(spectra, fit) @ apart)
    if fit.shares[:, 0].max() < _SEEN or not 0 < _SIGMAS**2 * variance < distance**4:
        return 0.0
    return float(np.sqrt(distance**2 - _SIGMAS**2 * variance / distance**2))


def _spectra(reference: np.ndarray, target: np.ndarray, aside: np.ndarray) -> _Spectra | None:
    """Of both, the windows of the reference displaced as the answer is: they then cut off the same of the scene."""
    part = tuple(slice(max((size - _PART) // 2, 0), (size + _PART) // 2) for size in target.shape)
    reference, target = reference[part], target[part]
    missing = ~np.isfinite(reference) | ~np.isfinite(target)
    rows, columns = (np.flatnonzero(~missing.all(axis=1 - axis)) for axis in range(2))
    if not len(rows) or min(np.ptp(rows), np.ptp(columns)) + 1 < _SIDE:
        return None
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    reference, target, missing = reference[part], target[part], missing[part]
    firsts = [_firsts(size) for size in target.shape]
    y, x = (first.ravel() for first in np.meshgrid(*firsts, indexing="ij"))
    clump = np.add.outer(np.arange(len(firsts[0])) // 2 * _PART, np.arange(len(firsts[1])) // 2).ravel()
    if missing.any():
        kept = _windows(missing, y, x).mean(axis=(1, 2)) <= _MISSING
        y, x, clump = y[kept], x[kept], clump[kept]
        reference, target = (_without_gaps(image, missing) for image in (reference, target))
    if len(np.unique(clump)) < _FEWEST:
        return None
    waves, both = _waves(), []
    for image, at in ((reference, aside), (target, np.zeros(2))):
        spread = image.std()
        if not spread > 0:
            return None
        taper = np.outer(_taper(at[1]), _taper(at[0])).astype(np.float32)
        seen = _windows(((image - image.mean()) / spread).astype(np.float32), y, x)
        seen -= (np.tensordot(seen, taper, 2) / taper.sum())[:, None, None]
        both.append(fft.rfft2(seen * taper)[:, waves.rows, waves.columns].astype(complex))
    return _Spectra(both[0], both[1], clump)


def _firsts(size: int) -> np.ndarray:
    """First pixels of windows that cover a side of the image, each half of the next."""
    return np.rint(np.linspace(0, size - _SIDE, 1 + int(np.ceil(2 * (size - _SIDE) / _SIDE)))).astype(int)


def _windows(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.asarray(np.lib.stride_tricks.sliding_window_view(image, (_SIDE, _SIDE))[y, x])


def _taper(at: float) -> np.ndarray:
    """Hann's, displaced by a fraction of a pixel."""
    place = (np.arange(1, _SIDE + 1) - at) / (_SIDE + 1)
    return np.sin(np.pi * np.clip(place, 0, 1)) ** 2


def _without_gaps(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Smooth in place of what either lacks: holes stay on their pixels, and zeros in them would be a pattern."""
    image = np.where(missing, np.nan, image)
    for width in _GAPS:
        gaps = np.isnan(image)
        if not gaps.any():
            break
        image = np.where(gaps, gaussian_smoothed(image, width)[0], image)
    return np.where(np.isnan(image), np.nanmean(image), image)


def _climb(spectra: _Spectra, start: np.ndarray, pattern: np.ndarray) -> _Fit:
    """Displacement of the scene and shares of both, no share less than 0, by Gauss and Newton.

    Waves that do not go along with the others, as the few of a regular pattern, lose their weight.
    """
    waves, n = _waves(), len(_LENGTHS) - 1
    coherence = _coherence(spectra)
    worth = 2 * _INDEPENDENT * len(spectra.clump)
    stays = waves.phases(pattern)
    at, shares = np.array(start, float), np.zeros((n, 2))
    shares[:, 0] = np.add.reduceat((coherence * waves.phases(-at)).real, waves.cuts[:-1]) / np.diff(waves.cuts)
    shares = np.clip(shares, 0, _FULL)
    for _ in range(_ROUNDS):
        scene, (s, p) = waves.phases(at), shares[waves.length].T
        model = s * scene + p * stays
        turn = np.conj(model) / np.maximum(np.abs(model), 1e-9)
        alone = np.maximum(1 - np.abs(model) ** 2, _ALIKE)
        left = (coherence - model) * turn
        # Of how coherent they are waves say more than of their phase, and the more the more coherent they are.
        weights = np.sqrt(worth) / np.array([alone, np.sqrt(alone)])
        squares = (left.real * weights[0]) ** 2 + (left.imag * weights[1]) ** 2
        misfit = float(np.sum(_TAIL * np.log1p(squares / _TAIL) + 3 * np.log(alone)))
        weights /= np.sqrt(1 + squares / _TAIL)
        moved = 1j * s * scene
        slopes = turn * np.array([scene, stays, waves.kx * moved, waves.ky * moved, coherence - model])
        slopes = slopes.real * weights[0] + 1j * (slopes.imag * weights[1])
        step = _step(slopes, shares)
        at, shares = at + step.at, np.clip(shares + step.shares, 0, _FULL)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True) / _FULL, 1)
        if np.abs(step.at).max() < _STILL:
            break
    # By what the displacement alone changes, whatever the shares do.
    own = slopes[2:4] - np.einsum("mij,im->jm", step.ties[waves.length], slopes[:2])
    return _Fit(at, shares, misfit, model, turn, weights, own, step.curvature)


class _Step(NamedTuple):
    """Step of the displacement and changes of the shares; curvature by the first, and how the second follow from it."""

    at: np.ndarray
    shares: np.ndarray
    curvature: np.ndarray
    ties: np.ndarray


def _step(slopes: np.ndarray, shares: np.ndarray) -> _Step:
    """By scene, pattern, column, row and what is left at every wave; shares are projected out, one length at a time."""
    cuts = _waves().cuts
    parts = [slopes[:, i:j] for i, j in itertools.pairwise(cuts)]
    products = np.array([part.real @ part.real.T + part.imag @ part.imag.T for part in parts])
    own, others = products[:, :2, :2], products[:, :2, 2:]
    # Without a reason there is no pattern.
    own += np.diag([_FAINT, _NONE])
    others[:, 1, 2] -= _NONE * shares[:, 1]
    less = shares[:, 1] + _solved(own, others)[:, 1, 2] < 0
    own[less, 1, 0] = own[less, 0, 1] = others[less, 1] = 0
    own[less, 1, 1], others[less, 1, 2] = 1, -shares[less, 1]
    ties = _solved(own, others)
    moved = products[:, 2:4, 2:].sum(axis=0)
    held = 1e-6 * np.trace(moved[:, :2]) + 1e-9
    moved -= np.einsum("lij,lik->jk", others[..., :2], ties)
    curvature = moved[:, :2] + held * np.eye(2)
    at = np.linalg.solve(curvature, moved[:, 2])
    at *= min(1.0, _LARGEST_STEP / max(float(np.abs(at).max()), 1e-12))
    return _Step(at, ties[..., 2] - ties[..., :2] @ at, curvature, ties[..., :2])


def _solved(matrix: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Of many symmetric 2 by 2 matrices, at a tenth of the cost of `numpy.linalg.solve`."""
    (a, b), d = matrix[:, 0].T, matrix[:, 1, 1]
    inverse = np.array([[d, -b], [-b, a]]) / (a * d - b**2)
    return np.asarray(np.moveaxis(inverse, 2, 0) @ wanted)


def _coherence(spectra: _Spectra) -> np.ndarray:
    """Cross-spectrum over the root of both powers, at every wave number."""
    cross = np.mean(np.conj(spectra.reference) * spectra.target, axis=0)
    return np.asarray(cross / np.sqrt(_power(spectra.reference).mean(axis=0) * _power(spectra.target).mean(axis=0)))


def _power(waves: np.ndarray) -> np.ndarray:
    return np.maximum(waves.real**2 + waves.imag**2, 1e-30)


def _covariance(spectra: _Spectra, fit: _Fit) -> np.ndarray:
    """Of the displacement: what windows that are alike would leave, and how clumps of them, side by side, scatter."""
    powers = [_power(waves) for waves in (spectra.reference, spectra.target)]
    means = [power.mean(axis=0) for power in powers]
    # To first order in what one window adds to the coherence.
    more = np.conj(spectra.reference) * spectra.target / np.sqrt(means[0] * means[1])
    more = (more - fit.model * (powers[0] / means[0] + powers[1] / means[1]) / 2) * fit.turn / len(spectra.clump)
    pulls = (more.real * fit.weights[0]) @ fit.slopes.real.T + (more.imag * fit.weights[1]) @ fit.slopes.imag.T
    clumps, which = np.unique(spectra.clump, return_inverse=True)
    alike = np.linalg.pinv(fit.curvature)
    moved = np.array([np.bincount(which, pull) for pull in pulls.T]).T @ alike
    moved -= moved.mean(axis=0)
    return np.asarray(alike + moved.T @ moved * len(clumps) / (len(clumps) - 1))
