"""The simulator is the yardstick of the other tests, so it is held to sunpy and astropy and to nothing of ours."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning
from reproject import reproject_interp

from sunpy.coordinates import (
    HeliocentricInertial,
    HeliographicStonyhurst,
    Helioprojective,
    propagate_with_solar_surface,
    transform_with_sun_center,
)
from sunpy.map import GenericMap
from sunpy.sun.models import differential_rotation

from sunalign import simulate
from sunalign.simulate._scene import ROTATION

TIME = Time("2024-10-17T00:00:00")
WINDOW = {"extent": (40 * u.deg, 44 * u.deg)}
SCENE = simulate.Scene(seed=0, **WINDOW)
# Nothing to be seen but what a test puts there.
BLANK = simulate.Scene(contrast=0, limb_brightening=0)
NEAR = simulate.observer(0.45 * u.AU, time=TIME)


def helioprojective(observer, time=TIME, scene=SCENE):
    return Helioprojective(observer=observer, obstime=time, rsun=scene.rsun)


def ncc(a, b):
    valid = np.isfinite(a) & np.isfinite(b)
    return np.corrcoef(a[valid], b[valid])[0, 1]


def full_wcs(image):
    """The WCS of the whole header, time axis included."""
    with warnings.catch_warnings():
        # DATEREF is what SPICE has; astropy tells that it makes an MJDREF of it.
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(image.fits_header)


def sampled(image, wcs, target):
    """Sample ``image`` where the header ``wcs`` says that the pixels of ``target`` look, with astropy alone."""
    y, x = np.indices(target.data.shape)
    world = wcs.pixel_to_world_values(x, y)
    x, y = image.wcs.world_to_pixel_values(*(np.asarray(w) for w in world))
    return ndimage.map_coordinates(image.data, [y, x], order=3, cval=np.nan)


def centroid(image):
    """Position, x first, of the light around the brightest pixel."""
    y, x = np.unravel_index(np.argmax(image), image.shape)
    box = image[y - 7 : y + 8, x - 7 : x + 8]
    box = box - np.median(image)
    dy, dx = np.indices(box.shape) - 7
    return np.array([x + np.sum(dx * box) / box.sum(), y + np.sum(dy * box) / box.sum()])


observers = st.builds(
    lambda dsun, lon, lat: simulate.observer(dsun * u.AU, lon * u.deg, lat * u.deg, TIME),
    st.floats(0.28, 1.02),
    st.floats(-180, 180),
    st.floats(-30, 30),
)
errors = st.builds(
    lambda x, y, sx, sy, rotation: simulate.PointingError(
        shift_x=x * u.arcsec, shift_y=y * u.arcsec, scale_x=sx, scale_y=sy, rotation=rotation * u.deg
    ),
    st.floats(-300, 300),
    st.floats(-300, 300),
    st.floats(0.8, 1.2),
    st.floats(0.8, 1.2),
    st.floats(-10, 10),
)


# Geometry


@given(observers, st.floats(0, 0.97), st.floats(0, 360))
def test_directions_lead_to_the_heliographic_places_that_sunpy_finds(observer, radius, angle):
    limb = np.arcsin(SCENE.rsun / observer.radius).to(u.arcsec)
    tx, ty = radius * limb * np.cos(np.radians(angle)), radius * limb * np.sin(np.radians(angle))
    there = SkyCoord(tx, ty, frame=helioprojective(observer)).transform_to(HeliographicStonyhurst(obstime=TIME))
    lon, lat = SCENE.heliographic(tx, ty, observer)
    assert abs((lon - there.lon).wrap_at("180d").to_value(u.deg)) < 1e-7
    assert abs((lat - there.lat).to_value(u.deg)) < 1e-7


def test_there_is_no_heliographic_place_off_the_disc():
    lon, lat = SCENE.heliographic([0, 3000] * u.arcsec, 0 * u.arcsec, NEAR)
    np.testing.assert_array_equal(np.isnan(lon), [False, True])
    np.testing.assert_array_equal(np.isnan(lat), [False, True])


@pytest.mark.parametrize("model", ["howard", "snodgrass", "allen", "rigid"])
def test_rotation_is_that_of_sunpy(model):
    latitude = np.linspace(-80, 80, 9) * u.deg
    sin2 = np.sin(latitude.to_value(u.rad)) ** 2
    a, b, c = ROTATION[model]
    expected = differential_rotation(1 * u.day, latitude, model=model)
    np.testing.assert_allclose(np.degrees((a + b * sin2 + c * sin2**2) * 86400), expected.to_value(u.deg), rtol=1e-12)


@given(
    st.floats(-50, 50),
    st.floats(-50, 50),
    st.floats(-5, 5),
    st.floats(0.28, 1.0),
    st.sampled_from(["howard", "snodgrass", "allen", "rigid"]),
)
def test_features_go_where_sunpy_says_that_the_surface_goes(lon, lat, days, dsun, model):
    width = 2e-3 * u.deg
    scene = BLANK.replace(beacons=((lon * u.deg, lat * u.deg),), beacon_width=width, rotation_model=model)
    time = TIME + days * u.day
    observer = simulate.Orbit(dsun=dsun * u.AU, hgln=lon * u.deg, hgln_rate=13 * u.deg / u.day, time=TIME)(time)
    place = SkyCoord(lon * u.deg, lat * u.deg, scene.rsun, frame=HeliographicStonyhurst(obstime=TIME))
    with propagate_with_solar_surface(model):
        seen = place.transform_to(helioprojective(observer, time))
    peak = scene.intensity(seen.Tx, seen.Ty, observer)
    # The peak has fallen by a millionth when the place is off by 3e-6 degrees.
    np.testing.assert_allclose(peak, 100 * (1 + scene.beacon_intensity), rtol=1e-6)


def test_a_sun_at_rest_stays_among_the_stars():
    scene = BLANK.replace(beacons=((5 * u.deg, 8 * u.deg),), beacon_width=2e-3 * u.deg, rotation_model="none")
    time = TIME + 2 * u.day
    place = SkyCoord(5 * u.deg, 8 * u.deg, scene.rsun, frame=HeliographicStonyhurst(obstime=TIME))
    observer = simulate.observer(0.5 * u.AU, time=time)
    with transform_with_sun_center():
        seen = place.transform_to(helioprojective(observer, time))
    np.testing.assert_allclose(scene.intensity(seen.Tx, seen.Ty, observer), 5100, rtol=1e-5)


@given(observers, st.floats(0, 360))
def test_the_sun_is_continuous_at_the_limb(observer, angle):
    limb = np.arcsin(SCENE.rsun / observer.radius) * (1 + np.array([-1e-12, 1e-12]))
    tx, ty = limb * np.cos(np.radians(angle)), limb * np.sin(np.radians(angle))
    inside, outside = SCENE.intensity(tx, ty, observer)
    np.testing.assert_allclose(outside, inside, rtol=1e-3)


@pytest.mark.parametrize("edge", ["west", "north", "seam", "pole"])
def test_the_sun_is_continuous_across_edges(edge):
    reach = SCENE._texture.reach
    other = np.linspace(-18, 18, 50)
    lon, lat = {
        "west": (reach[0] + 0 * other, other),
        "north": (other, reach[1] + 0 * other),
        "seam": (180 + 0 * other, other),
        "pole": (10 * other, 90 + 0 * other),
    }[edge]
    observer = simulate.observer(1 * u.AU, lon[0] * u.deg, 30 * u.deg, TIME)

    def seen(dlon, dlat):
        place = SkyCoord((lon + dlon) * u.deg, (lat + dlat) * u.deg, SCENE.rsun, frame=observer.frame)
        there = place.transform_to(helioprojective(observer))
        return SCENE.intensity(there.Tx, there.Ty, observer)

    e = 1e-6
    before, after = {"north": ((0, -e), (0, e)), "pole": ((0, -e), (180, -e))}.get(edge, ((-e, 0), (e, 0)))
    np.testing.assert_allclose(seen(*after), seen(*before), rtol=1e-3)


def test_arrays_of_any_shape_and_times_broadcast():
    times = TIME + np.arange(4) * u.hour
    tx = np.linspace(-100, 100, 4) * u.arcsec
    ty = np.linspace(-50, 50, 3)[:, None] * u.arcsec
    together = SCENE.intensity(tx, ty, NEAR, times)
    assert together.shape == (3, 4)
    alone = [[SCENE.intensity(x, y, NEAR, t) for x, t in zip(tx, times, strict=True)] for y in ty[:, 0]]
    np.testing.assert_allclose(together, alone, rtol=1e-10)


# Headers


@pytest.mark.parametrize("convention", ["pc", "cd", "crota"])
@pytest.mark.parametrize("unit", ["arcsec", "deg"])
@pytest.mark.parametrize("roll", [0, 33, -170])
def test_a_beacon_is_where_the_header_says(convention, unit, roll):
    lon, lat = 4.2 * u.deg, -3.1 * u.deg
    scene = BLANK.replace(beacons=((lon, lat),))
    image = simulate.imager(
        scene,
        center=(120 * u.arcsec, -90 * u.arcsec),
        shape=(70, 90),
        scale=[4, 5] * u.arcsec,
        roll=roll * u.deg,
        observer=simulate.observer(0.45 * u.AU, 3 * u.deg, -4 * u.deg, TIME),
        convention=convention,
        unit=unit,
    )
    place = SkyCoord(lon, lat, scene.rsun, frame=HeliographicStonyhurst(obstime=TIME))
    x, y = image.world_to_pixel(place.transform_to(image.coordinate_frame))
    np.testing.assert_allclose(centroid(image.data), [x.value, y.value], atol=0.05)


def test_the_three_conventions_say_the_same():
    options = {"roll": 25 * u.deg, "scale": [2, 5] * u.arcsec, "shape": (12, 9), "observer": NEAR}
    first, *others = (
        simulate.imager(SCENE, convention=c, unit=unit, **options)
        for c, unit in (("pc", "arcsec"), ("cd", "deg"), ("crota", "arcsec"))
    )
    y, x = np.indices(first.data.shape)
    expected = first.wcs.pixel_to_world(x, y)
    for other in others:
        found = other.wcs.pixel_to_world(x, y)
        np.testing.assert_allclose(found.Tx.to_value(u.arcsec), expected.Tx.to_value(u.arcsec), atol=1e-8)
        np.testing.assert_allclose(found.Ty.to_value(u.arcsec), expected.Ty.to_value(u.arcsec), atol=1e-8)


@given(observers, st.floats(-180, 180), st.floats(-900, 900), st.floats(-900, 900))
def test_pixels_look_where_astropy_says(observer, roll, tx, ty):
    pointing = simulate._header.Pointing(
        center=(tx * u.arcsec, ty * u.arcsec),
        scale=(6 * u.arcsec, 1.098 * u.arcsec),
        roll=roll * u.deg,
        shape=(830, 96),
    )
    x, y = np.array([0.0, 95, 31]), np.array([0.0, 829, 600])
    lon, lat = np.radians(WCS(fits.Header(pointing.cards())).pixel_to_world_values(x, y))
    expected = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    np.testing.assert_allclose(pointing.vectors(x, y), expected, atol=1e-14)


def test_an_image_knows_who_made_it_and_when():
    orbit = simulate.Orbit(dsun=0.4 * u.AU, hgln=20 * u.deg, hglt=-5 * u.deg, time=TIME, hgln_rate=6 * u.deg / u.day)
    time = TIME + 1 * u.day
    image = simulate.imager(SCENE, observer=orbit, time=time, shape=(4, 4), exposure=6 * u.s, meta={"DETECTOR": "FSI"})
    observer = image.observer_coordinate
    np.testing.assert_allclose(observer.lon.to_value(u.deg), 26, rtol=1e-9)
    np.testing.assert_allclose(observer.lat.to_value(u.deg), -5, rtol=1e-9)
    np.testing.assert_allclose(observer.radius.to_value(u.AU), 0.4, rtol=1e-9)
    assert abs((image.reference_date - time).to_value(u.s)) < 1e-6
    assert abs((image.date_start - time).to_value(u.s) + 3) < 1e-6
    assert image.rsun_meters == SCENE.rsun
    assert image.meta["detector"] == "FSI"
    assert image.unit == u.DN / u.s


def test_the_velocity_in_the_header_is_that_of_the_orbit():
    orbit = simulate.Orbit(dsun=0.3 * u.AU, time=TIME, hgln_rate=6.3 * u.deg / u.day, dsun_rate=-20 * u.km / u.s)
    header = simulate.imager(SCENE, observer=orbit, time=TIME, shape=(4, 4)).meta

    def place(time):
        return orbit(time).transform_to(HeliocentricInertial(obstime=time)).cartesian.xyz.to_value(u.m)

    velocity = (place(TIME + 1 * u.s) - place(TIME - 1 * u.s)) / 2
    np.testing.assert_allclose([header[f"HCI{axis}_OBS"] for axis in "XYZ"], place(TIME), rtol=1e-9)
    np.testing.assert_allclose([header[f"HCI{axis}_VOB"] for axis in "XYZ"], velocity, rtol=1e-4, atol=1)


# The sign of errors


@given(errors, st.floats(-180, 180), st.sampled_from(["pc", "cd"]))
def test_the_error_is_the_correction_of_the_header(error, roll, convention):
    made = simulate.raster(
        BLANK, n_steps=5, n_slit=8, psf_fwhm=None, roll=roll * u.deg, error=error, convention=convention, observer=NEAR
    )
    wrong, true = (full_wcs(m).sub([1, 2]) for m in (made.target, made.truth))
    np.testing.assert_allclose(wrong.wcs.crpix, [3, 4.5])
    np.testing.assert_allclose(true.wcs.crpix, [3, 4.5])
    shift = u.Quantity([error.shift_x, error.shift_y]).to_value(u.deg)
    np.testing.assert_allclose(wrong.wcs.crval + shift, true.wcs.crval, atol=1e-12)
    a = error.rotation.to_value(u.rad)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    corrected = turn @ wrong.pixel_scale_matrix @ np.diag([error.scale_x, error.scale_y])
    np.testing.assert_allclose(corrected, true.pixel_scale_matrix, atol=1e-15)


@given(errors)
def test_the_header_keeps_pixel_sizes_in_cdelt(error):
    made = simulate.target_image(BLANK, shape=(4, 4), scale=[6, 1] * u.arcsec, error=error, observer=NEAR)
    matrix = full_wcs(made.target).pixel_scale_matrix * 3600
    cdelt = [made.target.meta["cdelt1"], made.target.meta["cdelt2"]]
    np.testing.assert_allclose(np.hypot(*matrix), cdelt, rtol=1e-12)
    np.testing.assert_allclose(cdelt, [6 / error.scale_x, 1 / error.scale_y], rtol=1e-12)


def test_the_data_follow_the_true_header():
    error = simulate.PointingError(
        shift_x=40 * u.arcsec, shift_y=-25 * u.arcsec, scale_x=1.06, scale_y=0.97, rotation=3 * u.deg
    )
    scene = BLANK.replace(beacons=((2 * u.deg, 1.5 * u.deg),))
    made = simulate.raster(scene, n_steps=60, n_slit=120, slit_pixel=3 * u.arcsec, error=error, observer=NEAR)
    place = SkyCoord(2 * u.deg, 1.5 * u.deg, scene.rsun, frame=HeliographicStonyhurst(obstime=TIME))
    x, y = made.truth.world_to_pixel(place.transform_to(made.truth.coordinate_frame))
    np.testing.assert_allclose(centroid(made.target.data), [x.value, y.value], atol=0.05)
    np.testing.assert_array_equal(made.target.data, made.truth.data)


# Images


def test_images_of_two_scales_agree():
    common = {"psf_fwhm": 20 * u.arcsec, "observer": NEAR, "center": (-50 * u.arcsec, 80 * u.arcsec)}
    fine = simulate.imager(SCENE, shape=(240, 220), scale=2 * u.arcsec, roll=20 * u.deg, **common)
    coarse = simulate.imager(SCENE, shape=(60, 60), scale=5 * u.arcsec, **common)
    again, _ = reproject_interp(fine, coarse.wcs, shape_out=coarse.data.shape, order="bicubic")
    valid = np.isfinite(again)
    assert valid.mean() > 0.9
    # What is left is the area of the pixels, which blurs as well.
    assert np.std((again - coarse.data)[valid]) < 5e-3 * np.std(coarse.data)


def test_pixels_of_two_cells_are_integrated_well_enough():
    pixel = 2 * SCENE.resolution.to_value(u.rad) * SCENE.rsun / (NEAR.radius - SCENE.rsun)
    options = {"observer": NEAR, "shape": (90, 90), "scale": pixel.to_value(u.one) * u.rad}
    usual, better = (simulate.imager(SCENE, oversample=n, **options).data for n in (2, 6))
    assert np.std(usual - better) < 5e-3 * np.std(better)


def test_the_point_spread_function_has_the_width_asked_for():
    scene = BLANK.replace(beacons=((0 * u.deg, 0 * u.deg),), beacon_width=0.02 * u.deg, beacon_intensity=1e6)
    image = simulate.imager(scene, shape=(81, 81), scale=1 * u.arcsec, psf_fwhm=12 * u.arcsec, observer=NEAR).data
    image = image - image.min()
    dy, dx = np.indices(image.shape) - 40
    own = (0.02 * u.deg).to_value(u.rad) * SCENE.rsun / (NEAR.radius - SCENE.rsun) * u.rad
    expected = (12 / 2.3548) ** 2 + own.to_value(u.arcsec) ** 2 + 1 / 12
    np.testing.assert_allclose(np.sum(dx**2 * image) / image.sum(), expected, rtol=0.02)
    np.testing.assert_allclose(np.sum(dy**2 * image) / image.sum(), expected, rtol=0.02)


def test_there_is_structure_at_every_scale_that_alignment_needs():
    image = simulate.imager(SCENE, observer=NEAR, shape=(200, 200), scale=2 * u.arcsec).data
    log = np.log(image)
    for sigma in (1, 2, 4, 8):
        band = ndimage.gaussian_filter(log, sigma) - ndimage.gaussian_filter(log, 2 * sigma)
        assert np.std(band) > 0.04


def test_a_sequence_shows_the_sun_turn():
    times = TIME + [0, 3, 6] * u.hour
    scene = BLANK.replace(beacons=((1 * u.deg, 2 * u.deg),))
    frames = simulate.sequence(scene, times, observer=NEAR, shape=(64, 64), scale=6 * u.arcsec)
    assert [f.reference_date.isot for f in frames] == [t.isot for t in times]
    positions = np.array([centroid(f.data)[0] for f in frames])
    rate = differential_rotation(3 * u.hour, 2 * u.deg, frame_time="synodic").to_value(u.rad)
    expected = rate * SCENE.rsun / (NEAR.radius - SCENE.rsun) * u.rad / (6 * u.arcsec)
    np.testing.assert_allclose(np.diff(positions), expected.to_value(u.one), rtol=0.02)


# Rasters


@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("convention", ["pc", "cd"])
@pytest.mark.parametrize("n_steps", [6, 7])
def test_every_column_has_the_time_of_the_header(direction, convention, n_steps):
    made = simulate.raster(
        BLANK,
        n_steps=n_steps,
        n_slit=5,
        psf_fwhm=None,
        cadence=60.5 * u.s,
        start=TIME,
        direction=direction,
        convention=convention,
    )
    header = made.target.fits_header
    wcs = full_wcs(made.target)
    assert wcs.naxis == 3
    seconds = wcs.pixel_to_world_values(np.arange(n_steps), 2, 0)[2]
    times = Time(header["DATEREF"]) + seconds * u.s
    np.testing.assert_allclose((times - made.times).to_value(u.s), 0, atol=1e-6)
    # Exposures follow one another from DATE-BEG to DATE-END, the first in the west when scanning eastwards.
    ordered = np.sort((made.times - TIME).to_value(u.s))
    np.testing.assert_allclose(ordered, (np.arange(n_steps) + 0.5) * 60.5, atol=1e-6)
    assert np.sign(np.diff(seconds))[0] == direction
    assert abs((made.target.reference_date - TIME).to_value(u.s) - n_steps * 60.5 / 2) < 1e-6
    assert abs((Time(header["DATE-END"]) - TIME).to_value(u.s) - n_steps * 60.5) < 1e-6


def test_an_instantaneous_raster_has_one_time():
    made = simulate.raster(BLANK, n_steps=4, n_slit=5, psf_fwhm=None, start=TIME)
    assert made.target.meta["PC3_1"] == 0
    assert (made.times == TIME).all()


ORBIT = simulate.Orbit(
    dsun=0.3 * u.AU, hgln_rate=6.3 * u.deg / u.day, hglt_rate=1 * u.deg / u.day, dsun_rate=-9 * u.km / u.s, time=TIME
)


@pytest.mark.parametrize("header_frame", ["step", "header", "surface"])
@pytest.mark.parametrize("observer", [NEAR, ORBIT], ids=["fixed", "moving"])
def test_what_a_column_shows_is_what_sunpy_finds_there(header_frame, observer):
    scene = SCENE.replace(limb_brightening=0)
    made = simulate.raster(
        scene,
        n_steps=9,
        n_slit=40,
        step=8 * u.arcsec,
        slit_pixel=5 * u.arcsec,
        slit_width=1e-3 * u.arcsec,
        psf_fwhm=None,
        roll=5 * u.deg,
        observer=observer,
        start=TIME,
        cadence=900 * u.s,
        header_frame=header_frame,
    )
    # Three samples along the slit make a pixel: they have the variance of its area.
    y = np.arange(40)[:, None] + np.array([-1, 0, 1]) / np.sqrt(8)
    for i in (0, 3, 8):
        time = made.times[i]
        there = (
            simulate.Orbit.__call__(observer, time) if observer is ORBIT else simulate.observer(0.45 * u.AU, time=time)
        )
        seen = made.truth.wcs.pixel_to_world(np.full(y.shape, i), y)
        if header_frame == "header":
            with transform_with_sun_center():
                seen = seen.transform_to(helioprojective(there, time))
        elif header_frame == "surface":
            with propagate_with_solar_surface():
                seen = seen.transform_to(helioprojective(there, time))
        expected = scene.intensity(seen.Tx, seen.Ty, there, time).mean(axis=1)
        np.testing.assert_allclose(made.truth.data[:, i], expected, rtol=1e-4)


def test_the_readings_of_a_header_differ_by_the_rotation():
    options = {"n_steps": 12, "n_slit": 60, "slit_pixel": 4 * u.arcsec, "cadence": 900 * u.s, "observer": ORBIT}
    step, header, surface = (
        simulate.raster(SCENE, header_frame=frame, **options).truth.data for frame in ("step", "header", "surface")
    )
    assert ncc(step[:, 0], header[:, 0]) < 0.9
    assert ncc(step[:, 0], surface[:, 0]) < 0.9
    # At DATE-AVG, between the two middle columns, all three are the same.
    assert ncc(step[:, 5:7], header[:, 5:7]) > 0.97
    assert ncc(step[:, 5:7], surface[:, 5:7]) > 0.97


def test_a_raster_is_blurred_like_an_image():
    common = {"psf_fwhm": 8 * u.arcsec, "observer": NEAR, "roll": 4 * u.deg}
    made = simulate.raster(SCENE, n_steps=40, n_slit=160, step=4 * u.arcsec, slit_pixel=1 * u.arcsec, **common)
    image = simulate.imager(SCENE, shape=(160, 40), scale=[4, 1] * u.arcsec, oversample=4, **common)
    assert np.std(made.truth.data - image.data) < 4e-3 * np.std(image.data)


def test_data_may_be_big_endian():
    made = simulate.raster(BLANK, n_steps=4, n_slit=5, psf_fwhm=None, dtype=">f8")
    assert made.target.data.dtype == np.dtype(">f8")


# Noise and defects


@given(st.floats(1, 30), st.sampled_from([0.0, 3.0]))
def test_the_noise_is_what_was_asked_for(snr, read_noise):
    clean, noisy = (
        simulate.raster(BLANK, n_steps=60, n_slit=100, psf_fwhm=None, snr=s, read_noise=r, rng=3, observer=NEAR).target
        for s, r in ((None, 0.0), (snr, read_noise))
    )
    residual = noisy.data - clean.data
    np.testing.assert_allclose(np.median(clean.data) / np.std(residual), snr, rtol=0.05)
    assert abs(np.mean(residual)) < 5 * np.std(residual) / np.sqrt(residual.size)


def test_noise_follows_poisson():
    clean = simulate.imager(SCENE, observer=NEAR)
    noisy = simulate.imager(SCENE, observer=NEAR, photons=400, rng=1)
    per_photon = np.median(clean.data) / 400
    deviation = (noisy.data - clean.data) / np.sqrt(clean.data * per_photon)
    np.testing.assert_allclose(np.std(deviation), 1, rtol=0.03)


def test_nan_rows_are_where_they_were_asked_for():
    made = simulate.raster(SCENE, n_steps=8, n_slit=50, nan_rows=(7, 11), snr=5, observer=NEAR, rng=0)
    missing = np.isnan(made.target.data)
    assert missing[:7].all()
    assert missing[39:].all()
    assert not missing[7:39].any()


def test_defects():
    image = np.random.default_rng(0).normal(100, 10, (60, 80))
    border = simulate.defects(image, nan_border=3)
    assert np.isfinite(border).sum() == 54 * 74
    masked = simulate.defects(image, mask_fraction=0.3, rng=0)
    np.testing.assert_allclose(np.isnan(masked).mean(), 0.3, atol=0.01)
    clipped = simulate.defects(image, saturation=0.9)
    assert clipped.max() == np.quantile(image, 0.9)
    hot = simulate.defects(image, hot_rows=2, nan_rows=(20, 20), rng=0)
    assert np.sum(np.nanmedian(hot[20:40], axis=1) > 115) == 2
    hit = simulate.defects(image, cosmic_hits=0.01, rng=0)
    np.testing.assert_allclose(np.mean(hit != image), 0.01, atol=0.003)
    assert (hit >= image).all()
    assert image.max() < 150


def test_contrast_nil_is_featureless():
    data = simulate.imager(BLANK, observer=NEAR).data
    np.testing.assert_allclose(data, 100, rtol=1e-12)


# Pairs


@pytest.mark.parametrize(
    "options", [{"n_steps": 32, "n_slit": 200}, {"n_steps": 40, "n_slit": 300, "cadence": 5 * u.s}]
)
def test_a_raster_matches_its_reference_under_the_true_header_only(options):
    pair = simulate.raster_pair(0, snr=None, reference={"photons": None}, **options)
    under_truth = ncc(sampled(pair.reference, pair.truth.wcs, pair.target), pair.target.data)
    under_error = ncc(sampled(pair.reference, pair.target.wcs, pair.target), pair.target.data)
    assert under_truth > 0.99
    assert under_error < 0.9


def test_an_image_matches_its_reference_under_the_true_header_only():
    error = simulate.PointingError(shift_x=8 * u.arcsec, scale_y=0.97, rotation=-1 * u.deg)
    pair = simulate.image_pair(0, error=error, reference={"psf_fwhm": 4 * u.arcsec})
    assert ncc(sampled(pair.reference, pair.truth.wcs, pair.target), pair.target.data) > 0.98
    assert ncc(sampled(pair.reference, pair.target.wcs, pair.target), pair.target.data) < 0.9


def test_the_default_raster_is_like_spice():
    pair = simulate.raster_pair()
    assert pair.target.data.shape == (830, 96)
    assert pair.reference.data.shape == (226, 155)
    header = pair.target.meta
    assert header["cunit1"] == "deg"
    np.testing.assert_allclose([header["cdelt1"] * 3600, header["cdelt2"] * 3600], [6, 1.098])
    assert isinstance(pair.reference, GenericMap)
    assert pair.reference.reference_date == pair.target.reference_date
    # The reference covers the raster.
    assert np.isfinite(sampled(pair.reference, pair.truth.wcs, pair.target)).all()


def test_mismatch_lowers_the_correlation():
    small = {"n_steps": 48, "n_slit": 400, "snr": None}
    scores = []
    for mismatch in (0, 0.25, 0.5):
        pair = simulate.raster_pair(0, mismatch=mismatch, **small)
        model = sampled(pair.reference, pair.truth.wcs, pair.target)
        scores.append(ncc(np.log(model), np.log(pair.target.data)))
    assert scores[0] > 0.98
    assert 0.85 < scores[1] < 0.97
    assert 0.65 < scores[2] < 0.88


def test_the_relation_changes_intensities_and_not_places():
    options = {"n_steps": 30, "n_slit": 100, "slit_pixel": 3 * u.arcsec, "observer": NEAR}
    plain, power, inverse = (
        simulate.raster(SCENE, relation=r, **options).target.data for r in ("identity", "power", lambda i: 1 / i)
    )
    assert 0.95 < ncc(plain, power) < 0.99999
    assert np.median(power) < 0.5 * np.median(plain)
    assert ncc(np.log(plain), np.log(inverse)) < -0.9


# Repeatability and evolution


def test_same_seed_same_data():
    def made(seed):
        return simulate.raster_pair(seed, n_steps=12, n_slit=60, mismatch=0.3, cosmic_hits=0.01, hot_rows=1)

    first, again, other = made(4), made(4), made(5)
    np.testing.assert_array_equal(first.target.data, again.target.data)
    np.testing.assert_array_equal(first.reference.data, again.reference.data)
    assert ncc(first.target.data, other.target.data) < 0.9


def test_mottles_evolve_with_their_lifetime():
    scene = SCENE.replace(rotation_model="none", evolution=1 * u.day, n_active_regions=0, bright_points=0)
    still = scene.replace(evolution=None)
    lon = np.linspace(-150, 150, 120) * u.arcsec
    lat = lon[:, None]

    # The observer hangs still over a Sun that does not turn, so that only evolution is left.
    def log(scene, hours):
        time = TIME + hours * u.hour
        zero = SkyCoord(0 * u.deg, 0 * u.deg, 0.45 * u.AU, frame=HeliographicStonyhurst(obstime=TIME))
        with transform_with_sun_center():
            observer = zero.transform_to(HeliographicStonyhurst(obstime=time))
        return np.log(scene.intensity(lon, lat, observer, time))

    np.testing.assert_allclose(log(still, 12), log(still, 0), rtol=1e-6)
    np.testing.assert_allclose(log(scene, 0), log(still, 0), rtol=1e-6)
    changes = [np.std(log(scene, hours) - log(scene, 0)) for hours in (1, 6, 12)]
    # Two unit fields whose correlation is cos(t) differ by 2 sin(t / 2).
    expected = [2 * np.sin(hours / 24 / 2) for hours in (1, 6, 12)]
    np.testing.assert_allclose(np.array(changes) / changes[0], np.array(expected) / expected[0], rtol=0.1)


def test_scenes_compare_by_what_they_are():
    assert simulate.Scene(seed=1) == simulate.Scene(seed=1)
    assert simulate.Scene(seed=1) != simulate.Scene(seed=2)
    assert simulate.Scene(seed=1, time="2025-01-01").replace(seed=2).time == Time("2025-01-01")


def test_a_finer_window_shows_finer_structure():
    options = {"observer": NEAR, "shape": (100, 100), "scale": 0.5 * u.arcsec}
    fine = SCENE.replace(resolution=0.01 * u.deg, extent=(4 * u.deg, 4 * u.deg))

    def finest(scene):
        log = np.log(simulate.imager(scene, **options).data)
        return np.std(log - ndimage.gaussian_filter(log, 2))

    assert finest(fine) > 2 * finest(SCENE)


# Misuse


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate.Scene(rotation_model="fast"), "rotation model named 'fast'"),
        (lambda: simulate.raster(BLANK, header_frame="mine"), "header frame 'mine'"),
        (lambda: simulate.raster(BLANK, direction=0), "direction of a raster"),
        (lambda: simulate.raster(BLANK, n_steps=2, n_slit=2, convention="crota"), "use the convention 'pc' or 'cd'"),
        (lambda: simulate.raster(BLANK, n_steps=2, n_slit=2, relation="cubic"), "relation named 'cubic'"),
        (lambda: simulate.raster(BLANK, n_steps=2, n_slit=2, snr=2, photons=3), "either snr or photons"),
        (lambda: simulate.imager(BLANK, shape=(4, 4), read_noise=2), "Read noise is in photons"),
        (lambda: simulate.imager(BLANK, shape=(4, 4), convention="gnomonic"), "WCS convention 'gnomonic'"),
    ],
)
def test_misuse_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_angles_need_units():
    with pytest.raises(TypeError):
        SCENE.intensity(1.0, 2.0, NEAR)


# Pointing that changes


@pytest.mark.parametrize("direction", [-1, 1])
def test_columns_after_a_jump_look_where_a_raster_that_points_there_does(direction):
    """Against rasters whose centre is elsewhere: the jump less the mean and the trend that are taken out of it."""
    options = {
        "n_steps": 8,
        "n_slit": 40,
        "step": 8 * u.arcsec,
        "slit_pixel": 8 * u.arcsec,
        "cadence": 60 * u.s,
        "direction": direction,
        "roll": 3 * u.deg,
    }
    jumped = simulate.raster(SCENE, **options, jumps=[(3, 9 * u.arcsec, -20 * u.arcsec)])
    step = np.asarray(jumped.pointing["step"])
    assert list(np.sort(step)) == list(range(8))
    x, y = (jumped.pointing[f"shift_{axis}"].to_value(u.arcsec) for axis in "xy")
    assert np.ptp(x) > 5
    for column in (1, 4, 6):
        there = simulate.raster(SCENE, **options, center=(x[column], y[column]) * u.arcsec)
        np.testing.assert_allclose(jumped.target.data[:, column], there.target.data[:, column], rtol=2e-3)
    early, late = (y[step < 3], y[step >= 3])
    order = 1 if direction == 1 else -1
    assert np.diff(y[::order])[2] == pytest.approx(np.diff(late).mean() * order - 20, abs=1e-6)
    assert len(early) == 3


def test_the_pointing_is_told_and_neither_shifts_nor_stretches():
    made = simulate.raster(
        SCENE, n_steps=30, n_slit=4, cadence=60 * u.s, drift=6 * u.arcsec, jitter=0.5 * u.arcsec, rng=4
    )
    for axis in "xy":
        moved = made.pointing[f"shift_{axis}"].to_value(u.arcsec)
        assert abs(moved.sum()) < 1e-9
        assert abs(moved @ np.arange(30)) < 1e-7
        assert 5 < np.ptp(moved) < 9
    assert (made.pointing["time"] == made.times).all()
    still = simulate.raster(SCENE, n_steps=5, n_slit=4)
    assert (still.pointing["shift_x"] == 0).all()


def test_noise_is_the_same_with_and_without_a_drift():
    flat = simulate.Scene(contrast=0, limb_brightening=0)
    options = {"n_steps": 6, "n_slit": 20, "snr": 5.0}
    one, two = (simulate.raster(flat, **options, **extra, rng=3) for extra in ({}, {"drift": 5 * u.arcsec}))
    np.testing.assert_allclose(one.target.data, two.target.data, rtol=1e-6)


def test_a_jump_beyond_the_raster_is_refused():
    with pytest.raises(ValueError, match="one of the steps 1 to 4"):
        simulate.raster(SCENE, n_steps=5, n_slit=4, jumps=[(5, 1 * u.arcsec, 0 * u.arcsec)])
