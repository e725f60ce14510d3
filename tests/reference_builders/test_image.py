"""One image, brought to the time of every raster step."""

import numpy as np
import pytest

import astropy.units as u
from astropy.coordinates import SkyCoord

import sunpy.map
from sunpy.coordinates import (
    HeliographicStonyhurst,
    Helioprojective,
    propagate_with_solar_surface,
    transform_with_sun_center,
)

import sunalign
from sunalign import simulate
from sunalign.exceptions import AlignmentError, SunalignUserWarning
from sunalign.geometry.rotation import LinearTransform, SphereTransform
from sunalign.images import to_image
from sunalign.reference_builders import ImageBuilder

START = "2024-10-17T00:00:00"
ORBIT = simulate.Orbit(
    dsun=0.3 * u.AU,
    hgln=0 * u.deg,
    hglt=3 * u.deg,
    hgln_rate=6.3 * u.deg / u.day,
    dsun_rate=15 * u.km / u.s,
    time=START,
)
SCENE = simulate.Scene(seed=1, resolution=0.1 * u.deg)
BLANK = simulate.Scene(contrast=0, limb_brightening=0)
CENTER = (100 * u.arcsec, -200 * u.arcsec)
ERROR = simulate.PointingError(shift_x=12 * u.arcsec, shift_y=-7 * u.arcsec)


@pytest.fixture(scope="module")
def frozen():
    """One image in the middle of three hours."""
    return simulate.imager(
        SCENE, observer=ORBIT, time="2024-10-17T01:31:00", shape=(310, 280), scale=4.44 * u.arcsec, roll=3 * u.deg,
        psf_fwhm=6.5 * u.arcsec, center=CENTER,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rasters():
    """Rasters of three hours at 0.3 AU, with the two meanings of a header."""
    return {
        frame: simulate.raster(
            SCENE, n_steps=96, n_slit=180, step=8 * u.arcsec, slit_pixel=6 * u.arcsec, cadence=112.5 * u.s, start=START,
            observer=ORBIT, center=CENTER, roll=2 * u.deg, snr=20, rng=3, header_frame=frame, error=ERROR,
        )
        for frame in ("step", "header")
    }  # fmt: skip


def small(scene=BLANK, **options):
    """A coarse raster of three hours that nothing is aligned with."""
    options = {"cadence": 900 * u.s, "observer": ORBIT, "start": START, "n_steps": 12, "n_slit": 60} | options
    return simulate.raster(scene, step=60 * u.arcsec, slit_pixel=16 * u.arcsec, **options).truth


def image(time=START, observer=ORBIT, **options):
    return simulate.imager(
        BLANK, observer=observer, time=time, **{"shape": (300, 300), "scale": 17 * u.arcsec} | options
    )


def without(source, *keys):
    return sunpy.map.Map(source.data, {k: v for k, v in source.meta.items() if not k.startswith(keys)})


# What it is for


@pytest.mark.parametrize("frame", ["step", "header"])
def test_rotation_is_no_plate_scale(frame, rasters, frozen):
    result = sunalign.align(rasters[frame].target, frozen, fit=("shift", "scale_x"), raster_frame=frame)
    assert result.success
    assert abs(result.correction.scale_x - 1) < 3e-3
    assert abs(result.correction.shift_x - 12 * u.arcsec) < 0.1 * u.arcsec
    assert abs(result.correction.shift_y + 7 * u.arcsec) < 0.1 * u.arcsec
    assert result.assumptions["solar rotation"].startswith("differential")
    assert result.assumptions["raster frame"].startswith(frame)
    if frame == "step":
        assert "velocity cards" in result.assumptions["observer motion"]


def test_without_it_rotation_is_taken_for_a_plate_scale(rasters, frozen):
    options = {"fit": ("shift", "scale_x"), "on_doubt": "ignore"}
    step = sunalign.align(rasters["step"].target, frozen, solar_rotation="none", **options)
    header = sunalign.align(rasters["header"].target, frozen, solar_rotation="none", **options)
    wrong = sunalign.align(rasters["step"].target, frozen, raster_frame="header", **options)
    assert step.correction.scale_x == pytest.approx(1.064, abs=0.006)
    assert header.correction.scale_x == pytest.approx(1.130, abs=0.006)
    assert wrong.correction.scale_x == pytest.approx(0.934, abs=0.006)
    assert "observer motion" not in step.assumptions


# Held to sunpy


def expected_pixels(target, reference, frame):
    """What sunpy makes of every pixel of a raster."""
    steps = to_image(target).times
    y = np.arange(target.data.shape[0])
    own = target.coordinate_frame
    columns = []
    for column in range(target.data.shape[1]):
        time = steps.at(float(column))
        there = target.pixel_to_world(np.full(len(y), column) * u.pix, y * u.pix)
        if frame == "step":
            seen = Helioprojective(observer=ORBIT(time), obstime=time, rsun=own.rsun)
            place = SkyCoord(there.Tx, there.Ty, frame=seen)
        else:
            # In the frame of the header; what is there at the step's time.
            with transform_with_sun_center():
                place = there.transform_to(HeliographicStonyhurst(obstime=time))
        with propagate_with_solar_surface("howard"):
            pixel = reference.world_to_pixel(place.transform_to(reference.coordinate_frame))
        columns.append([pixel.x.value, pixel.y.value])
    return np.moveaxis(columns, 0, -1)


@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("frame", ["step", "header"])
def test_pixels_go_where_sunpy_says(frame, direction):
    target = small(direction=direction, center=(300 * u.arcsec, -400 * u.arcsec), n_slit=20)
    reference = image("2024-10-17T03:00:00", roll=3 * u.deg)
    built = ImageBuilder(raster_frame=frame, observer_motion=ORBIT).build([reference], to_image(target))
    y, x = np.indices(target.data.shape).astype(float)
    found = built.mapping(x, y, np.arange(x.shape[1], dtype=float))
    np.testing.assert_allclose(found, expected_pixels(target, reference, frame), rtol=0, atol=1e-6)


def test_derivatives_are_those_of_the_samples(rasters, frozen):
    built = ImageBuilder().build([frozen], to_image(rasters["step"].target))
    y, x = np.indices((40, 96)).astype(float)
    columns = np.arange(96.0)
    _, by_x, by_y = built.sample_with_gradient(x + 0.3, y + 50, columns)
    h = 1e-3
    slope_x = (built.sample(x + 0.3 + h, y + 50, columns) - built.sample(x + 0.3 - h, y + 50, columns)) / (2 * h)
    slope_y = (built.sample(x + 0.3, y + 50 + h, columns) - built.sample(x + 0.3, y + 50 - h, columns)) / (2 * h)
    scale = np.abs(slope_x).max()
    np.testing.assert_allclose(by_x, slope_x, atol=2e-3 * scale)
    np.testing.assert_allclose(by_y, slope_y, atol=2e-3 * scale)


# When there is nothing to do, nothing is done


def test_images_of_one_moment_keep_their_homography():
    target, reference = to_image(image(shape=(40, 40))), image()
    built = ImageBuilder().build([reference], target)
    assert built.mapping.transform is None
    assert built.mapping.homography is not None
    still = ImageBuilder(solar_rotation="none").build([image("2024-10-17T04:00:00")], to_image(small()))
    assert still.mapping.transform is None


def test_seconds_apart_a_homography_says_it_all():
    options = {"observer": simulate.observer(1 * u.AU, time=START), "shape": (200, 200), "scale": 0.6 * u.arcsec}
    target, reference = to_image(image(**options)), image("2024-10-17T00:00:12", **options)
    built = ImageBuilder().build([reference], target)
    assert isinstance(built.mapping.transform, LinearTransform)
    y, x = np.indices((200, 200)).astype(float)
    moved = np.array(built.mapping(x, y)) - [x, y]
    assert 0.04 < moved[0].max() < 0.06
    hours = ImageBuilder().build([image("2024-10-17T06:00:00", **options)], target)
    assert isinstance(hours.mapping.transform, SphereTransform)


def test_off_the_disc_nothing_moves():
    target = to_image(small(center=(4200 * u.arcsec, 0 * u.arcsec)))
    built = ImageBuilder().build([image("2024-10-17T01:30:00")], target)
    frozen_ = ImageBuilder(solar_rotation="none").build([image("2024-10-17T01:30:00")], target)
    y, x = np.indices((60, 12)).astype(float)
    columns = np.arange(12.0)
    # But for the spacecraft's distance, which changes by 0.2 percent in 90 minutes.
    moved = np.hypot(*(np.array(built.mapping(x, y, columns)) - frozen_.mapping(x, y, columns)))
    assert np.nanmax(moved) < 4e-3 * 4700 / 17


# Observers


def test_another_observer_is_told_of_its_parallax():
    far = simulate.observer(1 * u.AU, 8 * u.deg, time=START)
    target = to_image(image(observer=simulate.observer(1 * u.AU, time=START), scale=5 * u.arcsec))
    with pytest.warns(SunalignUserWarning, match=r"8\.0 degrees apart: every Mm of height .* 0\.19 arcsec of parallax"):
        built = ImageBuilder(height=5 * u.Mm).build([image(observer=far, scale=5 * u.arcsec)], target)
    assert "sphere 5 Mm" in built.assumptions["observers"]
    x, y = built.mapping(np.array([149.5]), np.array([149.5]))
    # Disc centre is now 8 degrees east of the other's meridian.
    radius = 700.7e6 / 1.495978707e11
    expected = -np.arctan(radius * np.sin(np.radians(8)) / (1 - radius * np.cos(np.radians(8))))
    assert np.degrees(expected) * 3600 / 5 == pytest.approx(x[0] - 149.5, abs=0.02)
    assert abs(y[0] - 149.5) < 0.02


def test_height_is_found_again_by_what_it_does():
    sun = simulate.Scene(seed=2, resolution=0.1 * u.deg, rsun=(695.7 + 20) * u.Mm)
    here, there = simulate.observer(1 * u.AU, time=START), simulate.observer(1 * u.AU, 15 * u.deg, time=START)
    options = {"center": (200 * u.arcsec, 0 * u.arcsec), "scale": 2 * u.arcsec}
    # Away from disc centre a wrong height is a shift.
    meta = {"rsun_ref": 6.957e8}
    target = simulate.imager(sun, observer=here, shape=(150, 150), meta=meta, **options)
    reference = simulate.imager(sun, observer=there, shape=(400, 600), meta=meta, scale=2 * u.arcsec)
    shifts = {}
    for height in (0, 20):
        with pytest.warns(SunalignUserWarning, match="parallax"):
            result = sunalign.align(target, reference, height=height * u.Mm, on_doubt="ignore")
        shifts[height] = result.correction.shift_x.to_value(u.arcsec)
    assert abs(shifts[20]) < 0.1
    assert abs(shifts[0]) > 5


def test_a_missing_observer_is_taken_from_the_other():
    bare = ("hgln", "hglt", "dsun", "hci", "rsun")
    target, reference = small(), image("2024-10-17T01:30:00")
    with pytest.warns(SunalignUserWarning, match="its observer is taken to be the reference's"):
        built = ImageBuilder().build([reference], to_image(without(target, *bare)))
    assert "taken to be the reference's" in built.assumptions["observers"]
    with pytest.warns(SunalignUserWarning, match="its observer is taken to be the target's"):
        ImageBuilder().build([without(reference, *bare)], to_image(target))
    neither = ImageBuilder().build(
        [without(image(shape=(20, 20)), *bare)], to_image(without(image(shape=(20, 20)), *bare))
    )
    assert neither.mapping.transform is None
    assert "taken to be at Earth" in neither.assumptions["observers"]


def test_an_unknown_orbit_is_warned_of():
    target, reference = small(), without(image("2024-10-17T01:30:10"), "hci")
    with pytest.warns(SunalignUserWarning, match="No header says how the observer"):
        built = ImageBuilder().build([reference], to_image(without(target, "hci")))
    assert built.assumptions["observer motion"].startswith("unknown")


# Dates


def test_a_raster_needs_a_dated_reference():
    undated = without(image(), "date")
    with pytest.raises(AlignmentError, match="has no date"):
        ImageBuilder().build([undated], to_image(small()))
    assert ImageBuilder(solar_rotation="none").build([image()], to_image(small())).mapping.transform is None
    with pytest.warns(SunalignUserWarning, match="has no date; target and reference"):
        built = ImageBuilder().build([undated], to_image(image(shape=(20, 20))))
    assert built.mapping.transform is None
    assert "simultaneous" in built.assumptions["dates"]


# Options


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"solar_rotation": "fast"}, ValueError, "'differential', 'rigid' or 'none'"),
        ({"raster_frame": "both"}, ValueError, "'step' or 'header'"),
        ({"height": 5}, TypeError, "5 \\* u.Mm"),
        ({"height": 5 * u.arcsec}, TypeError, "a length"),
        ({"observer_motion": 3}, TypeError, "function of an astropy Time"),
    ],
)
def test_options_are_checked(options, error, words):
    with pytest.raises(error, match=words):
        ImageBuilder(**options)


def test_one_image_and_no_map_of_the_surface():
    target = to_image(small())
    with pytest.raises(AlignmentError, match="synthetic-raster"):
        ImageBuilder().build([image(), image()], target)
    surface = {
        "CTYPE1": "CRLN-CAR",
        "CTYPE2": "CRLT-CAR",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CDELT1": 1.0,
        "CDELT2": 1.0,
    }
    with pytest.raises(AlignmentError, match="reference_builder='carrington'"):
        ImageBuilder().build([(np.ones((90, 180)), surface)], target)


def test_observer_motion_has_to_be_of_positions():
    with pytest.raises(AlignmentError, match="at least two SkyCoord"):
        ImageBuilder(observer_motion=[ORBIT(START)]).build([image("2024-10-17T01:30:00")], to_image(small()))
    with pytest.raises(AlignmentError, match="returns a SkyCoord"):
        ImageBuilder(observer_motion=lambda time: 3).build([image("2024-10-17T01:30:00")], to_image(small()))
