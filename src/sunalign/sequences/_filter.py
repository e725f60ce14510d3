"""How much each wavelength of the images is worth, read from the sequence itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sunalign.sequences._spectra import Band

__all__ = ["Filter", "measured_filter"]

_BINS = 24
_LEAST_NOISE = 2e-3  # Of the power: images are never more alike than resampling and windows leave them.


@dataclass(frozen=True, eq=False)
class Filter:
    """Weight by wave number that makes the maximum of a correlation the likeliest displacement.

    For a scene of power S and noise of power N in each of two images it is ``S / (N (2 S + N))`` on their cross
    spectrum (Hannan & Thomson 1973, Biometrika 60, 469): where there is nothing but noise it is 0, so that noise does
    not meet noise, and what changes between frames counts as noise too. It is the same for all pairs: a filter that
    sharpens each pair by itself amplifies what it does not know.

    Parameters
    ----------
    scene, noise : `numpy.ndarray`, shape (n,)
        Mean power a frequency, at wave numbers (i + 1/2) pi / n radians a pixel.
    """

    scene: np.ndarray
    noise: np.ndarray

    def __call__(self, band: Band, averaged: float = 1.0) -> np.ndarray:
        """Factors for the spectra of both images, shape of the band.

        Parameters
        ----------
        band : `~sunalign.sequences._spectra.Band`
        averaged : `float`
            Number of frames in the mean that one of the two images is.
        """
        n = self.noise
        weight = self.scene / (n * (self.scene * (1 + 1 / averaged) + n / averaged) + 1e-30)
        k = np.hypot(band.ky[:, None], band.kx)
        at = (np.arange(len(weight)) + 0.5) * np.pi / len(weight)
        root = np.sqrt(np.interp(k, at, weight / max(weight.max(), 1e-30)))
        return np.asarray(root, np.float32)

    @property
    def band_limit(self) -> float:
        """Wave number, radians a pixel, below which nearly all information on displacements lies."""
        k = (np.arange(len(self.scene)) + 0.5) * np.pi / len(self.scene)
        value = self.scene**2 / (self.noise * (2 * self.scene + self.noise) + 1e-30) * k**3
        share = np.cumsum(value) / max(value.sum(), 1e-30)
        return float(k[min(int(np.searchsorted(share, 0.98)) + 1, len(k) - 1)])


def measured_filter(cross: np.ndarray, power: np.ndarray, shift: np.ndarray, band: Band) -> Filter:
    """Filter from pairs whose displacements are nearly known.

    Parameters
    ----------
    cross : `numpy.ndarray`, shape (n, rows, columns)
        Cross spectra.
    power : `numpy.ndarray`, shape (rows, columns)
        Mean power of the images.
    shift : `numpy.ndarray`, shape (n, 2)
        Displacements, pixels.
    band : `~sunalign.sequences._spectra.Band`
    """
    at = shift.astype(np.float32)
    phase = at[:, 1, None, None] * band.ky[:, None] + at[:, 0, None, None] * band.kx
    common = (cross.real * np.cos(phase) - cross.imag * np.sin(phase)).mean(axis=0)
    which = (np.hypot(band.ky[:, None], band.kx) * (_BINS / np.pi)).astype(int).clip(0, _BINS - 1)
    twice = np.broadcast_to(band.twice, band.shape)
    count = np.bincount(which.ravel(), twice.ravel(), _BINS)
    seen = np.maximum(count, 1)
    both = np.bincount(which.ravel(), (twice * common).ravel(), _BINS) / seen
    total = np.bincount(which.ravel(), (twice * power).ravel(), _BINS) / seen
    # Modes of one bin and pairs that share frames are not independent: half of them are taken to be.
    sure = total / np.sqrt(np.maximum(0.25 * count * len(cross), 1))
    scene = np.where(both > 2 * sure, both, 0.0)
    # What is beyond the band was never seen.
    scene[count == 0] = 0
    noise = np.maximum(total - scene, _LEAST_NOISE * total)
    noise[count == 0] = noise[count > 0][-1]
    if not scene.any():
        return Filter(np.ones(_BINS), np.ones(_BINS))
    return Filter(scene, np.maximum(noise, 1e-30))
