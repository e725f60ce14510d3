"""What a point-spread function that two images do not share leaves, and what is taken out of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sunalign.model.sharpness import as_sharp
from sunalign.testing.helpers import smooth_image

IMAGE = smooth_image((40, 56), seed=4, smoothness=2.5)


def second(image, axis):
    return np.gradient(np.gradient(image, axis=axis), axis=axis)


def left(reference, target, mask):
    """Standard deviation of what a gain and an offset leave of the target."""
    r, t = reference[~mask], target[~mask]
    return np.std(t - np.polyval(np.polyfit(r, t, 1), r))


@pytest.mark.parametrize("width", [(0.6, 0.6), (0.9, 0.3)])
def test_a_smoother_image_is_as_sharp_again(width):
    target = 3 + 2 * ndimage.gaussian_filter(IMAGE, width)
    mask = np.zeros(IMAGE.shape, bool)
    mask[:2], mask[-2:], mask[:, :2], mask[:, -2:] = True, True, True, True
    assert left(IMAGE, as_sharp(IMAGE, target, mask), mask) < 0.2 * left(IMAGE, target, mask)


@given(st.integers(0, 2**32 - 1), st.floats(-5, 5), st.floats(-5, 5), st.floats(-1e3, 1e3))
def test_structure_of_its_own_stays(seed, along_x, along_y, offset):
    """Whatever of second derivatives is in the target is taken out, and nothing of what is not like them."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=IMAGE.shape)
    mask = rng.random(IMAGE.shape) < 0.3
    plain = as_sharp(IMAGE, IMAGE + own, mask)
    assert left(IMAGE, plain, mask) > 0.95 * left(IMAGE, IMAGE + own, mask)
    curved = np.zeros((2, *IMAGE.shape))
    curved[0, :, 1:-1] = IMAGE[:, 2:] - 2 * IMAGE[:, 1:-1] + IMAGE[:, :-2]
    curved[1, 1:-1] = IMAGE[2:] - 2 * IMAGE[1:-1] + IMAGE[:-2]
    more = IMAGE + own + offset + along_x * curved[0] + along_y * curved[1]
    np.testing.assert_allclose(as_sharp(IMAGE, more, mask), plain + offset, rtol=0, atol=1e-6 * (1 + abs(offset)))


def test_where_nothing_can_be_fitted_nothing_is_taken_out():
    everything = np.ones(IMAGE.shape, bool)
    np.testing.assert_array_equal(as_sharp(IMAGE, IMAGE, everything), IMAGE)
    flat = np.full(IMAGE.shape, 7.0)
    np.testing.assert_array_equal(as_sharp(flat, IMAGE, ~everything), IMAGE)
    column = IMAGE[:, :1]
    assert as_sharp(column, 2 * column, np.zeros(column.shape, bool)).shape == column.shape


def test_gaps_of_the_reference_do_not_spread():
    holed = IMAGE.copy()
    holed[10, 12] = np.nan
    mask = np.isnan(holed)
    found = as_sharp(holed, ndimage.gaussian_filter(IMAGE, 0.6), mask)
    assert np.isfinite(found).all()
