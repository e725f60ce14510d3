"""A raster made from a sequence of images."""

import gc
import pickle
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time

import sunpy.map
from sunpy.coordinates import Helioprojective, propagate_with_solar_surface

import sunalign
from sunalign import simulate
from sunalign.exceptions import AlignmentError, CoverageError, SunalignUserWarning
from sunalign.geometry.coordinates import ARCSEC
from sunalign.images import to_image
from sunalign.reference_builders import ImageBuilder, SyntheticRaster
from sunalign.reference_builders._raster_reference import Blur, Schedule

START = "2024-10-17T00:00:00"
ORBIT = simulate.Orbit(
    dsun=0.3 * u.AU, hglt=3 * u.deg, hgln_rate=6.3 * u.deg / u.day, dsun_rate=15 * u.km / u.s, time=START
)
SCENE = simulate.Scene(seed=4, resolution=0.1 * u.deg, evolution=8 * u.hour)
CENTER = (100 * u.arcsec, -200 * u.arcsec)
RASTER = {
    "n_steps": 40, "n_slit": 100, "step": 10 * u.arcsec, "slit_pixel": 6 * u.arcsec, "cadence": 240 * u.s,
    "observer": ORBIT, "start": START, "center": CENTER, "roll": 2 * u.deg, "psf_fwhm": 12 * u.arcsec,
}  # fmt: skip
FRAME = {
    "observer": ORBIT, "shape": (190, 150), "scale": 4.44 * u.arcsec, "roll": 3 * u.deg, "psf_fwhm": 6 * u.arcsec,
    "center": CENTER,
}  # fmt: skip
LIKE_THE_TARGET = {"psf_fwhm": np.sqrt(12**2 - 6**2) * u.arcsec, "slit_width": 10 * u.arcsec}
ERROR = simulate.PointingError(shift_x=12 * u.arcsec, shift_y=-7 * u.arcsec, scale_x=1.02)


@pytest.fixture(scope="module")
def observed():
    return simulate.raster(SCENE, error=ERROR, snr=20, rng=3, **RASTER)


@pytest.fixture(scope="module")
def truth():
    return simulate.raster(SCENE, **RASTER).truth


@pytest.fixture(scope="module")
def frames():
    times = [Time(START) + (5 + 10 * k) * u.min for k in range(16)]
    made = simulate.sequence(SCENE, times, **FRAME)
    for k, frame in enumerate(made):
        frame.meta["filename"] = f"frame_{k:02d}.fits"
    return made


@pytest.fixture(scope="module")
def paths(frames, tmp_path_factory):
    """The same in files, every second one compressed."""
    folder = tmp_path_factory.mktemp("frames")
    for k, frame in enumerate(frames):
        path = folder / f"frame_{k:02d}.fits"
        if k % 2:
            header = frame.fits_header
            for key in ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"):
                header.remove(key, ignore_missing=True)
            fits.HDUList(
                [fits.PrimaryHDU(), fits.CompImageHDU(frame.data, header, compression_type="GZIP_2", quantize_level=0)]
            ).writeto(path)
        else:
            frame.save(path)
    return sorted(folder.iterdir())


def sampled(reference, target):
    ny, nx = target.data.shape
    return reference.sample_grid(np.eye(3), (ny, nx), np.arange(nx, dtype=float))


def changed(source, **cards):
    return sunpy.map.Map(source.data, {**source.meta, **cards})


# Against the truth


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_it_looks_like_the_raster(interpolation, frames, truth):
    builder = SyntheticRaster(interpolation=interpolation, **LIKE_THE_TARGET)
    made = builder.build(frames, to_image(truth)).to_map()
    assert np.isfinite(made.data).all()
    assert np.std(made.data - truth.data) < 0.01 * np.std(truth.data)


def test_it_gives_the_true_scale(observed, frames):
    result = sunalign.align(observed.target, frames, fit=("shift", "scale_x"))
    assert result.plugins["reference builder"]["name"] == "synthetic-raster"
    assert result.success
    assert abs(result.correction.scale_x - 1.02) < 3e-3
    assert abs(result.correction.shift_x - 12 * u.arcsec) < 0.2 * u.arcsec
    assert abs(result.correction.shift_y + 7 * u.arcsec) < 0.2 * u.arcsec
    assert result.assumptions["observer motion"] == "the positions of 16 frames"
    assert result.assumptions["frames"].startswith("16 of 16 from 2024-10-17T00:05:00")


def test_every_pixel_is_sampled_where_sunpy_says(frames, truth):
    target = to_image(truth)
    built = SyntheticRaster(observer_motion=ORBIT).build(frames, target)
    found = sampled(built, truth)
    y = np.arange(truth.data.shape[0])
    for column in (0, 7, 25, 39):
        time = target.times.at(float(column))
        frame = min(frames, key=lambda f: abs((f.reference_date - time).to_value(u.s)))
        there = truth.pixel_to_world(np.full(len(y), column) * u.pix, y * u.pix)
        seen = Helioprojective(observer=ORBIT(time), obstime=time, rsun=truth.coordinate_frame.rsun)
        with propagate_with_solar_surface("howard"):
            pixel = frame.world_to_pixel(SkyCoord(there.Tx, there.Ty, frame=seen).transform_to(frame.coordinate_frame))
        x, row = pixel.x.value, pixel.y.value
        cutout = built.cutouts[frames.index(frame)]
        mine = cutout.part.mapping(np.full(len(y), float(column)), y.astype(float), np.array([float(column)]))
        np.testing.assert_allclose(mine, [x, row], rtol=0, atol=1e-6)
        expected = ndimage.map_coordinates(frame.data, [row, x], order=3, mode="mirror")
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-6)


def test_a_scanned_column_has_the_frame_of_its_time_whatever_the_direction(frames):
    for direction in (-1, 1):
        target = to_image(simulate.raster(SCENE, **RASTER | {"direction": direction}).truth)
        built = SyntheticRaster(solar_rotation="none").build(frames, target)
        one = ImageBuilder(solar_rotation="none").build([frames[0]], target)
        first = 39 if direction == -1 else 0
        # One image is sampled on a grid, in single precision, which has seven digits of a thousand.
        expected = sampled(one, target)[:, first]
        np.testing.assert_allclose(sampled(built, target)[:, first], expected, rtol=1e-6, atol=1e-4)


# At trial pointings


def test_a_column_keeps_its_time_wherever_it_is_tried(frames, truth):
    target = to_image(truth)
    built = SyntheticRaster().build(frames, target)
    y, x = np.indices(truth.data.shape).astype(float)
    columns = np.arange(40.0)
    moved = built.sample(x + 3.2, y - 1.4, columns)
    scattered = built.sample((x + 3.2).ravel(), (y - 1.4).ravel(), np.broadcast_to(columns, x.shape).ravel())
    np.testing.assert_array_equal(moved.ravel(), scattered)
    for column in (2, 30):
        frame = min(frames, key=lambda f: abs((f.reference_date - target.times.at(float(column))).to_value(u.s)))
        alone = SyntheticRaster(max_time_difference=1 * u.day, observer_motion=ORBIT).build([frame], target)
        expected = alone.sample(x[:, [column]] + 3.2, y[:, [column]] - 1.4, np.array([float(column)]))
        np.testing.assert_allclose(moved[:, [column]], expected, rtol=1e-4)
    assert not np.allclose(moved, built.sample(x + 3.2, y - 1.4), rtol=1e-3)


@pytest.mark.parametrize("options", [{}, {"interpolation": "linear"}, {"exposure": 200 * u.s}])
def test_derivatives_are_those_of_the_samples(options, frames, truth):
    built = SyntheticRaster(**options).build(frames, to_image(truth)).within(60 * ARCSEC)
    y, x = np.indices((30, 40)).astype(float)
    columns, h = np.arange(40.0), 1e-3
    value, by_x, by_y = built.sample_with_gradient(x + 0.2, y + 40, columns)
    np.testing.assert_allclose(value, built.sample(x + 0.2, y + 40, columns), rtol=1e-9)
    slope_x = (built.sample(x + 0.2 + h, y + 40, columns) - built.sample(x + 0.2 - h, y + 40, columns)) / (2 * h)
    slope_y = (built.sample(x + 0.2, y + 40 + h, columns) - built.sample(x + 0.2, y + 40 - h, columns)) / (2 * h)
    np.testing.assert_allclose(by_x, slope_x, atol=2e-3 * np.abs(slope_x).max())
    np.testing.assert_allclose(by_y, slope_y, atol=2e-3 * np.abs(slope_x).max())


def test_cropping_scaling_and_sending_change_no_sample(frames, truth):
    built = SyntheticRaster().build(frames, to_image(truth))
    whole, narrow = sampled(built, truth), built.within(50 * ARCSEC)
    np.testing.assert_allclose(sampled(narrow, truth), whole, rtol=1e-4)
    sent = pickle.loads(pickle.dumps(narrow.scaled(np.sqrt)))
    np.testing.assert_allclose(sampled(sent, truth) ** 2, whole, rtol=2e-2)
    assert sum(part.data.size for part in narrow._parts()) < 0.35 * sum(frame.data.size for frame in frames)
    assert narrow.intensities().size == sum(part.data.size for part in narrow._parts())
    coarse = sampled(narrow.binned(2), truth)
    assert np.corrcoef(coarse.ravel(), whole.ravel())[0, 1] > 0.95
    assert narrow.binned(1) is narrow


# Files


def test_files_give_what_maps_give(paths, frames, truth):
    target = to_image(truth)
    shuffled = [str(path) for path in paths]
    random.Random(1).shuffle(shuffled)
    from_files = SyntheticRaster().build(shuffled, target).within(40 * ARCSEC)
    from_maps = SyntheticRaster().build(sunpy.map.MapSequence(frames), target).within(40 * ARCSEC)
    np.testing.assert_allclose(sampled(from_files, truth), sampled(from_maps, truth), rtol=1e-9)


def test_files_are_opened_once_and_read_in_part(paths, truth, monkeypatch):
    opened, read = [], []
    real_open = fits.open

    def counting_open(path, *args, **kwargs):
        opened.append(path)
        return real_open(path, *args, **kwargs)

    def forbidden(self):
        raise AssertionError("All of a frame was read.")

    monkeypatch.setattr("sunalign.images.frames.fits.open", counting_open)
    for cls in (fits.PrimaryHDU, fits.CompImageHDU):
        monkeypatch.setattr(cls, "data", property(forbidden))
    built = SyntheticRaster().build(paths, to_image(truth)).within(40 * ARCSEC)
    assert len(opened) == len(paths)
    assert not any("data" in cutout.part.__dict__ for cutout in built.cutouts)
    read = [cutout.part.data.size for cutout in built.cutouts]
    assert len(opened) == len(paths)
    assert max(read) < 0.4 * 190 * 150


def test_files_that_are_never_read_are_closed(paths, truth):
    built = SyntheticRaster().build(paths, to_image(truth))
    del built
    gc.collect()  # a file left open would be an error here


def test_one_truncated_file_is_named_and_left_out(paths, truth, tmp_path):
    spoilt = tmp_path / "frame_05.fits"
    spoilt.write_bytes(paths[5].read_bytes()[:9000])
    given_ = [*paths[:5], spoilt, *paths[6:]]
    with pytest.warns(SunalignUserWarning, match=r"1 of 16 frames cannot be read and is left out: frame_05\.fits"):
        built = SyntheticRaster().build(given_, to_image(truth))
    assert np.isfinite(sampled(built, truth)).all()
    with (
        pytest.warns(SunalignUserWarning, match=r"frame_05\.fits"),
        pytest.raises(CoverageError, match=r"step \d+ was taken at"),
    ):
        SyntheticRaster(max_time_difference=6 * u.min).build(given_, to_image(truth))
    with pytest.raises(AlignmentError, match="The one frame that was given cannot be read"):
        SyntheticRaster().build([spoilt], to_image(truth))
    with pytest.raises(AlignmentError, match="There is no file"):
        SyntheticRaster().build([tmp_path / "nothing.fits"], to_image(truth))


# Time


def test_a_gap_is_named(frames, truth):
    gappy = frames[:5] + frames[10:]
    with pytest.raises(CoverageError, match=r"steps of .* within 15 min: step 2\d was taken at .* is 2\d\.\d min away"):
        SyntheticRaster().build(gappy, to_image(truth))
    holes = sampled(SyntheticRaster(missing="nan").build(gappy, to_image(truth)), truth)
    missing = np.isnan(holes).all(axis=0)
    np.testing.assert_array_equal(missing, np.isnan(holes).any(axis=0))
    assert 5 < missing.sum() < 12
    allowed = SyntheticRaster(max_time_difference=40 * u.min).build(gappy, to_image(truth))
    assert np.isfinite(sampled(allowed, truth)).all()


def test_frames_of_another_day(frames, truth):
    late = simulate.raster(SCENE, **RASTER | {"start": "2024-10-18T00:00:00"}).truth
    for missing in ("error", "nan"):
        with pytest.raises(CoverageError, match="40 of 40 steps"):
            SyntheticRaster(missing=missing).build(frames, to_image(late))


def test_duplicates_and_frames_without_date(frames, truth):
    with pytest.raises(AlignmentError, match=r"frame_03\.fits and frame_03\.fits have duplicate times"):
        SyntheticRaster().build([*frames, frames[3]], to_image(truth))
    undated = sunpy.map.Map(frames[3].data, {k: v for k, v in frames[3].meta.items() if not k.startswith("date")})
    with pytest.raises(AlignmentError, match=r"frame_03\.fits has no date"):
        SyntheticRaster().build([*frames[:3], undated], to_image(truth))


def test_frames_of_another_spacecraft(frames, truth):
    far = changed(frames[3], hgln_obs=40.0, telescop="STEREO-A", filename="far.fits")
    with pytest.raises(AlignmentError, match=r"far\.fits was taken by another spacecraft \(STEREO-A, 40\.0 deg"):
        SyntheticRaster().build([*frames[:3], far, *frames[4:]], to_image(truth))


def test_frames_that_look_elsewhere(frames, truth):
    away = [changed(frame, crval1=4000.0) for frame in frames]
    with pytest.raises(CoverageError, match="None of the 16 frames covers"):
        SyntheticRaster().build(away, to_image(truth)).within(30 * ARCSEC)


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=12, unique=True),
    st.lists(st.floats(-500, 5500), min_size=1, max_size=30),
    st.floats(1, 6000),
    st.booleans(),
)
def test_schedule_keeps_its_word(frames, times, most, linear):
    frames, times = np.sort(frames).astype(float), np.array(times)
    shares = Schedule(frames, most, linear)(times)
    total = np.zeros(len(times))
    for index, weight in shares:
        used = index >= 0
        total[used] += weight[used]
        assert (np.abs(frames[index[used]] - times[used]) <= most).all()
        assert (weight[used] > 0).all()
    nearest = np.abs(times[:, None] - frames).min(axis=1)
    np.testing.assert_allclose(total, nearest <= most)
    if linear:
        inside = (times > frames[0]) & (times < frames[-1])
        gaps = np.searchsorted(frames, times)
        whole = inside & (np.append(np.diff(frames), np.inf)[np.clip(gaps - 1, 0, None)] <= most)
        mean = sum(np.where(index >= 0, weight * frames[index], 0) for index, weight in shares)
        np.testing.assert_allclose(mean[whole], times[whole], atol=1e-6)
    else:
        found = shares[0][0] >= 0
        np.testing.assert_allclose(np.abs(frames[shares[0][0]] - times)[found], nearest[found])


# Blur


def test_blur_is_a_gaussian_and_a_box():
    data = np.zeros((41, 41))
    data[20, 20] = 1
    gauss = Blur(sigma=(1.5, 2.0))(data)
    np.testing.assert_allclose(gauss, ndimage.gaussian_filter(data, (1.5, 2.0), truncate=8), atol=1e-4)
    slit = Blur(sigma=(1.5, 1.5), slit=(0.0, 4.0))(data)
    x = np.arange(41) - 20
    assert np.sum(slit.sum(axis=0) * x**2) == pytest.approx(1.5**2 + 4**2 / 12, rel=1e-2)
    assert np.sum(slit.sum(axis=1) * x**2) == pytest.approx(1.5**2, rel=1e-2)
    assert Blur()(data) is data


def test_blur_does_not_spread_nan():
    data = np.ones((30, 30))
    data[10, 10:14] = np.nan
    blurred = Blur(sigma=(2.0, 2.0))(data)
    np.testing.assert_array_equal(np.isnan(blurred), np.isnan(data))
    np.testing.assert_allclose(blurred[np.isfinite(data)], 1)


# The map


def test_the_map_says_what_it_is(frames, truth):
    made = SyntheticRaster().build(frames, to_image(truth)).to_map()
    assert made.data.shape == truth.data.shape
    for key in ("crval1", "cdelt1", "pc3_1", "ctype3", "date-end", "dsun_obs"):
        assert made.meta[key] == truth.meta[key]
    assert made.meta["instrume"] == "IMAGER"
    assert made.meta["wavelnth"] == 174
    history = made.meta["history"]
    assert "Synthetic raster made by sunalign" in history
    assert re.search(r"columns 38-39 from frame_00\.fits of 2024-10-17T00:05:00", history)
    assert "observer motion: the positions of 16 frames" in history
    np.testing.assert_allclose(to_image(made).times.seconds, to_image(truth).times.seconds)


def test_the_target_needs_a_date(frames):
    header = {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CDELT1": 1.0}
    with pytest.raises(AlignmentError, match="neither a time axis nor a date"):
        SyntheticRaster().build(frames, to_image((np.ones((4, 4)), {**header, "CDELT2": 1.0})))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"interpolation": "cubic"}, ValueError, "'nearest' or 'linear'"),
        ({"missing": "skip"}, ValueError, "'error' or 'nan'"),
        ({"max_time_difference": 600}, TypeError, "10 \\* u.min"),
        ({"max_time_difference": -5 * u.min}, TypeError, "positive"),
        ({"psf_fwhm": 6 * u.s}, TypeError, "6 \\* u.arcsec"),
        ({"exposure": 6 * u.arcsec}, TypeError, "60 \\* u.s"),
        ({"solar_rotation": "fast"}, ValueError, "'differential', 'rigid' or 'none'"),
    ],
)
def test_options_are_checked(options, error, words):
    with pytest.raises(error, match=words):
        SyntheticRaster(**options)
