"""Claimed errors against actual ones, over noise."""

import numpy as np
import pytest
from scipy import ndimage

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.simulate import PointingError
from sunalign.testing.helpers import small_map

ERROR = PointingError(shift_x=14 * u.arcsec, shift_y=-23 * u.arcsec, scale_x=1.02, scale_y=0.99, rotation=0.3 * u.deg)
NAMES = ("shift_x", "shift_y", "scale_x", "scale_y", "rotation")


def normalised_errors(n, **options):
    """(found - true) / claimed, shape (n, 5), over noise, pointing and a dozen scenes."""
    rng = np.random.default_rng(0)
    scenes = [simulate.Scene(seed=k, extent=(40 * u.deg, 44 * u.deg)) for k in range(12)]
    ratios = []
    for k in range(n):
        true = np.concatenate([rng.uniform(-30, 30, 2), rng.uniform(0.97, 1.03, 2), rng.uniform(-0.5, 0.5, 1)])
        units = (u.arcsec, u.arcsec, 1, 1, u.deg)
        error = PointingError(**{name: value * unit for name, value, unit in zip(NAMES, true, units, strict=True)})
        pair = simulate.raster_pair(k, scene=scenes[k % 12], error=error, n_steps=64, n_slit=420, rng=[4, k], **options)
        found = sunalign.align(
            pair.target, pair.reference, fit=("shift", "scale", "rotation"), on_doubt="ignore"
        ).correction
        ratios.append((np.array(list(found.parameters.values())) - true) / [found.errors[name] for name in NAMES])
    return np.array(ratios)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"snr": 8.0},
        {"snr": 3.0},
        {"snr": 8.0, "relation": "power"},
        {"snr": 8.0, "mismatch": 0.55, "mismatch_scale": 10 * u.arcsec},
    ],
    ids=["white noise, S/N 8", "white noise, S/N 3", "another relation", "structured mismatch"],
)
def test_errors_are_as_large_as_they_claim(options):
    spread = normalised_errors(216, **options).std(axis=0)
    assert np.all((spread > 0.8) & (spread < 1.3)), spread


def test_errors_grow_with_the_noise():
    def claimed(snr):
        pair = simulate.raster_pair(6, error=ERROR, n_steps=48, n_slit=300, snr=snr)
        return sunalign.align(pair.target, pair.reference, fit=("shift", "scale", "rotation")).correction.errors

    quiet, noisy = claimed(8.0), claimed(1.0)
    assert all(noisy[name] > 1.5 * quiet[name] for name in quiet), (quiet, noisy)


def test_half_resolution_costs_large_images_nothing():
    rng, size = np.random.default_rng(1), 760
    waves = 2j * np.pi * np.fft.fftfreq(size)
    errors, claims = [], []
    for _ in range(8):
        texture = ndimage.gaussian_filter(rng.normal(size=(size, size)), 1.2, mode="wrap")
        sun, (x, y) = np.exp(0.7 * texture / texture.std()), rng.uniform(-4, 4, 2)
        moved = np.fft.ifft2(np.fft.fft2(sun) * np.exp(waves * x + waves[:, None] * y)).real
        images = (small_map(100 * image[16:-16, 16:-16] + rng.normal(size=(728, 728))) for image in (moved, sun))
        found = sunalign.align(*images).correction
        errors.append([found.shift_x.value / 4 - x, found.shift_y.value / 4 - y])
        claims.append([found.errors["shift_x"] / 4, found.errors["shift_y"] / 4])
    # Of pixels as they were given: binned first, such grains are off by 0.0025.
    assert np.sqrt(np.mean(np.square(errors))) < 5e-4
    assert 0.5 < np.sqrt(np.mean(np.divide(errors, claims) ** 2)) < 1.6


def test_error_bars_are_in_repr_and_json():
    pair = simulate.raster_pair(4, error=ERROR, n_steps=32, n_slit=200)
    result = sunalign.align(pair.target, pair.reference, fit="shift")
    assert "±" in repr(result.correction)
    assert set(result.to_dict()["correction"]["errors"]) == {"shift_x", "shift_y"}
    assert np.shape(result.correction.covariance) == (2, 2)
    assert "+/-" in result.aligned.meta["history"]
