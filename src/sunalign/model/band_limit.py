"""The band limit that keeps noise, and what is too fine for the pixels, from pulling the answer.

Sampling an image between its pixels smooths its noise, most of all half-way between two of them. A reference with less
noise correlates better, so a noisy one pulls the answer towards half pixels. A Gaussian a pixel wide, applied before
the spline is made, takes away what the spline would smooth here and leave there. The target gets the same: otherwise
the edges of what is compared would show structure that only one of the two has. It costs fine structure, so its width
is the one with the least expected error, from the power spectrum of the reference and the noise of both images; what
the spline does to structure that is almost too fine for the pixels, towards half pixels as well, is part of that error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import ndimage

from sunalign.model.noise import tiles_of
from sunalign.model.smoothing import kernel

__all__ = ["BEFORE_BINNING", "WIDTHS", "BandLimit", "Interpolated", "Spectrum", "band_limit"]

#: Widths to choose from, standard deviations in pixels. A wider one would make the answer hang on coarse structure,
#: which is what two instruments are the least likely to share.
WIDTHS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
#: Those for what is binned by two afterwards: the least of them leaves nothing that the larger pixels could not hold.
BEFORE_BINNING = (1.2, 1.5, 1.8, 2.1, 2.4)

_FEWER_TILES = 10  # Parts of an image that are transformed.
_AS_GOOD = 1.1  # Factor to the least expected error within which less smoothing is preferred.
_FINE = 1e-3  # Pixels of an error below which it is not worth smoothing either.
_FARTHEST = 12**-0.5  # Pixels that noise can pull by, 1 sigma: to the middle between two of them, from anywhere.
_CORNER = 0.25  # Squared frequency, in cycles per pixel, beyond which an image with a beam shows its noise alone.


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power spectrum of an image, noise and all.

    Parameters
    ----------
    power : `numpy.ndarray`, shape (n,)
        Of each mode; its mean with ``weight`` is the variance of the image.
    along : `numpy.ndarray`, shape (2, n)
        Frequency of each mode along x and y, in cycles per pixel, 0 to 1/2.
    weight : `numpy.ndarray`, shape (n,)
        How many modes each stands for, the sum of all being 1.
    """

    power: np.ndarray
    along: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, arrays: Iterable[np.ndarray]) -> Spectrum | None:
        """Mean over some parts of one image or more; `None` where there is too little to tell.

        Parameters
        ----------
        arrays : iterable of `numpy.ndarray`, shape (ny, nx)
            NaN where there is no valid value.
        """
        by_shape: dict[tuple[int, ...], list[np.ndarray]] = {}
        for tile in tiles_of(arrays)[:_FEWER_TILES]:
            if min(tile.shape) >= 8 and 2 * np.count_nonzero(np.isfinite(tile)) >= tile.size:
                by_shape.setdefault(tile.shape, []).append(tile)
        if not by_shape:
            return None
        parts = [_periodogram(np.stack(tiles)) for tiles in by_shape.values()]
        power, along, weight = (np.concatenate(values, axis=-1) for values in zip(*parts, strict=True))
        return cls(power, along, weight / weight.sum())

    @cached_property
    def squared(self) -> np.ndarray:
        """Frequency of each mode, squared, in cycles per pixel."""
        return np.asarray((self.along**2).sum(axis=0))

    @property
    def noise(self) -> float:
        """Variance of the noise, taken for white: the power beyond what a beam lets through, in every mode."""
        corner = self.squared > _CORNER
        return float(np.average(self.power[corner], weights=self.weight[corner])) if corner.any() else 0.0

    @property
    def structure(self) -> float:
        """Variance of what is not noise."""
        return max(self.mean(self.power) - self.noise, 0.0)

    def mean(self, values: np.ndarray) -> float:
        """Mean over all modes.

        Parameters
        ----------
        values : `numpy.ndarray`, shape (n_modes,)
            One for every mode.
        """
        return float(self.weight @ values)


def _periodogram(tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Power, frequencies and weight of every mode, of the mean over tiles, shape (n, ny, nx)."""
    n, ny, nx = tiles.shape
    valid = np.isfinite(tiles)
    window = np.outer(np.hanning(ny + 2)[1:-1], np.hanning(nx + 2)[1:-1]) * valid
    values = np.where(valid, tiles, 0.0)
    axes = (1, 2)
    mean = (window * values).sum(axes, keepdims=True) / window.sum(axes, keepdims=True)
    modes = np.fft.rfft2((values - mean) * window)
    power = np.mean((modes.real**2 + modes.imag**2) / (window**2).sum(axes, keepdims=True), axis=0)
    ky, kx = np.fft.fftfreq(ny)[:, None], np.fft.rfftfreq(nx)
    weight = np.full(power.shape, 2.0 * n)
    weight[:, 0] = n
    if nx % 2 == 0:
        weight[:, -1] = n
    along = np.stack([np.broadcast_to(k, power.shape).ravel() for k in (kx, np.abs(ky))])
    return power.ravel(), along, weight.ravel()


@dataclass(frozen=True)
class BandLimit:
    """What was decided about the noise at one resolution.

    Parameters
    ----------
    width : `float`
        Standard deviation, in pixels of the reference at this resolution, of the Gaussian both are smoothed with.
    snr : `float`
        Contrast of the reference, the standard deviation of its structure, over its noise.
    pull : `float`
        Pixels by which what is left of the noise may still pull a shift, 1 sigma over the sub-pixel phases, on grids
        that are in step.
    noise : `float`
        Variance of a pixel of the reference by its noise.
    """

    width: float = 0.0
    snr: float = np.inf
    pull: float = 0.0
    noise: float = 0.0

    def __str__(self) -> str:
        if not self.width:
            return "none"
        return f"{self.width:g} px, contrast {self.snr:.2g} times the noise"


def band_limit(
    reference: Sequence[np.ndarray],
    target: np.ndarray,
    n_pixels: int,
    area: float = 1.0,
    in_step: float = 1.0,
    most_noise: float = np.inf,
    widths: Sequence[float] = WIDTHS,
    boxes: float = 0.0,
) -> BandLimit:
    """Width with the least expected error of a shift.

    Parameters
    ----------
    reference : sequence of `numpy.ndarray`
        Pixels of the reference at the resolution that is climbed.
    target : `numpy.ndarray`, shape (ny, nx)
        The target there.
    n_pixels : `int`
        Pixels of it that are compared.
    area : `float`
        Area of a pixel of the target in pixels of the reference.
    in_step : `float`
        How much the target's pixels agree about where between the reference's pixels they fall: 1 where the two grids
        are parallel and their pixels of one size, 0 where they fall everywhere.
    most_noise : `float`
        Variance that the noise of the reference can have, where that is known from smaller pixels: what is beyond it in
        larger ones is structure that they are too large for. Smoothing is good for both, but only noise pulls.
    widths : sequence of `float`
        What to choose from, the narrowest first.
    boxes : `float`
        Variance, in squared pixels, of what both are smoothed with besides: of means over larger pixels of the target.

    Notes
    -----
    With S the power of the structure, N the noise of the reference, M that of the target in units of the reference's
    contrast, and G the response of both Gaussians together, the shift that maximises the correlation has the variance
    ``<k^2 [S M + N (S + M)] G^2> / (n <k^2 S G>^2)``. Half the slope of the noise left between two pixels over
    ``<k^2 S G>`` is what it is pulled by, and so it is by structure that is almost too fine for the pixels; see
    `Interpolated`.
    """
    seen, own = Spectrum.of(reference), Spectrum.of([target])
    if seen is None or own is None or not n_pixels:
        return BandLimit(min(widths))
    noise = seen.noise
    # Where a spectrum shows nothing but noise, nothing can be weighed; the widest does the most.
    drowned = not (seen.structure > 0 and own.structure > 0)
    if drowned and not noise > 0:
        return BandLimit(min(widths))
    other = 0.0 if drowned else own.noise * seen.structure / own.structure
    k2 = (2 * np.pi) ** 2 * seen.squared / 2  # Along one of the two axes.
    structure, between = seen.power - noise, Interpolated.at(seen.along)
    # Where target pixels are small, neighbours see one and the same noise of the reference.
    independent = n_pixels * min(1.0, area)
    found = []
    for width in widths[-1:] if drowned else widths:
        total = float(np.sqrt(width**2 + boxes))
        response = np.exp(-((2 * np.pi * total) ** 2) * seen.squared)  # Of what smooths both images.
        slope = seen.mean(k2 * structure * response)
        if slope <= 0:
            continue
        # Where all is regular the noise may be taken for more than there is, and structure for less than none.
        shared = max(seen.mean(k2 * structure * response**2), 0.0)
        white = seen.mean(k2 * response**2)
        variance = (other * shared / n_pixels + noise * (shared + other * white) / independent) / slope**2
        pulls = noise * _unevenness(total) / (2 * slope), between.pull(seen, structure * response)
        found.append((variance + _pull(pulls, in_step) ** 2, width, pulls))
    if not found:
        found.append((np.inf, widths[-1], (np.inf, 0.0)))
    # The narrowest that is about as good as the best: what no image has been smoothed of needs no argument.
    least = min(error for error, *_ in found)
    _, width, (by_noise, by_spline) = next(one for one in found if one[0] <= _AS_GOOD**2 * least + _FINE**2)
    known = min(noise, most_noise)
    pulls = by_noise * (known / noise if noise else 1.0), by_spline
    snr = float(np.sqrt(seen.structure / noise)) if noise else np.inf
    return BandLimit(width, snr, _pull(pulls, 1.0), known)


def _pull(pulls: tuple[float, float], in_step: float) -> float:
    """Pixels that a shift is pulled by, 1 sigma over the sub-pixel phases."""
    return in_step * min(abs(sum(pulls)) / np.sqrt(2), _FARTHEST)


@dataclass(frozen=True, eq=False)
class Interpolated:
    """What a cubic spline makes of waves a quarter of a pixel from its pixels, where it displaces them the most.

    Parameters
    ----------
    value, change : `numpy.ndarray`, shape (n,)
        Of the correlation of a wave with what is sampled of it, and of its derivative by the shift, the mean over both
        axes.
    power, uneven : `numpy.ndarray`, shape (n,)
        Of the power of what is sampled, and of half its derivative by the shift.

    Notes
    -----
    Between the pixels a spline shows of a wave of frequency f its aliases ``f + m`` too, ``sinc(f + m)^4`` of each
    (Unser 1999). Their sum has another phase than the wave, and another power at every fraction of a pixel.
    """

    value: np.ndarray
    change: np.ndarray
    power: np.ndarray
    uneven: np.ndarray

    @classmethod
    def at(cls, along: np.ndarray) -> Interpolated:
        """Of waves of these frequencies.

        Parameters
        ----------
        along : `numpy.ndarray`, shape (2, n)
            Cycles per pixel, along x and y.
        """
        order = np.arange(-2, 3)[:, None, None]
        shown = np.sinc(along + order) ** 4 / np.sum(np.sinc(along + order) ** 4, axis=0)
        turns = shown * np.exp(2j * np.pi * order / 4)
        seen, change = turns.sum(axis=0), (2j * np.pi * order * turns).sum(axis=0)
        # Of waves that go one way and the other, whose phases cancel.
        even, power = seen.real, np.abs(seen) ** 2
        return cls(
            value=even[0] * even[1],
            change=((change + 2j * np.pi * along * seen).real * even[::-1]).mean(axis=0),
            power=power[0] * power[1],
            uneven=((seen.conj() * change).real * power[::-1]).mean(axis=0),
        )

    def pull(self, spectrum: Spectrum, structure: np.ndarray) -> float:
        """Pixels by which structure too fine for the pixels pulls a shift, towards half a pixel where positive.

        From the derivative of the logarithm of the correlation at the true shift, over its curvature there.

        Parameters
        ----------
        spectrum : `Spectrum`
        structure : `numpy.ndarray`, shape (n,)
            Power of what both images show, as smooth as they are sampled.
        """
        curvature = spectrum.mean((2 * np.pi) ** 2 * spectrum.squared / 2 * structure)
        total, shown, power = (spectrum.mean(structure * part) for part in (1.0, self.value, self.power))
        if not min(total, curvature, shown, power) > 0:
            return 0.0
        slope = spectrum.mean(structure * self.change) / shown - spectrum.mean(structure * self.uneven) / power
        return slope * total / curvature


@lru_cache
def _unevenness(width: float) -> float:
    """Steepest change with position, per pixel, of the variance that a cubic spline leaves of smoothed white noise."""
    n = 64
    impulse = np.zeros(n)
    impulse[n // 2] = 1.0
    if width:
        half = kernel(width)
        impulse = np.convolve(impulse, np.concatenate([half[:0:-1], half]), mode="same")
    coefficients = ndimage.spline_filter1d(impulse, 3, mode="mirror")
    phases = np.linspace(0, 1, 33)
    points = np.arange(8, n - 8) + phases[:, None]
    samples = ndimage.map_coordinates(coefficients, [points], order=3, prefilter=False)
    return float(np.abs(np.gradient((samples**2).sum(axis=1), phases)).max())
