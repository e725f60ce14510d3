"""Sampling on turned and skewed grids against sampling point by point, and against sums written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.interpolate import BSpline

from sunalign.geometry.coordinates import apply_homography
from sunalign.model.grid_sampling import rows_at_once
from sunalign.model.interpolation import SplineImage


def turned(angle, scale=1.0, shift=(0.0, 0.0), askew=(0.0, 0.0)):
    cos, sin = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [*askew, 1.0]])


def points(matrix, shape):
    return apply_homography(matrix, np.arange(shape[1], dtype=float), np.arange(shape[0], dtype=float)[:, None])


@st.composite
def grids(draw):
    angle, scale = draw(st.floats(-180, 180)), draw(st.floats(0.3, 3.0))
    shift = draw(st.floats(-20, 50)), draw(st.floats(-20, 50))
    askew = draw(st.sampled_from([(0.0, 0.0), (1e-6, -2e-6), (1e-3, 5e-4)]))
    return turned(angle, scale, shift, askew), (draw(st.integers(1, 30)), draw(st.integers(1, 30)))


@given(grids(), st.integers(0, 1000), st.booleans())
def test_grids_are_sampled_as_their_points_are(drawn, seed, holes):
    matrix, shape = drawn
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(41, 37)) + 100
    if holes:
        image[rng.random(image.shape) < 0.01] = np.nan
    spline = SplineImage(image)
    expected = spline.sample_with_gradient(*points(matrix, shape))
    found = spline.sample_grid_with_gradient(matrix, shape)
    np.testing.assert_array_equal(spline.sample_grid(matrix, shape), found[0])
    x, y = points(matrix, shape)
    # A homography is taken for affine to 1e-4 pixels, which may carry a point over an edge.
    edges = [np.abs(p - end) for p, n in ((x, 37), (y, 41)) for end in (0, n - 1)]
    edges += [np.abs(p - np.floor(p) - 0.5) for p in (x, y)] if holes else []
    clear = np.min(edges, axis=0) > 2e-4
    for a, b in zip(found, expected, strict=True):
        # Noise from pixel to pixel makes a difference of as much.
        np.testing.assert_allclose(a[clear], b[clear], rtol=0, atol=3e-3)


@pytest.mark.parametrize("angle", [0.7, 5.0, 45.0, 90.0, 180.0])
def test_nothing_is_lost_but_digits(angle):
    rng = np.random.default_rng(1)
    spline, shape = SplineImage(rng.normal(size=(300, 280))), (256, 200)
    centre = np.array([139.5, 149.5]) - turned(angle)[:2, :2] @ [99.5, 127.5]
    matrix = turned(angle, 0.6, centre + 0.4 * turned(angle)[:2, :2] @ [99.5, 127.5])
    expected = spline.sample_with_gradient(*points(matrix, shape))
    for a, b in zip(spline.sample_grid_with_gradient(matrix, shape), expected, strict=True):
        assert np.abs(a - b).max() < 1e-5 * b.std()


def test_a_sum_over_all_coefficients_gives_the_same():
    # By SciPy's B-splines, coefficient by coefficient: no tap, no weight and no index of ours.
    rng = np.random.default_rng(2)
    image = rng.normal(size=(16, 14))
    matrix, shape = turned(23.0, 0.5, (4.0, 2.5)), (9, 11)
    coefficients = np.pad(ndimage.spline_filter(image, 3, mode="mirror"), 2, mode="reflect")
    x, y = points(matrix, shape)

    def basis(n, position, nu=0):
        spline = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
        spline = spline.derivative(nu) if nu else spline
        return np.nan_to_num(spline(position[..., None] - np.arange(-2, n + 2)))

    def total(nu_x, nu_y):
        return np.einsum("jk,abk,abj->ab", coefficients, basis(14, x, nu_x), basis(16, y, nu_y))

    found = SplineImage(image).sample_grid_with_gradient(matrix, shape)
    for values, orders in zip(found, ((0, 0), (1, 0), (0, 1)), strict=True):
        np.testing.assert_allclose(values, total(*orders), rtol=0, atol=1e-5)


def test_the_outermost_pixel_centres_are_on_the_image():
    image = np.random.default_rng(3).normal(size=(12, 9))
    half_turn = np.array([[-1.0, 0, 8], [0, -1.0, 11], [0, 0, 1]])
    np.testing.assert_allclose(SplineImage(image).sample_grid(half_turn, (12, 9)), image[::-1, ::-1], atol=1e-5)
    wider = np.array([[1.0, 0, -1], [0, 1, -1], [0, 0, 1]])
    found = SplineImage(image).sample_grid(wider, (14, 11))
    np.testing.assert_array_equal(np.isfinite(found), np.pad(np.ones((12, 9), bool), 1))


@given(
    st.floats(-180, 180),
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.sampled_from([0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-4]),
)
def test_between_rows_that_are_sampled_at_once_a_homography_is_straight(angle, ny, nx, askew):
    matrix = turned(angle, 1.1, (3.0, -7.0), (askew, -askew))
    rows = rows_at_once(matrix, (ny, nx), 16384)
    assert 1 <= rows <= max(1, 16384 // nx)
    x = np.linspace(0, nx - 1, 7)[:, None, None]
    start, part = np.linspace(0, ny - 1, 5)[:, None], np.linspace(0, 1, 9)
    first, last, exact = (np.array(apply_homography(matrix, x, y)) for y in (start, start + rows, start + rows * part))
    # In a single row there is nothing between.
    assert rows == 1 or np.abs(first + part * (last - first) - exact).max() < 1.1e-5
    # No smaller blocks than needed, but where the grid reaches the horizon.
    if askew * max(nx, ny) ** 2 * 8 < 1e-5:
        assert rows == max(1, 16384 // nx)


def test_nothing_is_straight_at_the_horizon():
    assert rows_at_once(turned(3.0, 1.0, (0.0, 0.0), (0.0, -0.01)), (200, 100), 16384) == 1


@pytest.mark.parametrize("angle", [0.7, 33.0])
def test_curvatures_are_differences_of_the_gradient(angle):
    rng = np.random.default_rng(4)
    spline = SplineImage(rng.normal(size=(60, 70)))
    matrix, shape = turned(angle, 0.5, (25.0, 14.0)), (30, 35)
    found = spline.sample_grid_with_curvature(matrix, shape)
    np.testing.assert_array_equal(found[:3], spline.sample_grid_with_gradient(matrix, shape))
    x, y = points(matrix, shape)
    step = 1e-6
    for along, (dx, dy) in enumerate(((step, 0), (0, step))):
        low, high = (spline.sample_with_gradient(x + s * dx, y + s * dy) for s in (-1, 1))
        for by in range(2):
            expected = (high[1 + by] - low[1 + by]) / (2 * step)
            np.testing.assert_allclose(found[3 + along + by], expected, rtol=0, atol=1e-4)
