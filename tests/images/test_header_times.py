"""Times of raster steps, held to astropy.wcs."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import astropy.units as u
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.wcsapi.wrappers import SlicedLowLevelWCS

import sunpy.map
import sunraster
from ndcube import NDCube

import sunalign
from sunalign import simulate
from sunalign.exceptions import ImageError, SunalignUserWarning
from sunalign.images import to_image
from sunalign.images.cubes import spectral_image
from sunalign.wcs.plausible import refuse_sit_and_stare

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
    with pytest.raises(ImageError, match=r"has CDELT1 = 0, as a sit-and-stare observation has"):
        to_image((target.data, {**target.meta, "cdelt1": 0.0}))
    with pytest.raises(ImageError, match=r"It has CDELT3 = 0, as a sit-and-stare observation has"):
        refuse_sit_and_stare({"CTYPE1": "WAVE", "CTYPE2": "HPLT-TAN", "CTYPE3": "HPLN-TAN", "CDELT3": 0.0}, "It")
    header = fits.getheader(SIT)
    cube = NDCube(np.ones((4, 3, 20, 1)), wcs=wcs_of(header), meta=header)
    with pytest.raises(ImageError, match="sit-and-stare"):
        _ = to_image(cube).times


def test_time_along_the_slit_is_refused():
    with pytest.raises(ImageError, match="runs along the slit"):
        _ = to_image(changed(raster().target, pc3_2=20.0)).times


# Latitude first


def latitude_first(target):
    """Header and data of a raster with its first two axes, of pixels and of the world, in the other order."""
    other = {"1": "2", "2": "1"}
    header = {}
    for key, value in target.meta.items():
        card = key.upper()
        if card[:-1] in ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT", "NAXIS"):
            card = card[:-1] + other.get(card[-1], card[-1])
        elif card[:2] in ("PC", "CD") and card[3:4] == "_":
            card = f"{card[:2]}{other.get(card[2], card[2])}_{other.get(card[4], card[4])}"
        if card not in ("KEYCOMMENTS", "HISTORY", "COMMENT"):
            header[card] = value
    return target.data.T, header


def kinds_of(data, header):
    """The same image as (data, header), Map and NDCube."""
    bare = {key: value for key, value in header.items() if not key.startswith("NAXIS")}
    return {
        "header": (data, header),
        "map": sunpy.map.Map(data, header),
        "cube": NDCube(data[None], wcs=wcs_of(fits.Header(bare)), meta=header),
    }


@pytest.mark.parametrize("kind", ["header", "map", "cube"])
@pytest.mark.parametrize("convention", ["pc", "cd"])
def test_steps_run_along_the_axis_that_time_depends_on(kind, convention):
    target = raster(convention=convention, cadence=60 * u.s, roll=12 * u.deg).target
    data, header = latitude_first(target)
    image, expected = to_image(kinds_of(data, header)[kind]), to_image(target)
    # As astropy has it: pixel axis 2 of the header is that of the steps.
    steps = np.arange(12.0)
    world = wcs_of(fits.Header(header)).wcs_pix2world(np.column_stack([0 * steps, steps, 0 * steps]), 0)[:, 2]
    epoch = Time(header["DATEREF"])
    np.testing.assert_allclose((image.times.at(steps) - epoch).to_value(u.s), world, atol=1e-5)
    np.testing.assert_allclose((image.times.at(steps) - expected.times.at(steps)).to_value(u.s), 0, atol=1e-5)
    np.testing.assert_array_equal(image.data, expected.data)
    for mine, theirs in zip(image.grid.angles(steps, 3 * steps), expected.grid.angles(steps, 3 * steps), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    np.testing.assert_allclose(image.crop(slice(0, 40), slice(3, 9)).times.seconds, image.times.seconds[3:9])


def test_a_raster_with_latitude_first_is_aligned_like_any_other():
    scene = simulate.raster_pair(seed=1, n_steps=32, n_slit=200).scene
    error = simulate.PointingError(shift_x=5 * u.arcsec, shift_y=-3 * u.arcsec)
    made = simulate.raster(scene, n_steps=24, n_slit=120, cadence=60 * u.s, error=error, rng=3)
    reference = simulate.imager(scene, shape=(120, 130), time=scene.time + 12 * u.min, rng=4)
    data, header = latitude_first(made.target)
    mask = np.zeros(made.target.data.shape, bool)
    mask[:20] = True
    plain = sunalign.align(made.target, reference, target_mask=mask)
    for kind in ("header", "map"):
        turned = sunalign.align(kinds_of(data, header)[kind], reference, target_mask=mask.T)
        for name in ("shift_x", "shift_y"):
            difference = getattr(turned.correction, name) - getattr(plain.correction, name)
            assert abs(difference.to_value(u.arcsec)) < 1e-6
        old, new = to_image(plain.aligned).grid, to_image(turned.aligned).grid
        np.testing.assert_allclose(new.angles(20.0, 100.0), old.angles(20.0, 100.0), atol=1e-11)


def test_steps_along_an_east_west_slit():
    # Slit along longitude, steps along latitude: time depends on the second pixel axis of a header in the usual order.
    target = raster().target
    header = {k.upper(): v for k, v in target.meta.items() if k not in ("keycomments", "history", "comment")}
    slope = header.pop("PC3_1")
    header |= {"PC3_2": slope, "CRPIX1": header["CRPIX2"], "CRPIX2": header["CRPIX1"]}
    image = to_image((target.data.T, header))
    assert image.data.shape == target.data.shape
    np.testing.assert_allclose(image.times.seconds, to_image(target).times.seconds)


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


# Frames cut out of a sequence

CADENCE = 1800.0
#: One slice after the other.
SLICES = [
    [np.s_[4]], [np.s_[4:5]], [np.s_[4, 2:, 1:5]], [np.s_[4:5, 2:, 1:5]], [np.s_[3:6], np.s_[1]],
    [np.s_[:, 1:], np.s_[4], np.s_[:, 2:]],
]  # fmt: skip


def sequence(ctype="TIME", anchor="DATEREF", **cards):
    """Six images, half an hour apart; and the time of the first."""
    wcs = fits.Header()
    wcs.update({
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CTYPE3": ctype, "CUNIT1": "arcsec", "CUNIT2": "arcsec",
        "CUNIT3": "s", "CDELT1": 2.0, "CDELT2": 2.0, "CDELT3": CADENCE, "CRPIX1": 3.0, "CRPIX2": 3.0, "CRPIX3": 1.0,
        "CRVAL1": 0.0, "CRVAL2": 0.0, "CRVAL3": 0.0, "HGLN_OBS": 0.0, "HGLT_OBS": 3.0, "DSUN_OBS": 1.5e11,
        "DATE-OBS": "2024-10-17T00:00:00",
    })  # fmt: skip
    wcs.update({"MJDREFI": 60600, "MJDREFF": 0.0} if anchor == "MJDREF" else {anchor: "2024-10-17T00:00:00"})
    wcs.update(cards)
    return NDCube(np.random.default_rng(1).normal(size=(6, 7, 8)), wcs=wcs_of(wcs), meta=dict(wcs))


@pytest.mark.parametrize("items", SLICES)
@pytest.mark.parametrize(
    ("ctype", "anchor", "scale"),
    [("TIME", "DATEREF", "utc"), ("UTC", "MJDREF", "utc"), ("TAI", "DATEREF", "tai"), ("TIME", "DATE-BEG", "utc")],
)
def test_a_frame_out_of_a_sequence_has_its_own_time(items, ctype, anchor, scale):
    part = sequence(ctype, anchor)
    for item in items:
        part = part[item]
    image = to_image(part)
    expected = Time("2024-10-17T00:00:00", scale=scale) + 4 * CADENCE * u.s
    assert image.times.is_instant
    for time in (image.times.at(2.0), image.date, image.observer.obstime, to_image(image.to_map()).date):
        assert abs((time - expected).to_value(u.s)) < 1e-3
    assert image.times.origin.endswith("of the cube")


@pytest.mark.parametrize("items", SLICES)
@pytest.mark.parametrize("anchor", ["DATEREF", "MJDREF", "DATE-BEG"])
@pytest.mark.parametrize("scale", ["utc", "tai", "gps"])
@pytest.mark.parametrize("unit", ["min", "h", "d"])
def test_a_time_axis_counts_in_its_own_unit(items, anchor, scale, unit):
    cards = {"CUNIT3": unit, "CDELT3": (CADENCE * u.s).to_value(unit), "CRVAL3": (60 * u.s).to_value(unit)}
    counted, minutes = (sequence(scale.upper(), anchor, **more) for more in ({"CRVAL3": 60.0}, cards))
    for item in items:
        counted, minutes = counted[item], minutes[item]
    assert abs((to_image(minutes).date - to_image(counted).date).to_value(u.s)) < 1e-3
    if scale == "utc":
        expected = Time("2024-10-17T00:01:00") + 4 * CADENCE * u.s
        assert abs((to_image(minutes).date - expected).to_value(u.s)) < 1e-3


def test_columns_of_a_raster_cube_whose_time_is_in_minutes():
    header = fits.getheader(RASTER, 0)
    cubes = []
    for unit in ("s", "min"):
        per = u.Unit(unit).to(u.s)
        new = header.copy()
        new.update({"CUNIT4": unit, "CDELT4": header["CDELT4"] / per, "CRVAL4": header["CRVAL4"] / per})
        new["PC4_1"] = header["PC4_1"]
        cubes.append(to_image(NDCube(np.ones((20, 30)), wcs=wcs_of(new)[0, 0], meta=header)).times)
    np.testing.assert_allclose((cubes[1].at(np.arange(30)) - cubes[0].at(np.arange(30))).to_value(u.s), 0, atol=1e-3)
    assert cubes[0].step


@pytest.mark.parametrize("as_map", [True, False])
def test_a_frame_with_the_header_of_its_sequence_is_taken_for_the_first_and_says_so(as_map):
    cube = sequence()
    header = dict(cube.meta) | {"NAXIS": 3, "NAXIS1": 8, "NAXIS2": 7, "NAXIS3": 6}
    for later, expected in ((0, "00:00:00"), (4, "02:00:00")):
        cards = header | {"CRPIX3": 1.0 - later}
        image = to_image(sunpy.map.Map(cube.data[4], cards) if as_map else (cube.data[4], cards))
        with pytest.warns(SunalignUserWarning, match=r"sequence of 6 \(NAXIS3\).* first.* CRPIX3"):
            times = image.times
        assert abs((times.at(0.0) - Time(f"2024-10-17T{expected}")).to_value(u.s)) < 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("error", SunalignUserWarning)
        assert to_image((cube.data[4], header | {"NAXIS3": 1})).times is not None


def test_a_sequence_without_a_zero_of_time_has_no_dates_and_is_a_sequence_still():
    cube = sequence(anchor="OBJECT")
    del cube.meta["DATE-OBS"]
    cube.wcs.wcs.dateobs = ""
    cube.wcs.wcs.mjdobs = np.nan
    for part in (cube[4], cube[4:5]):
        assert to_image(part).date is None
        assert to_image(part).times is None
    with pytest.raises(ImageError, match="sequence of 6 images"):
        _ = to_image(cube).times


def test_a_frame_out_of_a_sliced_wcs():
    cube = sequence()
    sliced = SlicedLowLevelWCS(cube.wcs.low_level_wcs, (4, slice(None), slice(1, 5)))
    image = to_image(NDCube(cube.data[4, :, 1:5], wcs=sliced, meta=cube.meta))
    assert abs((image.date - Time("2024-10-17T02:00:00")).to_value(u.s)) < 1e-3


def test_a_frame_with_its_time_in_extra_or_global_coordinates():
    times = Time("2024-10-17T00:00:00") + np.arange(6) * CADENCE * u.s
    cube = celestial_cube()  # (x, y, wavelength)
    wcs = wcs_of(sequence().wcs.to_header()).sub([1, 2, 0])
    moved = NDCube(np.ones((6, 5, 4)), wcs=wcs, meta=dict(sequence().meta))
    moved.extra_coords.add("exposure", (0,), np.arange(6) * u.s)
    moved.extra_coords.add("time", (0,), times)
    for part in (moved[4], moved[4:5], moved[4:5, 1:, 2:], moved[3:6][1]):
        assert abs((to_image(part).date - times[4]).to_value(u.s)) < 1e-3
    with pytest.raises(ImageError, match="sequence of 6 images"):
        _ = to_image(moved).times
    cube.global_coords.add("observed", "time", times[2])
    assert abs((to_image(cube).times.at(0.0) - times[2]).to_value(u.s)) < 1e-3


def test_two_extra_times_of_equal_length_are_told_apart_by_their_axes():
    cube = celestial_cube(n=5)  # five steps of five rows
    steps = Time("2024-10-17T00:00:00") + np.arange(5) * 60 * u.s
    cube.extra_coords.add("row number", (1,), np.arange(5) * u.one)
    cube.extra_coords.add("time", (0,), steps)
    found = to_image(cube[1:5]).times
    np.testing.assert_allclose((found.at(np.arange(4)) - steps[1:]).to_value(u.s), 0, atol=1e-5)
    rows = celestial_cube(n=5)
    rows.extra_coords.add("time", (1,), steps)
    image = to_image(rows)
    assert image.transposed
    np.testing.assert_allclose((image.times.at(np.arange(5)) - steps).to_value(u.s), 0, atol=1e-5)


@given(st.integers(0, 5), st.integers(2, 7), st.integers(0, 2), st.booleans())
@settings(max_examples=10)
def test_columns_of_any_slice_of_a_raster_cube_keep_their_times(first, count, drop, reverse):
    header = fits.getheader(RASTER, 0)
    cube = NDCube(np.ones((1, 1, 20, 30)), wcs=wcs_of(header), meta=header)
    part = cube[..., 3:17, first : first + count]
    part = part[0] if drop == 1 else part[0, 0] if drop == 2 else part
    part = part[..., 1:] if reverse else part
    columns = np.arange(first + reverse, first + count)
    if len(columns) < 2:
        return
    expected = cube.wcs.pixel_to_world(columns, 0 * columns + 10, 0 * columns, 0 * columns)[-1]
    times = spectral_image(part, mask_dumbbells=False).times
    np.testing.assert_allclose((times.at(np.arange(len(columns))) - expected).to_value(u.s), 0, atol=1e-5)


def test_a_frame_of_a_sequence_is_aligned_at_its_own_time():
    scene = simulate.raster_pair(seed=1, n_steps=32, n_slit=200).scene
    late = scene.time + 2 * u.hour
    reference = simulate.imager(scene, shape=(120, 120), time=late, photons=2000, rng=2)
    frame = simulate.imager(scene, shape=(120, 120), time=late, photons=2000, rng=3)
    header = simulate.imager(scene, shape=(120, 120), time=scene.time, rng=4).fits_header
    header.update({"WCSAXES": 3, "CTYPE3": "TIME", "CUNIT3": "s", "CDELT3": CADENCE, "CRPIX3": 1.0, "CRVAL3": 0.0,
                   "DATEREF": scene.time.isot})  # fmt: skip
    for card in ("NAXIS", "NAXIS1", "NAXIS2"):
        header.remove(card, ignore_missing=True)
    cube = NDCube(np.array([np.ones_like(frame.data)] * 4 + [frame.data]), wcs=wcs_of(header), meta=dict(header))
    for part in (cube[4], cube[4:5]):
        # Rotation of two hours is more than 15 arcsec.
        for result in (sunalign.align(part, reference), sunalign.align(reference, part)):
            assert abs(result.correction.shift_x.to_value(u.arcsec)) < 0.2
            assert abs(result.correction.shift_y.to_value(u.arcsec)) < 0.2


@pytest.mark.parametrize("part", [slice(None), slice(7, None), slice(5, 20)])
def test_columns_of_a_sliced_plane_keep_the_times_of_its_header(part):
    """The WCS of such a cube has no time axis, and the header in its metadata is that of the whole raster."""
    whole = raster().target
    times = to_image(whole).times
    cube = NDCube(whole.data, wcs=whole.wcs, meta=dict(whole.meta))[:, part]
    start = part.start or 0
    for column in (0.0, 3.0):
        assert abs((to_image(cube).times.at(column) - times.at(start + column)).to_value("s")) < 1e-3
    binned = NDCube(whole.data, wcs=whole.wcs, meta=dict(whole.meta)).rebin((1, 2))
    assert abs((to_image(binned).times.at(1.0) - times.at(2.5)).to_value("s")) < 1e-3
