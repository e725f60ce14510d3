"""Times of raster steps, held to astropy.wcs."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astropy.units as u
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning

import sunpy.map
import sunraster
from ndcube import NDCube

from sunalign import simulate
from sunalign.exceptions import ImageError, SunalignUserWarning
from sunalign.images import to_image
from sunalign.images.cubes import spectral_image

DATA = Path(sunraster.__file__).parent / "tests" / "data"
RASTER = DATA / "solo_L2_spice-n-ras-db_20200602T081733_V01_12583760-000.fits"
SIT = DATA / "solo_L2_spice-n-sit_20200620T235901_V01_16777431-000.fits"
BLANK = simulate.Scene(contrast=0, limb_brightening=0)


def wcs_of(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header)


def raster(**options):
    options = {
        "n_steps": 12,
        "n_slit": 40,
        "cadence": 60 * u.s,
        "step": 10 * u.arcsec,
        "slit_pixel": 9 * u.arcsec,
    } | options
    return simulate.raster(BLANK, **options)


def changed(target, **cards):
    return sunpy.map.Map(target.data, {**target.meta, **cards})


# Maps


@pytest.mark.parametrize("convention", ["pc", "cd"])
@pytest.mark.parametrize("direction", [-1, 1])
def test_steps_of_a_map_are_those_of_its_time_axis(direction, convention):
    made = raster(direction=direction, convention=convention)
    times = to_image(made.target).times
    assert np.sign(times.step) == direction
    np.testing.assert_allclose((times.at(np.arange(12)) - made.times).to_value(u.s), 0, atol=1e-5)
    world = wcs_of(made.target.fits_header).wcs_pix2world(
        np.column_stack([np.arange(12), np.zeros(12), np.zeros(12)]), 0
    )
    np.testing.assert_allclose(times.seconds, world[:, 2], atol=1e-6)
    assert "CTYPE3='UTC'" in times.origin


@given(st.floats(-200, 200).filter(lambda s: abs(s) > 0.1), st.integers(2, 40), st.floats(1, 40), st.floats(0, 5000))
def test_any_linear_time_axis_is_read_as_astropy_reads_it(slope, n, crpix, crval):
    header = {
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CTYPE3": "UTC", "CUNIT1": "deg", "CUNIT2": "deg", "CUNIT3": "s",
        "CRPIX1": crpix, "CRPIX2": 3.0, "CRPIX3": 1.0, "CDELT1": 0.001, "CDELT2": 0.001, "CDELT3": 1.0, "CRVAL1": 0.0,
        "CRVAL2": 0.0, "CRVAL3": crval, "PC3_1": slope, "WCSAXES": 3, "DATEREF": "2024-10-17T00:00:50.215",
    }  # fmt: skip
    times = to_image((np.ones((5, n)), header)).times
    wcs = wcs_of(fits.Header(header))
    world = wcs.wcs_pix2world(np.column_stack([np.arange(n), np.zeros(n), np.zeros(n)]), 0)[:, 2]
    expected = Time(wcs.wcs.mjdref[0], wcs.wcs.mjdref[1], format="mjd", scale="utc") + world * u.s
    np.testing.assert_allclose((times.at(np.arange(n)) - expected).to_value(u.s), 0, atol=1e-4)


def test_columns_of_cropped_and_binned_images_keep_their_times():
    image = to_image(raster().target)
    times = image.times.seconds
    np.testing.assert_allclose(image.crop(slice(0, 40), slice(3, 9)).times.seconds, times[3:9])
    np.testing.assert_allclose(image.binned(1, 4).times.seconds, times.reshape(3, 4).mean(axis=1))
    np.testing.assert_allclose(image.times(np.array([-1.0, 0.5, 20.0])), times[0] - 60 * np.array([-1.0, 0.5, 20.0]))


def test_a_submap_needs_no_warning_and_a_map_in_other_units_has_the_same_times():
    target = raster().target
    part = target.submap([2, 5] * u.pix, top_right=[7, 30] * u.pix)
    np.testing.assert_allclose(to_image(part).times.seconds, to_image(target).times.seconds[2:8])
    minutes = changed(target, cunit3="min", pc3_1=target.meta["pc3_1"] / 60, crval3=target.meta["crval3"] / 60)
    np.testing.assert_allclose(to_image(minutes).times.seconds, to_image(target).times.seconds)


@pytest.mark.parametrize(
    "cards", [{"date-end": "2024-10-17T02:00:00"}, {"pc3_1": -75.0}, {"crval3": 4000.0}, {"pc3_1": -30.0}]
)
def test_a_time_axis_that_its_own_dates_contradict_is_told(cards):
    with pytest.warns(SunalignUserWarning, match="time axis is wrong by its own DATE-END"):
        assert to_image(changed(raster().target, **cards)).times is not None


def test_the_epoch_may_be_an_mjdref_or_the_beginning():
    target = raster(start="2024-10-17T06:00:00").target
    expected = to_image(target).times.at(3.0)
    bare = {k: v for k, v in target.meta.items() if k != "dateref"}
    begun = to_image(sunpy.map.Map(target.data, bare)).times.at(3.0)
    counted = to_image(sunpy.map.Map(target.data, {**bare, "mjdrefi": 60600, "mjdreff": 0.25})).times.at(3.0)
    assert abs((begun - expected).to_value(u.s)) < 1e-5
    assert abs((counted - expected).to_value(u.s)) < 1e-5


@pytest.mark.parametrize(
    ("removed", "origin"),
    [((), "DATE-AVG, the middle"), (("date-avg",), "DATE-OBS"), (("date-avg", "date-obs"), "DATE-BEG, the beginning")],
)
def test_an_image_says_which_date_it_has(removed, origin):
    image = simulate.imager(BLANK, shape=(8, 8))
    header = {k: v for k, v in image.meta.items() if k not in removed}
    times = to_image(sunpy.map.Map(image.data, header)).times
    assert times.is_instant
    assert times.origin.startswith(origin)


def test_an_image_without_a_date_has_no_times():
    header = {
        "CTYPE1": "HPLN-TAN",
        "CTYPE2": "HPLT-TAN",
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CDELT1": 1.0,
        "CDELT2": 1.0,
    }
    assert to_image((np.ones((4, 4)), header)).times is None


# What is no raster


def test_sit_and_stare_is_refused_by_name():
    target = raster().target
    with pytest.raises(ImageError, match=r"sit-and-stare observation \(CDELT1 = 0\)"):
        to_image((target.data, {**target.meta, "cdelt1": 0.0}))
    header = fits.getheader(SIT)
    cube = NDCube(np.ones((4, 3, 20, 1)), wcs=wcs_of(header), meta=header)
    with pytest.raises(ImageError, match="sit-and-stare"):
        _ = to_image(cube).times


def test_time_along_the_slit_is_refused():
    with pytest.raises(ImageError, match="runs along the slit"):
        _ = to_image(changed(raster().target, pc3_2=20.0)).times


# Cubes


@pytest.mark.parametrize("extension", [0, 1, 2])
def test_real_spice_cubes(extension):
    header = fits.getheader(RASTER, extension)  # the third is a dumbbell
    # One wavelength: the place of a dumbbell depends on it.
    cube = NDCube(np.ones((1, 1, 20, 30)), wcs=wcs_of(header), meta=header)
    times = spectral_image(cube, mask_dumbbells=False).times
    expected = cube.wcs.pixel_to_world(np.arange(30), np.full(30, 10), np.zeros(30), np.zeros(30))[-1]
    np.testing.assert_allclose((times.at(np.arange(30)) - expected).to_value(u.s), 0, atol=1e-5)
    assert times.at(29.0).isot == "2020-06-02T08:18:03.136"
    assert times.step == pytest.approx(-60.25)


def celestial_cube(n=6, **options):
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["WAVE", "HPLT-TAN", "HPLN-TAN"]
    wcs.wcs.cunit = ["nm", "arcsec", "arcsec"]
    wcs.wcs.cdelt = [0.01, 1.0, 2.0]
    wcs.wcs.crpix = [1, 1, 1]
    wcs.wcs.crval = [70, 0, 0]
    wcs.wcs.set()
    return NDCube(np.ones((n, 5, 4)), wcs=wcs, **options)


def test_extra_coordinates_of_a_cube():
    times = Time("2024-10-17T00:00:00") + np.array([0, 9.5, 20, 31, 40, 52]) * u.s
    cube = celestial_cube()
    cube.extra_coords.add("time", (0,), times)
    found = to_image(cube).times
    assert "extra coordinate" in found.origin
    np.testing.assert_allclose((found.at(np.arange(6)) - times).to_value(u.s), 0, atol=1e-5)


def test_dates_in_the_metadata_of_a_cube():
    starts = [f"2024-10-17T00:{m:02d}:00" for m in (50, 40, 30, 20, 10, 0)]
    found = to_image(celestial_cube(meta={"date_obs": np.array(starts), "duration": np.full(6, 60.0)})).times
    np.testing.assert_allclose((found.at(np.arange(6)) - Time(starts)).to_value(u.s), 30, atol=1e-5)
    assert found.step == pytest.approx(-600)
