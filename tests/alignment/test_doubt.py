"""Answers that have to be doubted, and right ones that must not be."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

import astropy.units as u

import sunalign
from sunalign.exceptions import AlignmentError
from sunalign.model.objective import Objective
from sunalign.model.quality import Quality, _unknown, assess
from sunalign.model.surface import SearchSurface, allowing_for_edges, pixels_at_peak, wider_than_a_peak
from sunalign.testing.helpers import small_map, small_problem

TRUTH = np.array([14.0, -9.0])
CENTRE = np.array([60.0, -40.0])


def sun(seed, size=640):
    """Bright structure of many sizes, one pixel an arcsecond."""
    rng = np.random.default_rng(seed)
    texture = sum(s * ndimage.gaussian_filter(rng.normal(size=(size, size)), s, mode="wrap") for s in (2, 5, 12, 30))
    return 100 * np.exp(0.7 * texture / texture.std())


def binned(image, n):
    return image.reshape(image.shape[0] // n, n, -1, n).mean(axis=(1, 3))


def middle(image, size, x=0, y=0):
    start = (image.shape[0] - size) // 2
    return image[start + y : start + y + size, start + x : start + x + size]


def shift_of(result):
    return np.array([result.correction.parameters[name] for name in ("shift_x", "shift_y")])


@pytest.mark.parametrize(
    ("size", "beside"), [(256, (0, 0)), (270, (40, -25)), (290, (0, 0)), (330, (-60, 30)), (420, (0, 0)), (512, (0, 0))]
)
def test_a_reference_of_a_part_of_the_target_is_found_or_refused(size, beside):
    scene, rng = sun(size), np.random.default_rng(1)
    target = binned(middle(scene, 512), 8)
    reference = middle(scene, size, *beside)
    target, reference = (image + 3 * rng.normal(size=image.shape) for image in (target, reference))
    result = sunalign.align(
        small_map(target, scale=8.0, centre=tuple(CENTRE - TRUTH)),
        small_map(reference, scale=1.0, centre=tuple(CENTRE + beside)),
    )
    assert result.success
    np.testing.assert_allclose(shift_of(result), TRUTH, atol=0.4)


def test_a_reference_of_too_small_a_part_is_refused():
    scene = sun(3)
    target, reference = binned(middle(scene, 512), 8), middle(scene, 200)
    with pytest.raises(AlignmentError, match="overlap too little"):
        sunalign.align(small_map(target, scale=8.0, centre=tuple(CENTRE - TRUTH)), small_map(reference, scale=1.0))
    (doubt,) = Quality(overlap=0.2, min_overlap=0.25).doubts()
    assert "covers 20% of the target at the answer, less than min_overlap (25%)" in doubt


@pytest.mark.parametrize("size", [128, 256])
def test_a_much_coarser_reference_is_no_reason_to_doubt(size):
    scene, rng = sun(4), np.random.default_rng(2)
    target, reference = middle(scene, size), binned(middle(scene, size + 320), 8)
    result = sunalign.align(
        small_map(target + 3 * rng.normal(size=target.shape), scale=1.0, centre=tuple(CENTRE - TRUTH)),
        small_map(reference, scale=8.0),
    )
    assert result.success
    np.testing.assert_allclose(shift_of(result), TRUTH, atol=0.5)


PATTERNS = {
    "checkerboard": lambda y, x, rng: 0.6 * (2 * ((y // 8 + x // 8) % 2) - 1),
    "unequal pixels": lambda y, x, rng: np.maximum(0.6 * rng.normal(size=y.shape), -0.9),
    "hot pixels": lambda y, x, rng: np.where(rng.random(y.shape) < 0.02, rng.uniform(3, 30, y.shape), 0.0),
}

#: Those that are taken care of: lone hot pixels are left out, and what differs from pixel to pixel is smoothed.
HARMLESS = {"unequal pixels": 1.0, "hot pixels": 0.2}


def frames(seed, moved, pattern=None, size=128, snr=20):
    """Two images by one detector with one header, the Sun ``moved`` (x, y) pixels in between."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    sensitivity = 1 + (PATTERNS[pattern](y, x, rng) if pattern else 0.0)
    scene = sun(seed, 256)
    images = (middle(scene, size) * sensitivity, middle(scene, size, *moved) * sensitivity)
    return [small_map(image + image.mean() / snr * rng.normal(size=image.shape)) for image in images]


@pytest.mark.parametrize("moved", [(6, 0), (3, -4), (2, 1), (12, 5)])
@pytest.mark.parametrize("seed", [7, 8])
def test_wherever_the_scene_went_a_pattern_is_no_answer(seed, moved):
    fit = ("shift",) if seed == 7 else ("shift", "scale")
    result = sunalign.align(*frames(seed, moved, "checkerboard"), fit=fit, on_doubt="ignore")
    wrong = abs(shift_of(result) + 4 * np.array(moved)).max()
    assert wrong > 4  # More than a pixel.
    assert not result.success
    assert result.quality.fixed_pattern > 0.4


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_stays_with_the_detector_is_doubted(pattern):
    target, reference = frames(5, (6, 0), pattern)
    result = sunalign.align(target, reference, on_doubt="ignore")
    wrong = abs(shift_of(result) - [-24, 0]).max()
    if pattern in HARMLESS:
        assert wrong < HARMLESS[pattern]
        return
    assert wrong > 4  # More than a pixel.
    assert not result.success
    assert "stays with the detector" in result.message


@pytest.mark.parametrize("pattern", [None, *PATTERNS])
@pytest.mark.parametrize("seed", range(4))
def test_a_scene_that_did_not_move_is_not_doubted(seed, pattern):
    target, reference = frames(seed, (0, 0), pattern, snr=(8, 20, 60, 200)[seed])
    result = sunalign.align(target, reference)
    assert result.success
    assert result.quality.fixed_pattern == 0
    assert abs(shift_of(result)).max() < 2


def test_a_scene_that_moved_by_whole_pixels_is_not_doubted():
    target, reference = frames(7, (3, -2), snr=100)
    result = sunalign.align(target, reference)
    assert result.success
    np.testing.assert_allclose(shift_of(result), [-12, 8], atol=0.5)


DEFECTS = {
    "checkerboard of pixels": lambda y, x, rng: 0.6 * (2 * ((y + x) % 2) - 1),
    "one in twenty hot": lambda y, x, rng: np.where(rng.random(y.shape) < 0.05, rng.uniform(3, 30, y.shape), 0.0),
    "one in ten hot": lambda y, x, rng: np.where(rng.random(y.shape) < 0.1, rng.uniform(3, 30, y.shape), 0.0),
    "clusters": lambda y, x, rng: ndimage.maximum_filter(
        np.where(rng.random(y.shape) < 0.0125, rng.uniform(3, 30, y.shape), 0.0), 2
    ),
    "vignetting": lambda y, x, rng: 1 / (1 + 40 * ((x / x.max() - 0.5) ** 2 + (y / y.max() - 0.5) ** 2)) - 1,
}


@pytest.mark.parametrize("moved", [(6, 0), (3, -4), (2, 1), (12, 5)])
@pytest.mark.parametrize("snr", [3, 20])
@pytest.mark.parametrize("pattern", DEFECTS)
def test_what_defects_and_vignetting_hold_is_doubted_in_any_noise(pattern, snr, moved, monkeypatch):
    monkeypatch.setitem(PATTERNS, pattern, DEFECTS[pattern])
    result = sunalign.align(*frames(0, moved, pattern, snr=snr), on_doubt="ignore")
    wrong = np.hypot(*(shift_of(result) / 4 + moved))
    assert wrong < 0.6 or not result.success, wrong


@pytest.mark.parametrize("moved", [(0.5, 0.0), (0.5, -0.5), (1.5, 1.0), (5.5, 0.0)])
@pytest.mark.parametrize("snr", [10, 20, 60])
@pytest.mark.parametrize("pattern", [*DEFECTS, "columns"])
def test_what_defects_pull_an_answer_by_is_in_its_error(pattern, snr, moved):
    rng, scene = np.random.default_rng(5), ndimage.zoom(sun(5, 160), 2, order=3)
    y, x = np.mgrid[:128, :128]
    columns = {"columns": lambda y, x, rng: 0.3 * rng.normal(size=(1, x.shape[1]))}
    sensitivity = 1 + (DEFECTS | columns)[pattern](y, x, rng)
    steps = [(0, 0), tuple(int(2 * pixels) for pixels in moved)]
    images = [binned(middle(scene, 256, *by), 2) * sensitivity for by in steps]
    result = sunalign.align(
        *(small_map(image + 100 / snr * rng.normal(size=image.shape)) for image in images), on_doubt="ignore"
    )
    wrong = np.abs(shift_of(result) / 4 + moved)
    sigma = np.array([result.correction.errors[name] for name in ("shift_x", "shift_y")]) / 4
    assert not result.success or (wrong < np.maximum(4 * sigma, 0.07)).all(), (wrong, sigma)


@pytest.mark.parametrize("snr", [3, 20])
@pytest.mark.parametrize("pattern", DEFECTS)
def test_a_scene_that_did_not_move_is_not_doubted_for_its_defects(pattern, snr, monkeypatch):
    monkeypatch.setitem(PATTERNS, pattern, DEFECTS[pattern])
    result = sunalign.align(*frames(0, (0, 0), pattern, snr=snr))
    assert result.success
    assert result.quality.other_sizes < 0.2
    assert np.hypot(*shift_of(result)) / 4 < 0.2


@pytest.mark.parametrize("snr", [3, 20])
@pytest.mark.parametrize("moved", [(6, 0), (3, -4)])
def test_defects_that_hold_no_answer_are_no_reason_to_doubt(moved, snr, monkeypatch):
    """What is left of the target then is the detector's, off the pixels on which the scene is found."""
    weak = DEFECTS["clusters"]
    monkeypatch.setitem(PATTERNS, "clusters", lambda y, x, rng: 0.1 * weak(y, x, rng))
    result = sunalign.align(*frames(0, moved, "clusters", snr=snr))
    assert result.success
    assert result.quality.fixed_pattern == 0
    assert np.hypot(*(shift_of(result) / 4 + moved)) < 0.2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("moved", [(2, 1), (3, -4), (6, 0)])
def test_a_climb_that_ends_where_pixels_come_into_view_has_converged(seed, moved):
    """At whole pixels a row or a column comes into view, and the score jumps by what their noise makes of it."""
    result = sunalign.align(*frames(seed, moved, snr=3))
    assert result.success
    assert np.hypot(*(shift_of(result) / 4 + moved)) < 0.15


def test_hot_pixels_that_are_masked_do_no_harm():
    target, reference = frames(5, (6, 0), "hot pixels")
    hot = target.data > 2.5 * ndimage.median_filter(target.data, 5)
    result = sunalign.align(target, reference, target_mask=hot, reference_mask=np.roll(hot, 0))
    assert result.success
    np.testing.assert_allclose(shift_of(result), [-24, 0], atol=2)


def test_signs_that_could_not_be_had_are_doubts_each_with_its_sentence():
    names = ("peak_significance", "split_half", "movement")
    doubts = Quality(unknown=names).doubts()
    assert len(set(doubts)) == 3
    assert all("could not be" in doubt and doubt.endswith(".") for doubt in doubts)
    (doubt,) = Quality().with_errors(("shift_x", "scale_x"), [np.nan, 0.1]).doubts()
    assert "error of shift_x could not be estimated" in doubt
    assert Quality().with_errors(("shift_x",), [0.0]).doubts() == []
    assert json.loads(json.dumps(Quality(unknown=names).to_dict()))["unknown"] == list(names)


def test_every_doubt_reads_well():
    worst = Quality(
        peak_significance=0.5,
        split_half=2.0,
        movement=9.0,
        overlap=0.1,
        min_overlap=0.25,
        fixed_pattern=0.4,
        other_sizes=0.6,
        beside_pattern=0.7,
        at_bound=("scale_x", "shift_x"),
        unknown=("peak_significance", "split_half", "movement"),
        without_error=("shift_x", "rotation"),
    )
    doubts = worst.doubts()
    assert len(doubts) == 12 == len(set(doubts))
    for doubt in doubts:
        assert doubt[0].isupper() or doubt.startswith("scale_x")
        assert re.fullmatch(r"[^;]+; [^;]+\.", doubt), doubt  # What is wrong; what to try.
        assert len(doubt) < 300
        assert "nan" not in doubt.lower().split()


def test_a_surface_without_any_score_is_a_doubt():
    small = small_problem()
    problem = replace(small.problem, min_overlap=0.999)
    hidden = np.ones(problem.target.data.shape, bool)
    hidden[:4, :4] = False
    problem = replace(problem, target=problem.target.masked(hidden))
    quality, _ = assess(problem, small.space, small.truth)
    assert "split_half" in quality.unknown
    assert any("Two halves" in doubt for doubt in quality.doubts())


def test_a_search_for_no_shift_has_no_surface_to_be_judged_by():
    small = small_problem(fit=("rotation",), truth={"rotation": 0.5})
    quality, surface = assess(small.problem, small.space, small.truth)
    assert surface is None
    assert quality.doubts() == []


def lags(my, mx, scores=0.5, overlap=1000):
    y, x = np.mgrid[-my : my + 1, -mx : mx + 1].astype(float)
    return SearchSurface(np.full(y.shape, scores), np.full(y.shape, overlap), x, y)


def test_a_search_narrower_than_a_peak_is_not_asked_for_other_peaks():
    assert not wider_than_a_peak(lags(2, 2), 250)
    assert wider_than_a_peak(lags(5, 5), 250)
    assert not wider_than_a_peak(lags(5, 5, scores=-np.inf), 250)  # All outside the bounds.
    assert wider_than_a_peak(lags(5, 5, scores=-np.inf, overlap=100), 250)  # All with too little overlap.
    problem = small_problem().problem
    blank = Quality(split_half=0.0, movement=0.0)
    assert _unknown(blank, lags(2, 2), problem) == ()
    assert _unknown(blank, lags(5, 5), problem) == ("peak_significance",)


def test_pixels_at_the_peak_are_those_of_its_own_overlap():
    surface = lags(3, 3)
    surface.scores[1, 2], surface.overlap[1, 2] = 0.9, 123
    assert pixels_at_peak(surface) == 123
    assert pixels_at_peak(lags(3, 3, scores=-np.inf)) == 0


def test_the_allowance_for_edges_covers_a_pixel_on_every_side():
    for side in (10, 32, 200):
        n = 4 * side**2
        assert allowing_for_edges(0.25, n) * n <= (side - 1) ** 2
        assert allowing_for_edges(0.25, n) >= 0.125
    assert allowing_for_edges(0.25, 10**8) == pytest.approx(0.25, rel=1e-3)


def test_the_search_goes_beyond_a_start_without_a_score():
    scene = sun(8)
    # A quarter near the target's edge, and in the header beyond it.
    beside = np.array([120, 0])
    target, reference = binned(middle(scene, 512), 8), middle(scene, 256, *beside)
    result = sunalign.align(
        small_map(target, scale=8.0, centre=tuple(CENTRE - TRUTH)),
        small_map(reference, scale=1.0, centre=tuple(CENTRE + beside)),
    )
    start = Objective(result.problem, result.space)(result.space.start)
    assert start == -np.inf
    assert result.success
    np.testing.assert_allclose(shift_of(result), TRUTH, atol=0.4)


def test_shifts_of_one_axis_are_judged_too():
    small = small_problem(fit=("shift_x",))
    quality, _ = assess(small.problem, small.space, small.truth)
    assert quality.doubts() == []
    assert u.isclose(quality.overlap * u.one, 1)
