"""The documents' formula, by brute force."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sunalign.metrics import NCC
from sunalign.testing.strategies import masked_pairs


def by_hand(reference, target, mask):
    """The formula with exact fractions: sums over the pixels that count, about their means, pixel by pixel."""
    pairs = [
        (Fraction(float(r)), Fraction(float(t)))
        for r, t, m in zip(reference.ravel(), target.ravel(), mask.ravel(), strict=True)
        if not m
    ]
    if not pairs:
        return 0.0
    n = len(pairs)
    mean_r, mean_t = sum(r for r, _ in pairs) / n, sum(t for _, t in pairs) / n
    rr = sum((r - mean_r) ** 2 for r, _ in pairs)
    tt = sum((t - mean_t) ** 2 for _, t in pairs)
    rt = sum((r - mean_r) * (t - mean_t) for r, t in pairs)
    if rr == 0 or tt == 0:
        return 0.0
    return math.copysign(math.sqrt(float(rt**2 / (rr * tt))), rt)


@st.composite
def pairs(draw, dtypes=("<f8", ">f8", "<f4", ">f4")):
    """Two images of white noise, offset by up to a million sigmas, and a mask under which there is NaN."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    images = []
    for _ in range(2):
        form = np.dtype(draw(st.sampled_from(dtypes)))
        # Single precision holds a noise of one beside an offset of a thousand, double beside a million.
        offset = draw(st.sampled_from([0.0, 1e3, -1e3] if form.itemsize == 4 else [0.0, -7.0, 1e6, -1e6]))
        images.append(
            (rng.normal(size=shape) * draw(st.sampled_from([1.0, 1e-3 if offset == 0 else 1.0])) + offset).astype(form)
        )
    mask = rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    for image in images:
        image[mask] = np.nan
    return *images, mask


@given(pairs())
def test_score_is_the_formula(pair):
    reference, target, mask = pair
    np.testing.assert_allclose(
        NCC().score(reference, target, mask), by_hand(reference, target, mask), rtol=0, atol=1e-9
    )


@given(st.integers(0, 2**32 - 1))
def test_score_without_offset_is_the_formula_to_rounding(seed):
    rng = np.random.default_rng(seed)
    reference, target = rng.normal(size=(2, 15, 9))
    mask = rng.random((15, 9)) < 0.2
    assert NCC().score(reference, target, mask) == pytest.approx(by_hand(reference, target, mask), abs=1e-14)


def test_blocks_join_without_a_seam():
    # Larger than several blocks, with a step from block to block that the means of blocks have to carry.
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(400, 300)) + np.linspace(0, 50, 400)[:, None]
    target = 3 * reference + rng.normal(size=(400, 300)) * 20 + 1e6
    mask = rng.random((400, 300)) < 0.1
    mask[100:250] = True
    expected = np.corrcoef(reference[~mask], target[~mask])[0, 1]
    assert NCC().score(reference, target, mask) == pytest.approx(expected, abs=1e-12)


@given(masked_pairs())
def test_score_is_between_minus_one_and_one(pair):
    assert -1 <= NCC().score(*pair) <= 1


@given(masked_pairs(dtypes=("<f8",)), st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_gain_and_offset_do_not_matter(pair, gain, offset):
    reference, target, mask = pair
    valid = target[~mask]
    assume(valid.size > 1 and np.std(valid) > 1e-9 * np.abs(valid).max())
    offset *= gain * np.std(valid)
    expected = NCC().score(reference, target, mask)
    # What the offsets leave of the digits.
    tolerance = 1e-13 * (1e3 + np.abs(valid).max() / np.std(valid))
    assert NCC().score(reference, gain * target + offset, mask) == pytest.approx(expected, abs=tolerance)
    assert NCC().score(reference, offset - gain * target, mask) == pytest.approx(-expected, abs=tolerance)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9, -1e-30])
def test_constant_images_score_zero(value):
    noise, flat = np.random.default_rng(0).normal(size=(6, 7)), np.full((6, 7), value)
    mask = np.zeros((6, 7), bool)
    assert NCC().score(flat, noise, mask) == NCC().score(noise, flat, mask) == NCC().score(flat, flat, mask) == 0.0


def test_what_rounding_makes_of_a_constant_scores_zero():
    noise = np.random.default_rng(0).normal(size=(6, 7))
    almost = np.full((6, 7), 0.3)
    almost[::2] = np.nextafter(0.3, 1)
    assert NCC().score(almost, noise, np.zeros((6, 7), bool)) == 0.0


def test_nothing_valid_scores_zero():
    assert NCC().score(np.ones((3, 4)), np.ones((3, 4)), np.ones((3, 4), bool)) == 0.0
    assert NCC().score(np.full((3, 4), np.nan), np.eye(3, 4), np.ones((3, 4), bool)) == 0.0
