"""Intensity scaling: what it does to values, against NumPy, and laws that hold for any image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import astropy.units as u

import sunalign
from sunalign.model.intensity import STRETCHES, IntensityScaling, make_scaling
from sunalign.testing.helpers import small_map

IMAGES = hnp.arrays(
    float,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12),
    elements=st.one_of(st.floats(-1e3, 1e6), st.just(np.nan)),
)
stretches = st.sampled_from(STRETCHES)


def scaled(values, **options):
    return IntensityScaling(**options).fit(values)(values)


@pytest.fixture
def image():
    return np.random.default_rng(3).lognormal(3, 1.2, (60, 50))


def test_values_are_clipped_at_percentiles_and_stretched(image):
    low, high = np.percentile(image, (2, 97))
    clipped = np.minimum(np.maximum(image, low), high)
    for stretch, function in (("sqrt", np.sqrt), ("log", np.log10), ("linear", np.positive)):
        np.testing.assert_allclose(scaled(image, stretch=stretch, clip=(2, 97)), function(clipped), rtol=1e-12)


def test_linear_without_a_clip_leaves_values_as_they_are(image):
    np.testing.assert_array_equal(scaled(image, stretch="linear", clip=None), image)


def test_the_default_is_the_square_root_between_the_first_and_the_last_percentile(image):
    np.testing.assert_array_equal(IntensityScaling().fit(image)(image), scaled(image, stretch="sqrt", clip=(1, 99)))
    assert str(IntensityScaling()) == "sqrt, clip 1-99 %"
    assert str(IntensityScaling(clip=None)) == "sqrt, no clip"


@given(IMAGES, stretches, st.sampled_from([None, (1.0, 99.0), (10.0, 80.0)]))
def test_order_is_kept_missing_pixels_stay_missing_and_the_input_is_untouched(values, stretch, clip):
    before = values.copy()
    done = scaled(values, stretch=stretch, clip=clip)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(np.isnan(done), np.isnan(values))
    valid = ~np.isnan(values)
    order = np.argsort(values[valid], kind="stable")
    assert np.isfinite(done[valid]).all()
    assert (np.diff(done[valid][order]) >= 0).all()


@given(IMAGES, stretches)
def test_limits_do_not_depend_on_missing_pixels_or_on_the_order(values, stretch):
    valid = values[~np.isnan(values)]
    fitted, again = (IntensityScaling(stretch=stretch).fit(v) for v in (values, valid[::-1]))
    assert fitted == again


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_a_gain_comes_out_as_the_stretch_makes_of_it(gain, seed):
    values = np.random.default_rng(seed).lognormal(2, 0.7, (20, 30))
    for stretch, expected in (
        ("sqrt", lambda v: np.sqrt(gain) * v),
        ("log", lambda v: np.log10(gain) + v),
        ("linear", lambda v: gain * v),
    ):
        found = scaled(gain * values, stretch=stretch)
        np.testing.assert_allclose(found, expected(scaled(values, stretch=stretch)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stretch", STRETCHES)
def test_hot_pixels_do_not_squeeze_the_rest(image, stretch):
    spoiled = image.copy()
    spoiled[::29, ::17] = 1e9  # 3 pixels in a thousand
    good = spoiled == image
    clean, dirty = scaled(image, stretch=stretch), scaled(spoiled, stretch=stretch)
    assert np.corrcoef(clean[good], dirty[good])[0, 1] > 0.98
    assert dirty.max() < 2 * clean.max()


def test_a_background_below_zero_keeps_its_structure_under_the_square_root():
    values = np.linspace(-50, 100, 301).reshape(7, 43)
    done = scaled(values, clip=None)
    np.testing.assert_allclose(done**2, values + 50, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, -5.0])
def test_the_logarithm_of_nothing_is_a_number(offset):
    values = np.r_[np.zeros(40), np.geomspace(1, 1e4, 60)].reshape(10, 10) + offset
    assert np.isfinite(scaled(values, stretch="log")).all()


def test_a_few_bright_points_on_nothing_are_what_there_is_to_see():
    values = np.zeros((40, 40))
    values[3, 4], values[30, 9] = 10.0, 4.0
    done = scaled(values, stretch="linear")
    assert done[3, 4] > done[30, 9] > done[0, 0]


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("value", [7.0, 0.0, -3.0, np.nan])
def test_images_without_structure_come_out_without(stretch, value):
    done = scaled(np.full((5, 6), value), stretch=stretch)
    assert np.isnan(done).all() if np.isnan(value) else np.ptp(done) == 0


def test_limits_of_large_images_are_those_of_all_pixels():
    values = np.random.default_rng(0).lognormal(3, 1, (1200, 1300))
    fitted = IntensityScaling().fit(values)
    # Between the percentiles beside those asked for: a part of the pixels knows them well enough.
    assert np.percentile(values, 0.9) < fitted.lower < np.percentile(values, 1.1)
    assert np.percentile(values, 98.9) < fitted.upper < np.percentile(values, 99.1)


def test_choices_by_name_and_as_an_instance():
    own = IntensityScaling(stretch="log", clip=(5, 95))
    assert make_scaling(own) is own
    assert [make_scaling(name) for name in STRETCHES] == [IntensityScaling(stretch=name) for name in STRETCHES]
    assert IntensityScaling(**own.to_dict()) == own


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: make_scaling("asinh"), ValueError, "no intensity scaling 'asinh'; choose one of sqrt, log, linear"),
        (lambda: make_scaling(3), TypeError, "'scaling' is one of sqrt, log, linear or an IntensityScaling"),
        (lambda: IntensityScaling(clip=(99, 1)), ValueError, "pair of percentiles"),
        (lambda: IntensityScaling(clip=(-1, 50)), ValueError, "pair of percentiles"),
        (lambda: IntensityScaling(clip=(50, 101)), ValueError, "pair of percentiles"),
    ],
)
def test_bad_choices_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def sky(n=128, peak=20.0, width=1.5, seed=0, moved=(0.0, 0.0)):
    """Three points of light on a dark sky with noise of one."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:n, :n]
    places, noise = rng.uniform(0.2 * n, 0.8 * n, (3, 2)), rng.normal(size=(2, n, n))
    stars = sum(np.exp(-((x - px - moved[0]) ** 2 + (y - py - moved[1]) ** 2) / (2 * width**2)) for py, px in places)
    return 10 + peak * stars + noise[int(any(moved))]


@pytest.mark.parametrize("stretch", STRETCHES)
def test_points_of_light_on_a_dark_sky_keep_their_tops(stretch):
    image = sky()
    assert IntensityScaling(stretch=stretch).fit(image).upper > 0.85 * image.max()


def test_what_is_one_pixel_or_one_row_wide_is_clipped_on_a_dark_sky_too():
    image = np.random.default_rng(1).normal(size=(128, 128))
    expected = np.percentile(image, 99)
    image[20::25, 30::31] = 50.0
    image[77] += 40.0
    assert IntensityScaling().fit(image).upper < expected + 1
    bright = sky()
    bright[5, 5] = 1e4
    assert IntensityScaling().fit(bright).upper < 50


def test_an_image_with_structure_is_clipped_as_ever():
    image = np.random.default_rng(2).normal(size=(128, 128)) + 30 * np.sin(np.arange(128) / 5)
    image[40:44, 40:44] = 500.0
    assert IntensityScaling().fit(image).upper == pytest.approx(np.percentile(image, 99), rel=1e-3)


@pytest.mark.parametrize(("n", "width"), [(128, 1.5), (128, 0.8), (200, 2.0)])
def test_points_of_light_are_aligned_by_their_tops(n, width):
    errors, ratios = [], []
    for seed in range(8):
        moved = np.random.default_rng(100 + seed).uniform(-4, 4, 2)
        target, reference = (small_map(sky(n, 30.0, width, seed, at)) for at in (tuple(moved), (0.0, 0.0)))
        result = sunalign.align(
            target, reference, fit="shift", max_shift=60 * u.arcsec, solar_rotation="none", on_doubt="ignore"
        )
        if result.success:
            found = np.array([result.correction.shift_x.value, result.correction.shift_y.value]) / 4
            sigma = np.array([result.correction.errors[f"shift_{axis}"] for axis in "xy"]) / 4
            errors.append(found + moved)
            ratios.append(errors[-1] / sigma)
    assert len(errors) >= 5
    # With their tops cut off at the noise they were 0.3 pixels off.
    assert np.sqrt(np.mean(np.square(errors))) < 0.12
    assert np.std(ratios) < 1.3
