"""References that are places on the Sun."""

import pickle
from functools import partial

import numpy as np
import pytest

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from astropy.wcs import WCS

import sunpy.map
from sunpy.coordinates import HeliographicCarrington, HeliographicStonyhurst, propagate_with_solar_surface

import sunalign
from sunalign import simulate
from sunalign.exceptions import AlignmentError, CoverageError, SunalignUserWarning
from sunalign.geometry.coordinates import ARCSEC
from sunalign.images import to_image
from sunalign.reference_builders import Carrington, ImageBuilder

START = "2024-10-17T00:00:00"
SCENE = simulate.Scene(seed=5, resolution=0.15 * u.deg, limb_brightening=0)
EARTH = simulate.observer(1 * u.AU, hglt=5 * u.deg, time=START)
ERROR = simulate.PointingError(shift_x=9 * u.arcsec, shift_y=-6 * u.arcsec)


def surface_map(time=START, frame=HeliographicCarrington, step=0.25, first=0.0, projection="CAR"):
    """The scene as a map of the whole surface in heliographic coordinates."""
    time = Time(time)
    nx, ny = int(360 / step), int(180 / step)
    wcs = WCS(naxis=2)
    name = "CR" if frame is HeliographicCarrington else "HG"
    wcs.wcs.ctype = [f"{name}LN-{projection}", f"{name}LT-{projection}"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crpix = [1, (ny + 1) / 2]
    wcs.wcs.crval = [first, 0]
    wcs.wcs.cdelt = [step, step if projection == "CAR" else 180 / np.pi * 2 / ny]
    # wcslib knows no longitude more than 180 degrees from the reference point; the header says where they are.
    _, lat = wcs.wcs_pix2world(np.zeros(ny), np.arange(ny), 0)
    lon, lat = (a.ravel() for a in np.meshgrid(first + step * np.arange(nx), lat))
    options = {"observer": EARTH} if frame is HeliographicCarrington else {}
    origin = SkyCoord(0 * u.deg, 0 * u.deg, 1 * u.R_sun, frame=frame(obstime=time, **options))
    zero = origin.transform_to(HeliographicStonyhurst(obstime=time)).lon.to_value(u.deg)
    data = np.empty(lon.size)
    stonyhurst = (lon + zero) * u.deg
    lat = lat * u.deg
    # Every place is looked at from above: the scene has no limb here.
    for start in range(0, lon.size, 20000):
        part = slice(start, start + 20000)
        above = SkyCoord(stonyhurst[part], lat[part], 1 * u.AU, frame=HeliographicStonyhurst(obstime=time))
        zeros = np.zeros(len(above)) * u.arcsec
        data[part] = SCENE.intensity(zeros, zeros, above, time)
    header = dict(wcs.to_header()) | {"DATE-OBS": time.isot, "DATE-AVG": time.isot}
    header |= {"HGLN_OBS": 0.0, "HGLT_OBS": 5.0, "DSUN_OBS": 1.495978707e11, "RSUN_REF": 6.957e8}
    return sunpy.map.Map(data.reshape(ny, nx), header)


def target(**options):
    options = {
        "shape": (120, 120),
        "scale": 4 * u.arcsec,
        "observer": EARTH,
        "center": (100 * u.arcsec, 150 * u.arcsec),
    } | options
    return simulate.target_image(SCENE, error=ERROR, psf_fwhm=5 * u.arcsec, **options)


@pytest.fixture(scope="module")
def carrington_map():
    return surface_map()


@pytest.mark.parametrize("hours", [0, 40])
def test_a_map_in_carrington_coordinates(hours, carrington_map):
    later = Time(START) + hours * u.hour
    made = target(observer=simulate.observer(1 * u.AU, hglt=5 * u.deg, time=later), roll=4 * u.deg)
    result = sunalign.align(made.target, carrington_map, reference_builder="carrington")
    assert result.success
    assert abs(result.correction.shift_x - 9 * u.arcsec) < 0.3 * u.arcsec
    assert abs(result.correction.shift_y + 6 * u.arcsec) < 0.3 * u.arcsec
    assert "sphere 0 Mm" in result.assumptions["surface"]


def test_pixels_go_to_the_places_that_sunpy_finds(carrington_map):
    later = Time(START) + 30 * u.hour
    image = target(observer=simulate.observer(0.6 * u.AU, 30 * u.deg, 5 * u.deg, later)).truth
    built = Carrington().build([carrington_map], to_image(image))
    part = built.parts[0]
    y, x = (a.astype(float) for a in np.mgrid[0:120:17, 0:120:17])
    px, py = part.mapping(x, y)
    with propagate_with_solar_surface("howard"):
        there = image.pixel_to_world(x * u.pix, y * u.pix).transform_to(carrington_map.coordinate_frame)
    expected = part.image.wcs.wcs_world2pix(there.lon.to_value(u.deg), there.lat.to_value(u.deg), 0)
    wrapped = (px - expected[0] + 720) % 1440 - 720
    np.testing.assert_allclose(wrapped, 0, atol=1e-6)
    np.testing.assert_allclose(py, expected[1], atol=1e-6)


@pytest.mark.parametrize("first", [0.0, 140.0, 250.0])
def test_the_seam_of_a_map_is_nowhere(first, carrington_map):
    image = to_image(target().truth)
    usual = Carrington().build([carrington_map], image)
    rolled = sunpy.map.Map(
        np.roll(carrington_map.data, -int(first / 0.25), axis=1), {**carrington_map.meta, "crval1": first}
    )
    moved = Carrington().build([rolled], image).within(30 * ARCSEC)
    ny, nx = image.data.shape
    grid = (np.eye(3), (ny, nx), np.arange(nx, dtype=float))
    values = moved.sample_grid(*grid)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values, usual.sample_grid(*grid), rtol=1e-3)


@pytest.mark.parametrize("options", [{"frame": HeliographicStonyhurst, "first": -180.0}, {"projection": "CEA"}])
def test_other_heliographic_maps(options):
    result = sunalign.align(target().target, surface_map(**options), reference_builder="carrington")
    assert abs(result.correction.shift_x - 9 * u.arcsec) < 0.3 * u.arcsec
    assert abs(result.correction.shift_y + 6 * u.arcsec) < 0.3 * u.arcsec


def test_images_of_other_observers_complete_each_other():
    made = target(center=(0 * u.arcsec, 100 * u.arcsec), shape=(100, 300))
    options = {"shape": (500, 500), "scale": 4.4 * u.arcsec, "psf_fwhm": 5 * u.arcsec}
    sides = [
        simulate.imager(SCENE, observer=simulate.observer(1 * u.AU, lon * u.deg, 3 * u.deg, START), **options)
        for lon in (-70, 70)
    ]
    image = to_image(made.truth)
    builder = Carrington()
    both = builder.build(sides, image).within(60 * ARCSEC)
    grid = (np.eye(3), image.data.shape, np.arange(300.0))
    values = both.sample_grid(*grid)
    alone = builder.build(sides[:1], image).sample_grid(*grid)
    assert np.isfinite(values).mean() > np.isfinite(alone).mean()
    same = np.isfinite(alone)
    np.testing.assert_allclose(values[same], alone[same], rtol=1e-6)
    with pytest.warns(SunalignUserWarning, match="parallax"):
        one = ImageBuilder().build(sides[:1], image)
    np.testing.assert_allclose(one.sample_grid(*grid)[same], alone[same], rtol=1e-9)


def test_derivatives_scaling_and_sending(carrington_map):
    image = to_image(target().truth)
    built = Carrington().build([carrington_map], image).within(60 * ARCSEC)
    grid, h = (np.eye(3), (120, 120), np.arange(120.0)), 1e-3
    values, by_x, by_y = built.sample_grid_with_gradient(*grid)
    y, x = np.indices((120, 120)).astype(float)
    slope_x = (built.sample(x + h, y, grid[2]) - built.sample(x - h, y, grid[2])) / (2 * h)
    slope_y = (built.sample(x, y + h, grid[2]) - built.sample(x, y - h, grid[2])) / (2 * h)
    np.testing.assert_allclose(by_x, slope_x, atol=2e-3 * np.abs(slope_x).max())
    np.testing.assert_allclose(by_y, slope_y, atol=2e-3 * np.abs(slope_x).max())
    sent = pickle.loads(pickle.dumps(built.scaled(partial(np.multiply, 2.0))))
    np.testing.assert_allclose(sent.sample_grid(*grid), 2 * values, rtol=1e-9)
    assert built.pixel_size / ARCSEC == pytest.approx(0.25 * 3600 * 0.00467, rel=0.02)
    assert np.isfinite(built.image().data).all()
    assert built.binned(2).pixel_size == pytest.approx(2 * built.pixel_size, rel=0.02)


def test_off_the_disc_there_is_no_surface(carrington_map):
    image = to_image(target(center=(1100 * u.arcsec, 0 * u.arcsec), shape=(20, 20)).truth)
    with pytest.raises(CoverageError, match="No reference shows the part of the Sun"):
        Carrington().build([carrington_map], image).within(30 * ARCSEC)


def test_options_are_checked():
    with pytest.raises(ValueError, match="'differential', 'rigid' or 'none'"):
        Carrington(solar_rotation="fast")
    header = {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CDELT1": 1.0}
    bare = (np.ones((20, 20)), {**header, "CDELT2": 1.0})
    with (
        pytest.warns(SunalignUserWarning, match="has no date; target"),
        pytest.raises(AlignmentError, match="nothing can be placed on the Sun"),
    ):
        Carrington().build([bare], to_image(bare))
