"""What detectors do to an image: noise, particle hits, missing and saturated pixels."""

from typing import Any

import numpy as np
from scipy import ndimage

from sunalign.simulate._grid import Array


def add_noise(
    data: Array, rng: np.random.Generator, *, snr: float | None, photons: float | None, read_noise: float
) -> Array:
    """
    Poisson noise, and read noise on top.

    Parameters
    ----------
    data : `numpy.ndarray`
        Noiseless image, not negative; NaN stays NaN.
    rng : `numpy.random.Generator`
        Source of randomness.
    snr : `float` or `None`
        Signal-to-noise ratio of a pixel of median brightness, read noise included.
    photons : `float` or `None`
        Photons in a pixel of median brightness; instead of ``snr``.
    read_noise : `float`
        Standard deviation of the read noise, in photons.

    Returns
    -------
    `numpy.ndarray`
        Noisy image in the unit of ``data``.
    """
    if snr is not None and photons is not None:
        raise ValueError("Give either snr or photons, not both.")
    if snr is not None:
        # The number of photons n for which n / sqrt(n + read_noise^2) is the ratio asked for.
        photons = 0.5 * (snr**2 + np.sqrt(snr**4 + 4 * snr**2 * read_noise**2))
    if photons is None:
        if read_noise:
            raise ValueError("Read noise is in photons: give photons or snr as well.")
        return data
    per_photon = np.nanmedian(data) / photons
    counts = np.asarray(rng.poisson(np.nan_to_num(data) / per_photon), dtype=float)
    if read_noise:
        counts += rng.normal(0, read_noise, data.shape)
    return np.where(np.isnan(data), np.nan, counts * per_photon)


def mismatch_field(shape: tuple[int, int], correlation_length: tuple[float, float], rng: np.random.Generator) -> Array:
    """Gaussian random field of unit variance.

    Parameters
    ----------
    shape : `tuple` of `int`
        ``(ny, nx)``.
    correlation_length : `tuple` of `float`
        Along (y, x), in pixels, over which its correlation falls to 1/e.
    rng : `numpy.random.Generator`
    """
    # The autocorrelation of noise smoothed by a Gaussian of width w is exp(-d^2 / (2 w)^2).
    width = [length / 2 for length in correlation_length]
    margin = [int(4 * w) + 1 for w in width]
    noise = rng.standard_normal([n + 2 * m for n, m in zip(shape, margin, strict=True)])
    field = ndimage.gaussian_filter(noise, width, mode="wrap")
    field = field[margin[0] : margin[0] + shape[0], margin[1] : margin[1] + shape[1]]
    # One pixel, or one correlation length, has no variance of its own to be normalised by.
    return np.asarray(field / _smoothed_deviation(width))


def _smoothed_deviation(width: list[float]) -> float:
    deviation = 1.0
    for w in width:
        impulse = np.zeros(2 * (int(4 * w) + 1) + 1)
        impulse[impulse.size // 2] = 1
        deviation *= float(np.sqrt(np.sum(ndimage.gaussian_filter1d(impulse, w, mode="constant") ** 2)))
    return deviation


def defects(
    data: np.ndarray,
    *,
    nan_rows: tuple[int, int] = (0, 0),
    nan_border: int = 0,
    mask_fraction: float = 0.0,
    saturation: float | None = None,
    hot_rows: int = 0,
    cosmic_hits: float = 0.0,
    rng: Any = None,
) -> np.ndarray:
    """
    Spoil an image.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
        Image; it is not changed.
    nan_rows : `tuple` of two `int`
        Rows at the bottom and at the top that hold no data, NaN.
    nan_border : `int`
        Pixels without data along all four edges.
    mask_fraction : `float`
        Fraction of the pixels that is missing, in blobs.
    saturation : `float`, optional
        Quantile of the image above which it is clipped.
    hot_rows : `int`
        Number of rows that are too bright by the range of the image.
    cosmic_hits : `float`
        Fraction of the pixels hit by particles, up to a hundred times the range of the image.
    rng : {int, `numpy.random.Generator`, None}
        Source of randomness.

    Returns
    -------
    `numpy.ndarray`, shape (ny, nx)
        Spoiled copy, float64.
    """
    rng = np.random.default_rng(rng)
    image = np.array(data, dtype=float)
    ny, nx = image.shape
    low, high = np.nanpercentile(image, [1, 99])
    span = high - low
    if saturation is not None:
        image = np.minimum(image, np.nanquantile(image, saturation))
    if hot_rows:
        bottom, top = nan_rows
        rows = bottom + rng.choice(ny - bottom - top, hot_rows, replace=False)
        image[rows] += span * rng.uniform(0.5, 1.5, (hot_rows, 1))
    if cosmic_hits:
        hit = rng.random(image.shape) < cosmic_hits
        image[hit] += span * 10 ** rng.uniform(0, 2, int(hit.sum()))
    if mask_fraction:
        blobs = ndimage.gaussian_filter(rng.standard_normal(image.shape), 0.04 * np.sqrt(ny * nx))
        image[blobs <= np.quantile(blobs, mask_fraction)] = np.nan
    if nan_border:
        inner = np.zeros(image.shape, bool)
        inner[nan_border : ny - nan_border, nan_border : nx - nan_border] = True
        image[~inner] = np.nan
    image[: nan_rows[0]] = np.nan
    image[ny - nan_rows[1] :] = np.nan
    return image
