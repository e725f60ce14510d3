"""What the answers are worth, on simulated truth."""

import numpy as np
import pytest

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.simulate import PointingError

PIXEL = 4.44  # arcsec, of the simulated reference
NAMES = ("shift_x", "shift_y", "scale_x", "scale_y", "rotation")


def draw(rng, shift, scale, rotation):
    """A pointing error of up to so much, in arcsec, as a part of 1, and in degrees."""
    return PointingError(
        shift_x=rng.uniform(-shift, shift) * u.arcsec,
        shift_y=rng.uniform(-shift, shift) * u.arcsec,
        scale_x=rng.uniform(1 - scale, 1 + scale),
        scale_y=rng.uniform(1 - scale, 1 + scale),
        rotation=rng.uniform(-rotation, rotation) * u.deg,
    )


def differences(n, **options):
    """Found less true of shifts in reference pixels and of scales, each of shape (n, 2)."""
    rng = np.random.default_rng(7)
    rows = []
    for k in range(n):
        error = draw(rng, 60, 0.03, 0.5)
        pair = simulate.raster_pair(k, error=error, margin=90 * u.arcsec, rng=[7, k], **options)
        found = sunalign.align(pair.target, pair.reference, fit=("shift", "scale", "rotation"), on_doubt="ignore")
        rows.append([u.Quantity(getattr(found.correction, name) - getattr(error, name)).value for name in NAMES[:4]])
    return np.array(rows)[:, :2] / PIXEL, np.array(rows)[:, 2:]


def rms(values):
    return np.sqrt(np.mean(values**2))


@pytest.mark.parametrize("snr", [8.0, 3.0])
def test_noise_costs_a_fiftieth_of_a_pixel_at_most(snr):
    shifts, scales = differences(6, snr=snr)
    assert rms(shifts) < 0.02
    assert rms(scales) < 5e-4


def test_structure_that_only_one_image_has_costs_a_tenth_of_a_pixel_at_most():
    shifts, scales = differences(8, snr=8.0, mismatch=0.55)
    assert rms(shifts) < 0.1
    assert rms(scales) < 3e-3


@pytest.mark.slow
def test_captured_from_forty_pixels_eight_percent_and_one_degree():
    rng = np.random.default_rng(11)
    missed = 0
    for k in range(120):
        error = draw(rng, 40 * PIXEL, 0.08, 1.0)
        pair = simulate.raster_pair(
            k % 20, error=error, n_steps=64, n_slit=420, margin=260 * u.arcsec, snr=float(rng.choice([8, 3, 1]))
        )
        result = sunalign.align(
            pair.target,
            pair.reference,
            fit=("shift", "scale", "rotation"),
            max_shift=45 * PIXEL * u.arcsec,
            on_doubt="ignore",
        )
        off = np.hypot(result.correction.shift_x - error.shift_x, result.correction.shift_y - error.shift_y)
        missed += bool(off > 1 * PIXEL * u.arcsec)
    assert missed <= 1
