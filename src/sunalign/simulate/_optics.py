"""From a scene to the pixels of a detector: point-spread function, slit, pixel area, and what the line emits."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import ndimage

import astropy.units as u

from sunalign.simulate._defects import mismatch_field
from sunalign.simulate._grid import Array
from sunalign.simulate._header import Pointing
from sunalign.simulate._scene import Scene
from sunalign.simulate._view import View

Emission = Callable[[np.ndarray], np.ndarray]
Relation = Literal["identity", "power"] | Emission

FWHM = 2 * np.sqrt(2 * np.log(2))


def expose(
    scene: Scene,
    pointing: Pointing,
    view: View,
    psf_fwhm: u.Quantity | None,
    oversample: int,
    relation: Emission | None = None,
) -> Array:
    """Image integrated over the pixels.

    Parameters
    ----------
    scene : `Scene`
    pointing : ``Pointing``
        Where the pixels are.
    view : ``View``
        Of one moment.
    psf_fwhm : `~astropy.units.Quantity` or `None`
        Full width at half maximum of a Gaussian point-spread function.
    oversample : `int`
        Samples per pixel and axis.
    relation : callable, optional
        From the scene's intensities to those of the instrument.

    Returns
    -------
    `numpy.ndarray`, shape (ny, nx)
    """
    ny, nx = pointing.shape
    sigma = [_sigma(psf_fwhm, s) for s in pointing.scale[::-1]]
    samples, blur = zip(*(_pixel(oversample, s) for s in sigma), strict=True)
    pad = [int(np.ceil(4 * s / oversample)) for s in blur]
    y, x = (
        (np.arange(-p, n + p)[:, None] + sub).reshape(-1)
        for p, n, sub in zip(pad, pointing.shape, samples, strict=True)
    )
    image = scene.radiance(pointing.vectors(x[None, :], y[:, None]), view)
    if relation is not None:
        image = relation(image)
    if psf_fwhm is not None:
        image = ndimage.gaussian_filter(image, blur, mode="nearest")
    image = image.reshape(ny + 2 * pad[0], oversample, nx + 2 * pad[1], oversample).mean(axis=(1, 3))
    return np.ascontiguousarray(image[pad[0] : pad[0] + ny, pad[1] : pad[1] + nx])


def _sigma(psf_fwhm: u.Quantity | None, pixel: u.Quantity) -> float:
    return 0.0 if psf_fwhm is None else float(psf_fwhm / FWHM / pixel)


def _pixel(n: int, sigma: float) -> tuple[Array, float]:
    """
    Places within a pixel at which to sample it, and the Gaussian blur in units of their spacing.

    ``n`` samples in the middles of the n-ths of a pixel are less spread out than its area is, by a variance of
    1 / (12 n^2). A blur makes up for that; where there is none the samples are moved apart (for two of them, to the
    nodes of Gauss and Legendre).
    """
    samples = (np.arange(n) + 0.5) / n - 0.5
    if sigma:
        return samples, float(np.sqrt(sigma**2 + 1 / (12 * n**2)) * n)
    return (samples / np.sqrt(1 - 1 / n**2) if n > 1 else samples), 0.0


def scan(
    scene: Scene,
    pointing: Pointing,
    view: View,
    slit_width: u.Quantity,
    psf_fwhm: u.Quantity | None,
    relation: Emission | None,
    moved: Array,
) -> Array:
    """
    Raster integrated over the slit.

    Every column is integrated across the slit at its own time, so the point-spread function across the slit is
    part of the quadrature; along the slit it is a convolution.

    Parameters
    ----------
    scene : `Scene`
    pointing : ``Pointing``
        Where the pixels are.
    view : ``View``
        With fields of shape (n_steps,), or the same for all columns.
    slit_width : `~astropy.units.Quantity`
    psf_fwhm : `~astropy.units.Quantity` or `None`
        Full width at half maximum of a Gaussian point-spread function.
    relation : callable or `None`
        From the scene's intensities to those of the instrument.
    moved : `numpy.ndarray`, shape (2, n_steps)
        By how much, in arcsec towards (+Tx, +Ty), a column points elsewhere than the header says.

    Returns
    -------
    `numpy.ndarray`, shape (n_slit, n_steps)
    """
    ny, nx = pointing.shape
    step, pixel = pointing.scale
    offsets, weights = slit_profile(float(slit_width / step), _sigma(psf_fwhm, step))
    sigma = _sigma(psf_fwhm, pixel)
    # A wide point-spread function leaves nothing within a pixel to be resolved.
    oversample = 1 if sigma > 1 else 3
    samples, blur = _pixel(oversample, sigma)
    pad = int(np.ceil(4 * blur / oversample))
    y = (np.arange(-pad, ny + pad)[:, None] + samples).reshape(-1)
    image = np.zeros((y.size, nx))
    dx, dy = np.linalg.solve(pointing.matrix, np.radians(moved / 3600))
    for offset, weight in zip(offsets, weights, strict=True):
        sample = scene.radiance(pointing.vectors(np.arange(nx) + dx + offset, y[:, None] + dy), view)
        image += weight * (sample if relation is None else relation(sample))
    if blur:
        image = ndimage.gaussian_filter1d(image, blur, axis=0, mode="nearest")
    image = image.reshape(ny + 2 * pad, oversample, nx).mean(axis=1)
    return np.ascontiguousarray(image[pad : pad + ny])


def slit_profile(width: float, sigma: float) -> tuple[Array, Array]:
    """Sensitivity across the slit: a box blurred by a Gaussian.

    Parameters
    ----------
    width, sigma : `float`
        Of the box, and of the Gaussian, in steps.

    Returns
    -------
    offsets, weights : `numpy.ndarray`
        Offsets in steps; the weights add up to 1.
    """
    if sigma == 0:
        samples, _ = _pixel(5, 0.0)
        return samples * width, np.full(samples.size, 1 / samples.size)
    # The trapezoidal rule converges faster than any power on a Gaussian: this spacing leaves 1e-8.
    n = int(np.ceil(width / 2 / sigma + 3))
    offsets = sigma * np.arange(-n, n + 1)
    fine = (np.arange(32) + 0.5) / 32 - 0.5
    weights = np.exp(-0.5 * ((offsets[:, None] - width * fine) / sigma) ** 2).mean(axis=1)
    return offsets, weights / weights.sum()


def mismatched(data: Array, pointing: Pointing, amplitude: float, scale: u.Quantity, rng: np.random.Generator) -> Array:
    """Data times a random factor that the reference does not have.

    Parameters
    ----------
    data : `numpy.ndarray`, shape (ny, nx)
    pointing : ``Pointing``
        For the size of a pixel.
    amplitude : `float`
        Standard deviation of the factor's logarithm.
    scale : `~astropy.units.Quantity`
        Over which its correlation falls to 1/e.
    rng : `numpy.random.Generator`
    """
    if not amplitude:
        return data
    length = [float(scale / s) for s in pointing.scale[::-1]]
    return data * np.exp(amplitude * mismatch_field(pointing.shape, (length[0], length[1]), rng))


def named_relation(relation: Relation) -> Emission | None:
    """How the emission of an instrument follows from the scene's; `None` where it is the same.

    Parameters
    ----------
    relation : `str` or callable
        ``"identity"``, ``"power"``, or the function itself.
    """
    if callable(relation):
        return relation
    known: dict[str, Emission | None] = {"identity": None, "power": _power}
    if relation not in known:
        raise ValueError(f"There is no relation named {relation!r}. Allowed: 'identity', 'power', or a function.")
    return known[relation]


def _power(intensity: np.ndarray) -> np.ndarray:
    return np.asarray(intensity**0.8)
