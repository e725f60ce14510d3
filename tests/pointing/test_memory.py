"""Where a pointing of the columns is kept in memory: in the WCS that can hold it, else in the table."""

import warnings

import numpy as np
import pytest

import astropy.units as u
from astropy.wcs import WCS

from ndcube import NDCube

import sunalign
from sunalign import simulate


@pytest.fixture(scope="module")
def pair():
    return simulate.raster_pair(3, n_steps=24, n_slit=120, drift=5 * u.arcsec)


def flat(pair):
    """WCS of the two celestial axes alone."""
    meta = {k: v for k, v in pair.target.meta.items() if "3" not in k and k not in ("wcsaxes", "keycomments")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(meta)


def aligned(target, pair):
    return sunalign.align(target, pair.reference, fit=("shift", "drift"), drift_knots=4, on_doubt="ignore")


def moved(wcs):
    """By how much coordinates differ from those of the plain WCS, in arcsec, shape (2, ny, nx)."""
    rows, columns = np.mgrid[:120:17, :24]
    lon, lat = wcs.all_pix2world(columns, rows, 0)
    plain_lon, plain_lat = wcs.wcs_pix2world(columns, rows, 0)
    return np.array([(lon - plain_lon + 180) % 360 - 180, lat - plain_lat]) * 3600


def test_a_wcs_of_two_axes_holds_it(pair):
    result = aligned((pair.target.data, flat(pair)), pair)
    data, wcs = result.aligned
    assert data is pair.target.data
    for k, axis in enumerate("xy"):
        expected = np.broadcast_to(result.pointing[f"shift_{axis}"].value, moved(wcs)[k].shape)
        np.testing.assert_allclose(moved(wcs)[k], expected, atol=2e-3)
    assert np.ptp(result.pointing["shift_y"].value) > 1
    assert result.assumptions["pointing of the columns is"] == "in the lookups of the WCS"


def test_a_cube_of_two_axes_holds_it(pair):
    cube = NDCube(pair.target.data, flat(pair), meta={"a": 1})
    result = aligned(cube, pair)
    assert isinstance(result.aligned, NDCube)
    world = result.aligned.wcs.low_level_wcs.pixel_to_world_values(5, 60)
    plain = result.aligned.wcs.wcs_pix2world([[5, 60]], 0)[0]
    assert (world[1] - plain[1]) * 3600 == pytest.approx(result.pointing["shift_y"][5].value, abs=2e-3)
    assert "a" in result.aligned.meta
    assert not cube.wcs.has_distortion
    assert "cube's WCS" in result.assumptions["pointing of the columns is"]


def test_a_map_cannot_and_says_so(pair):
    result = aligned(pair.target, pair)
    assert result.assumptions["pointing of the columns is"] == "in result.pointing: a GenericMap cannot hold it"
    assert abs(result.aligned.meta["crval1"] - pair.truth.meta["crval1"]) * 3600 < 1


def test_a_cube_of_more_axes_cannot_and_says_so(pair):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS({k: v for k, v in pair.target.meta.items() if k != "keycomments"}, naxis=3)
    cube = NDCube(pair.target.data[None], wcs, meta={})
    result = aligned(cube, pair)
    assert "the WCS of this cube cannot hold it" in result.assumptions["pointing of the columns is"]
