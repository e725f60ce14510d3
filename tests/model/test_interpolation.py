"""The spline against SciPy's, its derivatives against differences, and NaN that stay where they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sunalign.model.interpolation import SplineImage, cubic_basis


@st.composite
def images_and_points(draw, min_side=2):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ny, nx = draw(st.integers(min_side, 20)), draw(st.integers(min_side, 20))
    image = rng.normal(size=(ny, nx)) + draw(st.sampled_from([0.0, 50.0]))
    x = np.sort(rng.uniform(0, nx - 1, 13))
    y = np.sort(rng.uniform(0, ny - 1, 11))
    # Among them the outermost pixel centres and points on pixels.
    x[0], x[-1], x[5] = 0, nx - 1, (nx - 1) // 2
    y[0], y[-1], y[5] = 0, ny - 1, (ny - 1) // 2
    return image, x, y


@given(images_and_points())
def test_samples_are_those_of_scipy(drawn):
    image, x, y = drawn
    xx, yy = np.meshgrid(x, y)
    expected = ndimage.map_coordinates(image, [yy, xx], order=3, mode="mirror")
    np.testing.assert_allclose(SplineImage(image).sample(xx, yy), expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(SplineImage(image).sample_with_gradient(xx, yy)[0], expected, rtol=0, atol=1e-11)


@given(images_and_points())
def test_separable_samples_are_the_general_ones(drawn):
    image, x, y = drawn
    spline, grid = SplineImage(image), np.meshgrid(x, y)
    # In single precision, of the deviations from the mean.
    np.testing.assert_allclose(spline.sample_separable(x, y), spline.sample(*grid), rtol=0, atol=2e-5)
    general, separable = spline.sample_with_gradient(*grid), spline.sample_separable_with_gradient(x, y)
    for a, b in zip(separable, general, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


@given(images_and_points(min_side=4))
def test_gradient_is_the_slope_of_the_samples(drawn):
    image, x, y = drawn
    spline, step = SplineImage(image), 1e-4
    xx, yy = np.meshgrid(x[1:-1], y[1:-1])
    xx, yy = np.clip(xx, step, image.shape[1] - 1 - step), np.clip(yy, step, image.shape[0] - 1 - step)
    _, by_x, by_y = spline.sample_with_gradient(xx, yy)
    # Central differences of a cubic are off by its third derivative, which jumps from pixel to pixel.
    np.testing.assert_allclose(
        by_x, (spline.sample(xx + step, yy) - spline.sample(xx - step, yy)) / (2 * step), atol=1e-4
    )
    np.testing.assert_allclose(
        by_y, (spline.sample(xx, yy + step) - spline.sample(xx, yy - step)) / (2 * step), atol=1e-4
    )


@given(st.integers(0, 1000))
def test_pixels_are_met_exactly(seed):
    image = np.random.default_rng(seed).normal(size=(9, 12))
    yy, xx = np.mgrid[:9, :12].astype(float)
    np.testing.assert_allclose(SplineImage(image).sample(xx, yy), image, atol=1e-13)


def with_holes(seed):
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(30, 40)), 2) * 10
    holes = rng.random(image.shape) < 0.02
    holes[12:14], holes[:, -3:], holes[20:26, 8:15] = True, True, True
    return image, holes


@given(st.integers(0, 1000))
def test_nan_stay_where_they_are(seed):
    image, holes = with_holes(seed)
    spline = SplineImage(np.where(holes, np.nan, image))
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 39, 500), rng.uniform(0, 29, 500)
    samples = spline.sample(x, y)
    rows, columns = np.nonzero(holes)
    distance = np.maximum(np.abs(y[:, None] - rows), np.abs(x[:, None] - columns)).min(axis=1)
    assert np.isnan(samples[distance < 1]).all()
    assert np.isfinite(samples[distance > 1.5]).all()
    for part in spline.sample_with_gradient(x, y):
        np.testing.assert_array_equal(np.isnan(part), np.isnan(samples))


@given(st.integers(0, 1000))
def test_what_fills_nan_hardly_reaches_out(seed):
    image, holes = with_holes(seed)
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 39, 2000), rng.uniform(0, 29, 2000)
    samples, truth = SplineImage(np.where(holes, np.nan, image)).sample(x, y), SplineImage(image).sample(x, y)
    rows, columns = np.nonzero(holes)
    distance = np.maximum(np.abs(y[:, None] - rows), np.abs(x[:, None] - columns)).min(axis=1)
    error = np.abs(samples - truth) / image.std()
    # The weight of a pixel falls fourfold a pixel (Unser 1999, eq. 15).
    assert np.nanmax(error, initial=0) < 0.25
    assert np.nanmax(error[distance > 5], initial=0) < 2e-3


def test_a_hot_pixel_that_is_masked_leaves_no_trace():
    image, _ = with_holes(0)
    image[10, 10] = np.nan
    expected = SplineImage(image).sample(np.array([12.4]), np.array([10.7]))
    image[10, 10] = np.inf
    assert SplineImage(image).sample(np.array([12.4]), np.array([10.7])) == expected


def test_separable_samples_are_missing_where_general_ones_are():
    image, holes = with_holes(1)
    spline = SplineImage(np.where(holes, np.nan, image))
    x, y = np.linspace(-2, 43, 71), np.linspace(-3, 31, 57)
    np.testing.assert_array_equal(np.isnan(spline.sample_separable(x, y)), np.isnan(spline.sample(*np.meshgrid(x, y))))


def test_outside_is_nan_and_the_last_centre_is_not():
    spline = SplineImage(np.arange(12.0).reshape(3, 4))
    x = np.array([-1e-3, 0, 3, 3 + 1e-3, np.nan, np.inf, -np.inf])
    expected = [True, False, False, True, True, True, True]
    assert np.isnan(spline.sample(x, np.ones_like(x))).tolist() == expected
    assert np.isnan(spline.sample_separable(x[:4], np.array([1.0]))[0]).tolist() == expected[:4]


def test_rounding_does_not_lose_the_outermost_pixels():
    spline = SplineImage(np.arange(12.0).reshape(3, 4))
    assert np.isfinite(spline.sample(np.array([-1e-9, 3 + 1e-9]), np.array([2 + 1e-9, -1e-9]))).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_thin_images(shape):
    image = np.random.default_rng(0).normal(size=shape)
    yy, xx = np.mgrid[: shape[0], : shape[1]].astype(float)
    np.testing.assert_allclose(SplineImage(image).sample(xx, yy), image, atol=1e-12)
    np.testing.assert_allclose(SplineImage(image).sample_separable(xx[0], yy[:, 0]), image, atol=1e-6)


def test_an_image_of_nan_has_no_samples():
    assert np.isnan(SplineImage(np.full((5, 5), np.nan)).sample(np.array([2.0]), np.array([2.0]))).all()


@given(st.floats(0, 1))
def test_weights_are_those_of_the_cubic_b_spline(t):
    values, slopes = cubic_basis(np.array([t]))
    # Cox-de Boor, by SciPy.
    from scipy.interpolate import BSpline

    spline = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    offsets = t - np.arange(-1, 3)
    np.testing.assert_allclose(np.ravel(values), np.nan_to_num(spline(offsets)), atol=1e-15)
    np.testing.assert_allclose(np.ravel(slopes), np.nan_to_num(spline.derivative()(offsets)), atol=1e-14)
