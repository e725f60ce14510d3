"""What of the frames stays with the detector, fitted together with the scene that moves over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sunalign.sequences._correlation import refine
from sunalign.sequences._spectra import Band
from sunalign.sequences._stack import COARSE, FINE, Stack

__all__ = ["DetectorFit", "fit_detector"]

_MOST = 64  # Frames that are fitted; the others are compared with what those say.
_LEAST = 6
_ROUNDS, _STILL = 24, 1e-3  # Steps, and working pixels of the last one.
_LARGEST_STEP = 0.5
_WINDOWS = 0.25  # Working pixels beyond which the windows are cut anew.
_BINS = 24

#: Square of the part of a wave's motion over the detector below which the two cannot be told apart.
_SEPARATE = 0.005

#: Power of a pattern over what noise makes of none, and agreement of the first and the second half of the sequence
#: about it, from which it is one. Scenes, whether they change or not, come to 1.1 and 0.03.
_POWER, _AGREEMENT = 1.5, 0.15
_POSSIBLE = 1.2  # Power from which the fit is worth finishing.

#: Working pixels rms by which frames that are held may be off each other's pixels, how many times further they are
#: tried, and the part of the misfit that has to be left.
_NEAR, _STRETCH, _BETTER = 0.4, 10.0, 0.95


@dataclass(frozen=True, eq=False)
class DetectorFit:
    """Displacements of frames once a pattern of the detector is taken out.

    Parameters
    ----------
    theta : `numpy.ndarray`, shape (n, 2)
        What is added to the places of all frames, working pixels.
    power : `float`
        Power of the pattern over what noise alone makes of none.
    agreement : `float`
        Of what the first and the second half of the sequence say of it, -1 to 1.
    settled : `bool`
        Whether the displacements have stopped moving.
    moving : `bool`
        Whether the detector moves over the scene by enough to tell the two apart.
    """

    theta: np.ndarray
    power: float
    agreement: float
    settled: bool
    moving: bool

    @property
    def is_clean(self) -> bool:
        """Whether there would have been one to see, and is none."""
        return self.moving and self.power <= _POSSIBLE

    @property
    def is_pattern(self) -> bool:
        """Whether there is one."""
        return self.power > _POWER and self.agreement > _AGREEMENT


def fit_detector(stack: Stack, theta: np.ndarray, frames: np.ndarray, detector: np.ndarray) -> DetectorFit | None:
    """Scene, pattern and displacements, whatever explains the frames best.

    A frame that is displaced by x shows ``exp(i k x) S(k) + exp(i k d) P(k)`` at wave number k: the scene S, and the
    pattern P that stays with the pixels, which its window shows displaced by d. For given x both follow from linear
    least squares, one wave number after the other, and where the Sun moved by too little for that neither is asked for.
    The displacements are climbed to by Gauss and Newton with both of them projected out.

    Parameters
    ----------
    stack : `~sunalign.sequences._stack.Stack`
        Placed to a pixel or two.
    theta : `numpy.ndarray`, shape (n, 2)
        What is added to the places of all frames, working pixels, as it was found.
    frames : `numpy.ndarray` of `int`
        Those that were placed.
    detector : `numpy.ndarray`, shape (n, 2)
        Place on the scene of the detector's first working pixel, in every frame, as the headers have it.

    Returns
    -------
    `DetectorFit` or `None`
        `None` where the frames are too few or have too little in common for this.
    """
    if len(frames) < _LEAST:
        return None
    some = frames[np.unique(np.linspace(0, len(frames) - 1, _MOST).astype(int))]
    first = _Fit.of(stack, theta, some, detector, COARSE)
    if first is None:
        return None
    power, agreement = first.evidence()
    place = detector + theta
    place = place - place[some].mean(axis=0)
    spread = float(np.sqrt(np.mean(place[some] ** 2)))
    loose = None
    if 0 < spread < _NEAR:
        loose = _loosened(first, stack, theta + place * (min(_STRETCH, 1 / spread) - 1), some, detector)
    if loose is not None:
        theta = loose
    elif not power > _POSSIBLE:
        return DetectorFit(theta, power, agreement, settled=True, moving=spread >= _NEAR)
    settled = False
    for _ in range(2):
        fit = _Fit.of(stack, theta, some, detector, FINE)
        if fit is None:
            break
        settled = fit.climb()
        power, agreement = fit.evidence()
        theta = theta.copy()
        theta[frames] += fit.all_moved(stack, theta, frames, detector)
        gap = (theta - stack.theta)[frames]
        if np.abs(gap - gap.mean(axis=0)).max() < _WINDOWS:
            break
        stack = stack.at(theta)
    return DetectorFit(theta, power, agreement, settled, moving=True)


def _loosened(
    held: _Fit, stack: Stack, start: np.ndarray, frames: np.ndarray, detector: np.ndarray
) -> np.ndarray | None:
    """The start, if frames come to rest from there with a pattern and fit better than held; `None` if they do not.

    What is left of a motion that a pattern holds is a small part of it, but a true one: a start is that part enlarged.
    """
    other = _Fit.of(stack, start, frames, detector, COARSE)
    if other is None or not other.climb():
        return None
    power, agreement = other.evidence()
    held.solve()
    is_better = power > _POWER and agreement > _AGREEMENT and other.misfit() < _BETTER * held.misfit()
    return start if is_better else None


@dataclass(eq=False)
class _Fit:
    """Spectra of frames, and where scene and pattern are in them.

    Parameters
    ----------
    spectra : `numpy.ndarray`, shape (n, m)
    band : `~sunalign.sequences._spectra.Band`
    start, at : `numpy.ndarray`, shape (n, 2)
        Displacement of the scene in each, at first and now.
    pattern_waves : `numpy.ndarray`, shape (n, m)
    """

    spectra: np.ndarray
    band: Band
    start: np.ndarray
    at: np.ndarray
    pattern_waves: np.ndarray

    @classmethod
    def of(cls, stack: Stack, theta: np.ndarray, frames: np.ndarray, detector: np.ndarray, limit: int) -> _Fit | None:
        box = stack.common_box()
        if box is None:
            return None
        band = Band.of(box, limit)
        spectra, offset = stack.spectra(frames, box, Band.of(box, FINE))
        spectra = Band.of(box, FINE).narrowed(spectra, band).reshape(len(frames), -1)
        # The box's first pixel is this pixel of the detector.
        pixel = np.array([box.x, box.y]) + offset - (detector + stack.theta)[frames]
        start = offset + (theta - stack.theta)[frames]
        return cls(spectra, band, start, start, _waves(pixel, band))

    def __post_init__(self) -> None:
        shape = self.band.shape
        self.k = [np.broadcast_to(k, shape).ravel() for k in (self.band.kx, self.band.ky[:, None])]
        self.count = np.broadcast_to(self.band.twice, shape).ravel()
        length = np.hypot(*self.k)
        self.which = (length * (_BINS / np.pi)).astype(int).clip(0, _BINS - 1)
        # The mean of a window is no structure.
        self.inner = length > 0

    def solve(self) -> None:
        """Scene and pattern for the displacements as they are."""
        n = len(self.spectra)
        self.waves = _waves(self.at, self.band)
        on_sky, on_pixels = ((np.conj(w) * self.spectra).mean(axis=0) for w in (self.waves, self.pattern_waves))
        self.relative = np.conj(self.waves) * self.pattern_waves
        self.common = self.relative.mean(axis=0)
        apart = 1 - np.abs(self.common) ** 2
        self.told = self.inner & (apart > _SEPARATE)
        self.apart = np.maximum(apart, _SEPARATE)
        self.pattern = np.where(self.told, (on_pixels - np.conj(self.common) * on_sky) / self.apart, 0)
        self.scene = on_sky - self.common * self.pattern
        self.mean = on_sky
        self.left = self.spectra - self.waves * self.scene - self.pattern_waves * self.pattern
        self.noise = (self.left.real**2 + self.left.imag**2).sum(axis=0) / max(n - 2, 1)

    def by_length(self, values: np.ndarray) -> np.ndarray:
        """Means over wave numbers of one length, at every one."""
        weight = self.count * self.told
        total, seen = np.bincount(self.which, values * weight, _BINS), np.bincount(self.which, weight, _BINS)
        return np.asarray((total / np.maximum(seen, 1))[self.which])

    def evidence(self) -> tuple[float, float]:
        """Power of the pattern over that of none, and the agreement of the sequence's halves about it.

        A scene that changes is no pattern: it is let change as a parabola in time.
        """
        n = len(self.spectra)
        pattern, apart, noise = self._beside_changes(slice(None), min(2, n // 5))
        power = float(np.sum(self.count * n * apart * np.abs(pattern) ** 2))
        none = float(np.sum(self.count * noise * (apart > 0)))
        # Halves that know nothing of each other, not even one scene.
        half, degree = n // 2, min(1, n // 10)
        one, other = (self._beside_changes(part, degree) for part in (slice(None, half), slice(half, None)))
        weight = self.count * np.minimum(one[1], other[1])
        both = float(np.sum(weight * (np.abs(one[0]) ** 2 + np.abs(other[0]) ** 2)))
        agreement = 2 * float(np.sum(weight * (np.conj(one[0]) * other[0]).real)) / max(both, 1e-30)
        return power / max(none, 1e-30), agreement

    def _beside_changes(self, part: slice, degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pattern in some frames beside a scene that changes, how well the two are told apart, 0 to 1, and noise."""
        back = np.conj(_waves(self.at[part], self.band))
        pattern, seen = back * self.pattern_waves[part], back * self.spectra[part]
        n = len(seen)
        changes = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, n), degree))[0].astype(np.float32)
        pattern, seen = (values - changes @ (changes.T @ values) for values in (pattern, seen))
        apart = np.mean(pattern.real**2 + pattern.imag**2, axis=0)
        told = self.inner & (apart > _SEPARATE)
        found = np.where(told, (np.conj(pattern) * seen).mean(axis=0) / np.maximum(apart, _SEPARATE), 0)
        left = (seen.real**2 + seen.imag**2).sum(axis=0) - n * apart * np.abs(found) ** 2
        return found, np.where(told, apart, 0), left / max(n - degree - 2, 1)

    def climb(self) -> bool:
        """Move to where scene and pattern explain the frames best; whether it came to rest."""
        last = np.inf
        for _ in range(_ROUNDS):
            self.solve()
            # Where the scene is noise at every wave number, nothing says where the frames are.
            if not self.told.any() or not (weight := self.weight()).any():
                return False
            step = self._step(weight)
            last = float(np.abs(step).max())
            self.at = self.at + step * min(1.0, _LARGEST_STEP / max(last, 1e-9))
            if last < _STILL:
                break
        self.solve()
        return last < 10 * _STILL

    def misfit(self) -> float:
        """Power that neither scene nor pattern explains."""
        return float(np.sum(self.count * self.inner * self.noise))

    def weight(self) -> np.ndarray:
        """What wave numbers are worth: nothing where the scene is noise."""
        noise = self.by_length(self.noise)
        scene = self.by_length(np.abs(self.scene) ** 2)
        own = self.by_length(self.noise / (len(self.spectra) * self.apart))
        share = np.clip(1 - own / np.maximum(scene, 1e-30), 0, 1)
        floor = 1e-3 * float(np.median(self.noise[self.told]))
        return np.where(self.told, self.count * share / np.maximum(noise, floor), 0)

    def _step(self, weight: np.ndarray) -> np.ndarray:
        n = len(self.spectra)
        pull = (np.conj(self.waves * self.scene) * self.left).imag
        gradient = np.stack([pull @ (weight * k) for k in self.k], axis=1)
        # What displacements and pattern can both explain counts for neither.
        own = (self.relative - self.common) / np.sqrt(n * self.apart)
        own = np.concatenate([own.real, own.imag], axis=1)
        hessian = np.zeros((n, 2, n, 2))
        for a in range(2):
            for b in range(a, 2):
                w = weight * self.k[a] * self.k[b] * np.abs(self.scene) ** 2
                block = w.sum() * (np.eye(n) - 1 / n) - (own * np.tile(w, 2)) @ own.T
                hessian[:, a, :, b], hessian[:, b, :, a] = block, block.T
        matrix = hessian.reshape(2 * n, 2 * n)
        size = np.trace(matrix) / (2 * n)
        # A common displacement is free.
        held = np.kron(np.full((n, n), 1 / n), np.eye(2)) + 1e-6 * np.eye(2 * n)
        step = np.linalg.solve(matrix + size * held, gradient.ravel()).reshape(n, 2)
        return np.asarray(step - step.mean(axis=0))

    def all_moved(self, stack: Stack, theta: np.ndarray, frames: np.ndarray, detector: np.ndarray) -> np.ndarray:
        """By how much frames are moved, also those that were not fitted, shape (n, 2)."""
        if len(frames) == len(self.spectra):
            return self.at - self.start
        other = _Fit.of(stack, theta, frames, detector, FINE)
        assert other is not None
        weight = self.weight() / self.count
        cross = np.conj(self.scene * weight) * (other.spectra - other.pattern_waves * self.pattern)
        peaks = refine(
            cross.reshape(-1, *self.band.shape),
            np.ones(len(frames)),
            self.band,
            -other.start,
            -other.start,
            nearly=True,
        )
        moved = np.where(peaks.found[:, None], -peaks.shift - other.start, 0.0)
        return np.asarray(moved - moved.mean(axis=0))


def _waves(at: np.ndarray, band: Band) -> np.ndarray:
    """exp(i k d) for every displacement, shape (n, m)."""
    x, y = (np.exp(1j * np.outer(at[:, c], k)).astype(np.complex64) for c, k in ((0, band.kx), (1, band.ky)))
    return np.asarray((y[:, :, None] * x[:, None, :]).reshape(len(at), -1))
