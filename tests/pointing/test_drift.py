"""A drift of the pointing inside a raster: found, with errors, and not where there is none."""

import numpy as np
import pytest

import astropy.units as u
from astropy.table import QTable

import sunalign
from sunalign import simulate
from sunalign.exceptions import AlignmentError
from sunalign.pointing import step

AXES = ("shift_x", "shift_y")
FIT = ("shift", "scale", "drift")


def raster(seed=3, n_steps=48, n_slit=400, **options):
    orbit = simulate.Orbit(dsun=0.45 * u.AU, time="2024-10-17T00:00:00")
    return simulate.raster_pair(
        seed, n_steps=n_steps, n_slit=n_slit, cadence=60 * u.s, observer=orbit, **{"snr": 8.0} | options
    )


def found_of(pair, fit=FIT, **options):
    return sunalign.align(pair.target, pair.reference, fit=fit, **{"on_doubt": "ignore"} | options)


def difference(result, pair):
    """Found less true, in arcsec, and the claimed errors, each of shape (2, n)."""
    return (
        np.array([(result.pointing[axis] - pair.pointing[axis]).to_value(u.arcsec) for axis in AXES]),
        np.array([result.pointing[f"{axis}_error"].to_value(u.arcsec) for axis in AXES]),
    )


@pytest.fixture(scope="module")
def drifting():
    pair = raster(drift=5 * u.arcsec)
    return pair, found_of(pair)


def test_the_drift_is_recovered_with_an_error_for_every_step(drifting):
    pair, result = drifting
    off, error = difference(result, pair)
    assert np.sqrt(np.mean(off**2)) < 0.15
    assert 0.5 < np.sqrt(np.mean((off / error) ** 2)) < 2
    assert (result.pointing["time"] == pair.times).all()
    assert result.drift.no_drift < 1e-3
    assert result.success


def test_shift_and_scale_are_right_when_the_drift_is_in_the_fit(drifting):
    pair, result = drifting
    for name in AXES:
        off = (getattr(result.correction, name) - getattr(pair.error, name)).to_value(u.arcsec)
        assert abs(off) < 5 * result.correction.errors[name]
        assert abs(off) < 0.15


def test_a_raster_without_drift_gets_none():
    pair = raster(mismatch=0.75)
    without, with_it = found_of(pair, ("shift", "scale")), found_of(pair)
    assert with_it.drift.freedom < 2
    for name in without.free:
        before, after = (result.correction for result in (without, with_it))
        assert abs(after.parameters[name] - before.parameters[name]) < 0.2 * before.errors[name]
        assert after.errors[name] < 1.1 * before.errors[name]
