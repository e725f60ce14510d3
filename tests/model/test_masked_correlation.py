"""The FFT surface is what cropping and correlating gives, shift by shift."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sunalign
from sunalign import simulate
from sunalign.model import masked_correlation
from sunalign.model.masked_correlation import masked_ncc_surface, transforms_kept


def brute_force(reference, target, reference_mask, target_mask, margin, min_overlap):
    """Crop, keep what is valid in both, `numpy.corrcoef`."""
    (my, mx), (ny, nx) = margin, target.shape
    scores, overlap = np.zeros((2, 2 * my + 1, 2 * mx + 1))
    for j in range(2 * my + 1):
        for i in range(2 * mx + 1):
            window = np.s_[j : j + ny, i : i + nx]
            valid = ~(reference_mask[window] | target_mask)
            r, t = reference[window][valid], target[valid]
            overlap[j, i] = valid.sum()
            if valid.sum() < max(min_overlap * np.count_nonzero(~target_mask), 1):
                scores[j, i] = -np.inf
            elif np.ptp(r) > 0 and np.ptp(t) > 0:
                scores[j, i] = np.corrcoef(r - r[0], t - t[0])[0, 1]
    return scores, overlap


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(4, 20)), draw(st.integers(4, 20))
    margin = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    wide = tuple(n + 2 * m for n, m in zip(shape, margin, strict=True))
    arrays = []
    for size in (wide, shape):
        image = rng.normal(size=size) * draw(st.sampled_from([1.0, 1e-6, 1e5])) * draw(st.sampled_from([1, -1]))
        image += np.std(image) * draw(st.sampled_from([0.0, 3.0, 1e3]))
        mask = rng.random(size) < draw(st.sampled_from([0.0, 0.1, 0.4]))
        if draw(st.booleans()):
            mask[: size[0] // 4] = True
        image[mask] = np.nan
        arrays += [image, mask]
    reference, reference_mask, target, target_mask = arrays
    return reference, target, reference_mask, target_mask, margin, 0.3


@pytest.mark.parametrize(("precision", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@given(case=cases())
def test_surface_equals_brute_force(precision, tolerance, case):
    surface = masked_ncc_surface(*case, precision=precision)
    scores, overlap = brute_force(*case)
    np.testing.assert_array_equal(surface.overlap, overlap)
    np.testing.assert_array_equal(np.isneginf(surface.scores), np.isneginf(scores))
    # A score of a handful of pixels is their differences, which are all that is left of the digits.
    enough = np.isfinite(scores) & (overlap >= 8)
    np.testing.assert_allclose(surface.scores[enough], scores[enough], rtol=0, atol=tolerance)


@given(case=cases())
def test_layout(case):
    *_, (my, mx), _ = case
    surface = masked_ncc_surface(*case)
    assert surface.scores.shape == surface.overlap.shape == (2 * my + 1, 2 * mx + 1)
    np.testing.assert_array_equal(surface.dx, np.arange(-mx, mx + 1))
    np.testing.assert_array_equal(surface.dy, np.arange(-my, my + 1))


def test_equal_sizes_give_the_one_score():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 31, 17))
    none = np.zeros((31, 17), bool)
    surface = masked_ncc_surface(a, b, none, none, (0, 0), precision=np.float64)
    assert surface.scores.shape == (1, 1)
    assert surface.scores[0, 0] == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-14)


def test_peak_is_where_the_target_was_cut():
    wide = np.random.default_rng(1).normal(size=(60, 50))
    target = wide[10 + 7 : 50 + 7, 8 - 5 : 42 - 5]
    surface = masked_ncc_surface(wide, target, np.zeros(wide.shape, bool), np.zeros(target.shape, bool), (10, 8))
    j, i = np.unravel_index(np.argmax(surface.scores), surface.scores.shape)
    assert (surface.dx[i], surface.dy[j]) == (-5, 7)
    assert surface.scores[j, i] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_constant_and_masked_images_score_zero_or_nothing(precision):
    wide, flat = np.random.default_rng(2).normal(size=(20, 20)), np.full((12, 12), 5.0)
    clear, none = np.zeros((20, 20), bool), np.zeros((12, 12), bool)
    assert not masked_ncc_surface(wide, flat, clear, none, (4, 4), precision=precision).scores.any()
    hidden = masked_ncc_surface(wide, flat, clear, ~none, (4, 4), precision=precision)
    assert np.isneginf(hidden.scores).all()
    assert not hidden.overlap.any()


def test_transforms_kept_belong_to_the_arrays_they_were_made_of():
    # The same array object, changed in between: a cache by identity would not notice.
    rng = np.random.default_rng(3)
    wide, target = rng.normal(size=(24, 24)), rng.normal(size=(16, 16))
    clear, none = np.zeros((24, 24), bool), np.zeros((16, 16), bool)
    with transforms_kept():
        masked_ncc_surface(wide, target, clear, none, (4, 4))
        target[:] = wide[4:20, 4:20]
        assert masked_ncc_surface(wide, target, clear, none, (4, 4)).scores[4, 4] == pytest.approx(1, abs=1e-5)
        kept = masked_correlation._KEPT.get()
        assert 0 < len(kept) <= masked_correlation._MOST
    assert masked_correlation._KEPT.get() is None


def test_a_target_met_again_is_not_transformed_again(monkeypatch):
    made = []
    transform = masked_correlation._transform
    monkeypatch.setattr(masked_correlation, "_transform", lambda *args: made.append(args) or transform(*args))
    rng = np.random.default_rng(4)
    clear, none = np.zeros((24, 24), bool), np.zeros((16, 16), bool)
    target, wide = rng.normal(size=(16, 16)), [rng.normal(size=(24, 24)) for _ in range(3)]

    def surfaces():
        return [masked_ncc_surface(one, target, clear, none, (4, 4)).scores for one in wide]

    alone = surfaces()
    assert len(made) == 6
    with transforms_kept():
        np.testing.assert_array_equal(surfaces(), alone)
    assert len(made) == 10


def test_nothing_outlives_an_alignment_and_threads_do_not_meet():
    pairs = [simulate.raster_pair(seed=seed, n_steps=32, n_slit=200) for seed in (1, 2)] * 2
    options = {"fit": ("shift", "scale"), "optimizer": "fft-search", "on_doubt": "ignore"}
    alone = [sunalign.align(pair.target, pair.reference, **options).correction for pair in pairs]
    assert masked_correlation._KEPT.get() is None
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda pair: sunalign.align(pair.target, pair.reference, **options).correction, pairs)
    assert list(together) == alone
