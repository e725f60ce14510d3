"""The forward model, and what the objective does so that no optimizer has to."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import astropy.units as u
from astropy.io import fits
from astropy.wcs import WCS

import sunpy.map

from sunalign.abc import Metric
from sunalign.correction import PARAMETERS, UNITS
from sunalign.exceptions import PluginError
from sunalign.geometry.coordinates import PixelGrid
from sunalign.images import Image
from sunalign.metrics import NCC, MutualInformation
from sunalign.model.budget import BudgetSpent
from sunalign.model.objective import Objective
from sunalign.model.problem import Problem
from sunalign.model.reference import ImageReference
from sunalign.model.search_space import Parameter, SearchSpace
from sunalign.testing.helpers import small_header, small_problem, smooth_image

ALL = ("shift", "scale", "rotation")


def header(shape, **options):
    return fits.Header({key.upper(): value for key, value in small_header(shape, **options).items()})


def image(data, **options):
    return Image(data, PixelGrid(WCS(header(data.shape, **options)), data.shape))


def problem(target_roll=0.0, target_scale=4.0, shape=(36, 30), holes=0.05, names=PARAMETERS, metric=None, seed=0):
    """Target with holes over a reference with holes, on grids that may be turned against one another."""
    rng = np.random.default_rng(seed)
    wide = smooth_image((110, 100), seed=seed, smoothness=3.0)
    wide[rng.random(wide.shape) < holes / 20] = np.nan
    data = smooth_image(shape, seed=seed + 1, smoothness=3.0)
    data[rng.random(shape) < holes] = np.nan
    target, reference = image(data, roll=target_roll, scale=target_scale), image(wide)
    return Problem(
        target=target,
        reference=ImageReference.of(reference, target),
        metric=metric or NCC(),
        base=target.grid,
        pivot=target.grid.centre,
        names=tuple(names),
    )


START = np.array([0.0, 0.0, 1.0, 1.0, 0.0])
POINTS = st.tuples(*[st.floats(-30, 30)] * 2, *[st.floats(0.95, 1.05)] * 2, st.floats(-3, 3)).map(np.array)


# The forward model.


@given(POINTS, st.sampled_from([0.0, 2.9]))
def test_samples_are_the_reference_at_the_corrected_sky_position(x, roll):
    # Through astropy's WCS and SciPy's spline: correct the sky position of every pixel, look there in the reference.
    p = problem(target_roll=roll, holes=0.0)
    ny, nx = p.target.grid.shape
    px, py = np.meshgrid(np.arange(nx), np.arange(ny))
    centre = p.base.wcs.pixel_to_world_values(*p.pivot)
    shift_x, shift_y, scale_x, scale_y, rotation = x
    # In the plane tangent at the pivot, which for these few arcminutes is the sky to 1e-4 of a pixel.
    sky = np.array(p.base.wcs.pixel_to_world_values(px, py)).reshape(2, -1) - np.reshape(centre, (2, 1))
    sky = (sky + 180) % 360 - 180
    tilt, turn = np.radians(roll), np.radians(rotation)
    axes = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = rotate @ axes @ np.diag([scale_x, scale_y]) @ axes.T @ sky
    moved += np.reshape(centre, (2, 1)) + np.array([[shift_x], [shift_y]]) / 3600
    rx, ry = p.reference._image.wcs.world_to_pixel_values(*moved)
    expected = ndimage.map_coordinates(p.reference._image.data, [ry, rx], order=3, mode="mirror").reshape(ny, nx)
    np.testing.assert_allclose(p.sample(x), expected, rtol=0, atol=0.02)


@given(POINTS, st.sampled_from([0.0, 2.9]))
def test_correction_says_what_the_samples_did(x, roll):
    p = problem(target_roll=roll, holes=0.0)
    correction = p.correction(x)
    for name, value in zip(PARAMETERS, x, strict=True):
        found = getattr(correction, name)
        assert u.Quantity(found).to_value(UNITS[name]) == pytest.approx(value, abs=1e-9)


def test_general_and_separable_samples_agree():
    p = problem(holes=0.3)
    for x in (START, START + np.array([7.3, -2.2, 0.01, -0.02, 0.0])):
        fast = p.sample(x)
        slow = p.reference.spline.sample(*p.reference.mapping(*_tried(p, x)))
        assert fast.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(fast), np.isnan(slow))
        # A keystone of the sky of up to a hundredth of a pixel is let pass.
        np.testing.assert_allclose(fast, slow, rtol=0, atol=0.1)


def _tried(p, x):
    ny, nx = p.target.grid.shape
    px, py = np.meshgrid(np.arange(nx, dtype=float), np.arange(ny, dtype=float))
    moved = np.einsum("ij,jkl->ikl", p.matrix(x), np.array([px, py, np.ones_like(px)]))
    return moved[0] / moved[2], moved[1] / moved[2]


def test_a_wide_field_far_off_centre_is_sampled_within_a_hundredth_of_a_pixel():
    # Where the separable road is furthest from the truth.
    target = image(np.zeros((200, 220)), centre=(-700.0, 900.0), scale=6.0)
    wide = image(np.indices((400, 420)).astype(float)[1], centre=(-700.0, 900.0), scale=6.0)
    p = Problem(target, ImageReference.of(wide, target), NCC(), target.grid, target.grid.centre, PARAMETERS)
    for shift in ([0, 0], [200.0, 0], [0, -200.0], [150, 150]):
        x = np.array([*shift, 1.0, 1.0, 0.0])
        # The reference's values are its columns: samples are coordinates.
        there = p.reference.mapping(*_tried(p, x))[0]
        assert np.nanmax(np.abs(p.sample(x) - there)) < 0.012


# The score.


@given(POINTS)
def test_pixels_leave_the_sum_when_their_sample_does(x):
    p = replace(problem(holes=0.3), min_overlap=0.0)
    x = x * [3, 3, 1, 1, 1]
    sampled = p.sample(x)
    valid = np.isfinite(sampled) & np.isfinite(p.target.data)
    if valid.sum() < 2:
        assert p.score(x) == -np.inf
        return
    expected = np.corrcoef(sampled[valid].astype(float), p.target.data[valid])[0, 1]
    assert p.score(x) == pytest.approx(expected, abs=1e-9)
    assert p.overlap(x) == valid.sum() / np.isfinite(p.target.data).sum()


def test_too_little_overlap_has_no_score():
    p = replace(problem(holes=0.0), min_overlap=0.5)
    away = START + np.array([4.0 * 54, 0, 0, 0, 0])
    assert 0 < p.overlap(away) < 0.5
    assert p.score(away) == -np.inf
    assert np.isfinite(replace(p, min_overlap=0.01).score(away))
    assert replace(p, min_overlap=0.0).score(START + np.array([1e4, 0, 0, 0, 0])) == -np.inf


def test_a_target_of_nan_has_no_score():
    p = problem()
    assert replace(p, target=replace(p.target, data=np.full_like(p.target.data, np.nan))).score(START) == -np.inf


class Returns(Metric):
    def __init__(self, value):
        self.value = value

    def score(self, reference, target, mask):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def test_bad_metrics_are_named():
    assert problem(metric=Returns(np.nan)).score(START) == -np.inf
    assert problem(metric=Returns(np.inf)).score(START) == -np.inf
    assert problem(metric=Returns(np.float32(0.5))).score(START) == 0.5
    with pytest.raises(PluginError, match="Returns returned str; a score is a float"):
        problem(metric=Returns("high")).score(START)
    with pytest.raises(PluginError, match=r"Returns failed in score\(\): KeyError: 'gone'"):
        problem(metric=Returns(KeyError("gone"))).score(START)


@given(POINTS, st.sampled_from([0.0, 2.9]), st.integers(0, 50))
def test_gradient_is_the_slope_of_the_score(x, roll, seed):
    # Without holes, so that no pixel comes or goes within a step.
    p = problem(target_roll=roll, holes=0.0, seed=seed)
    equations = p.normal_equations(x)
    t = p.target.data
    total = float(np.sum((t - t.mean()) ** 2))
    # Half the explained sum of squares; float64 samples, or differences would drown in rounding.
    spline, mapping = p.reference.spline, p.reference.mapping

    def explained(z):
        sampled = spline.sample(*mapping(*_tried(p, z)))
        return 0.5 * total * np.corrcoef(sampled.ravel(), t.ravel())[0, 1] ** 2

    steps = np.array([1e-3, 1e-3, 1e-5, 1e-5, 1e-3])
    slope = [(explained(x + h * e) - explained(x - h * e)) / (2 * h) for h, e in zip(steps, np.eye(5), strict=True)]
    scale = np.sqrt(np.diag(equations.hessian) * total) + 1e-9
    np.testing.assert_allclose(equations.gradient / scale, slope / scale, rtol=0, atol=2e-3)
    assert equations.score == pytest.approx(p.score(x), abs=1e-6)
    assert equations.n_pixels == t.size


@given(POINTS)
def test_frozen_parameters_stay_at_their_values(x):
    free = problem()
    frozen = replace(free, names=("shift_y", "rotation"), fixed={"shift_x": x[0], "scale_x": x[2], "scale_y": x[3]})
    np.testing.assert_array_equal(frozen.sample([x[1], x[4]]), free.sample(x))
    one, many = frozen.normal_equations([x[1], x[4]]), free.normal_equations(x)
    np.testing.assert_allclose(one.gradient, many.gradient[[1, 4]], rtol=1e-6, atol=1e-3)


# Levels.


@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.0, 12.0]))
def test_binned_pixels_are_where_sunpy_says(by, bx, roll):
    data = smooth_image((23, 29), seed=2)
    header_ = header(data.shape, roll=roll)
    binned = Image(data, PixelGrid(WCS(header_), data.shape)).binned(by, bx)
    whole = sunpy.map.Map(data[: 23 // by * by, : 29 // bx * bx], header_)
    theirs = whole.superpixel([bx, by] * u.pix, func=np.mean)
    np.testing.assert_allclose(binned.data, theirs.data)
    ny, nx = theirs.data.shape
    px, py = np.meshgrid(np.arange(nx), np.arange(ny))
    sky = theirs.wcs.pixel_to_world_values(px, py)
    ours = np.degrees(binned.grid.angles(px.astype(float), py.astype(float)))
    difference = (np.array(sky) - ours + 180) % 360 - 180
    # A thousandth of an arcsecond; half a pixel would be two arcseconds.
    assert np.abs(difference).max() * 3600 < 1e-3


def test_levels_look_at_the_same_sky():
    # A ramp over the sky is the same at any resolution; a slip of half a pixel would be a step of it.
    ramp = np.add.outer(2.0 * np.arange(140), 3.0 * np.arange(130))
    wide, target = image(ramp), image(np.zeros((60, 48)), scale=(3.0, 1.5))
    p = Problem(target, ImageReference.of(wide, target), NCC(), target.grid, target.grid.centre, PARAMETERS)
    x = START + np.array([9.1, -5.3, 0.02, -0.01, 0.7])
    truth = ndimage.map_coordinates(ramp, p.reference.mapping(*_tried(p, x))[::-1], order=3)
    for level in (1.0, 2.0, 4.0):
        coarse = p.at_level(level)
        by, bx = (a // b for a, b in zip((60, 48), coarse.target.grid.shape, strict=True))
        assert by > bx
        ny, nx = coarse.target.grid.shape
        expected = truth[: ny * by, : nx * bx].reshape(ny, by, nx, bx).mean(axis=(1, 3))
        np.testing.assert_allclose(coarse.sample(x), expected, rtol=0, atol=0.02)


def test_level_one_bins_to_square_pixels_of_the_reference():
    p = problem(target_scale=(4.0, 1.0), shape=(120, 30), holes=0.0)
    assert p.at_level(1.0).target.grid.shape == (30, 30)
    assert p.at_level(1.0).reference is p.reference
    assert p.at_level(1.0).n_valid == 900


# The objective.


@dataclass(frozen=True)
class Counting(NCC):
    """Knows how often it was asked."""

    calls: list

    def score(self, reference, target, mask):
        self.calls.append(1)
        return super().score(reference, target, mask)


def objective(**options):
    case = small_problem(fit=ALL, noise=3.0)
    metric = Counting([])
    return Objective(replace(case.problem, metric=metric), case.space, **options), metric.calls


def test_a_point_is_scored_once():
    o, calls = objective()
    first = o(o.space.start)
    assert o(o.space.start + 1e-12) == first
    assert o(-0.0 * o.space.start + o.space.start) == first
    assert o.many([o.space.start] * 5).tolist() == [first] * 5
    assert len(calls) == o.nfev == len(o.history) == 1
    o(o.space.start + 1e-6)
    assert len(calls) == o.nfev == 2


def test_minus_zero_is_zero():
    o, calls = objective()
    o(START)
    o(START * [-1, -1, 1, 1, -1])
    assert len(calls) == 1


@given(st.lists(POINTS, min_size=1, max_size=8), st.data())
def test_many_are_the_single_ones(points, data):
    points += data.draw(st.lists(st.sampled_from(points), max_size=4))
    o, _ = objective()
    single, _ = objective()
    assert o.many(points).tolist() == [single(x) for x in points]
    assert o.nfev == single.nfev
    assert o.best[1] == single.best[1]
    np.testing.assert_array_equal(o.best[0], single.best[0])


def test_history_has_its_columns_and_units():
    o, _ = objective()
    assert len(o.history) == 0
    o(START)
    for expected in (1, 2, 3):
        assert o.new_iteration() == expected
    o(START + np.array([8.0, -4.0, 0.01, 0.02, 0.5]))
    table = o.history
    assert table.colnames == ["iteration", "shift_x", "shift_y", "scale_x", "scale_y", "rotation", "score"]
    assert table["iteration"].tolist() == [0, 3]
    assert [table[name].unit for name in PARAMETERS] == [UNITS[name] for name in PARAMETERS]
    assert u.Quantity(table[1]["shift_x"]) == 8.0 * u.arcsec
    assert table["score"].tolist() == [o(START), o(START + np.array([8.0, -4.0, 0.01, 0.02, 0.5]))]


def test_history_names_frozen_parameters_too():
    case = small_problem(fit="shift")
    o = case.objective()
    o([1.0, 2.0])
    assert o.history["scale_x"].value.tolist() == [1.0]
    assert o.history["shift_y"].to_value(u.arcsec).tolist() == [2.0]


def test_budget():
    o, calls = objective(max_evaluations=4)
    points = START + np.arange(6)[:, None] * [1.0, 0, 0, 0, 0]
    o.many(points[:3])
    with pytest.raises(BudgetSpent):
        o.many(points)
    assert len(calls) == o.nfev == 4
    # What is known costs nothing.
    assert np.isfinite(o(points[3]))
    with pytest.raises(BudgetSpent):
        o(points[5])
    with pytest.raises(BudgetSpent):
        o.at_level(2.0)(START)
    assert o.best[1] == max(o.many(points[:4]))
    assert len(calls) == 4


def test_resolutions_share_the_budget_and_keep_their_histories():
    o, _ = objective(max_evaluations=100)
    coarse = o.at_level(2.0)
    coarse(START)
    coarse.normal_equations(START)
    o(START)
    assert o.nfev == coarse.nfev == 3
    assert len(o.history) == 1


def test_progress_hears_of_every_evaluation():
    heard = []
    o, _ = objective(progress=lambda spent, best: heard.append((spent, best)))
    scores = [o(START + np.array([k, 0, 0, 0, 0])) for k in (0.0, 9.0, 3.0)]
    assert heard == [(k + 1, max(scores[: k + 1])) for k in range(3)]


def test_best_is_none_before_and_a_copy_after():
    o, _ = objective()
    assert o.best is None
    o(START)
    o.best[0][:] = 7
    np.testing.assert_array_equal(o.best[0], START)


@given(st.floats(-15, 15), st.floats(-15, 15))
def test_shift_surface_is_the_scores_at_whole_pixels(shift_x, shift_y):
    # Pixels of both images are 4 arcsec: a shift of one is a step of the surface.
    case = small_problem(max_shift=20.0, truth={"shift_x": shift_x, "shift_y": shift_y})
    o = case.objective()
    surface = o.shift_surface(case.space.start)
    assert surface.scores.shape == (11, 11)
    for j, i in ((0, 0), (5, 5), (2, 9), (10, 3)):
        x = [surface.shift_x[j, i], surface.shift_y[j, i]]
        assert surface.scores[j, i] == pytest.approx(case.problem.score(x), abs=2e-4)


@given(st.floats(0.85, 1.15), st.floats(0.85, 1.15), st.floats(-5, 5))
def test_shift_surface_of_a_stretched_and_turned_target(scale_x, scale_y, rotation):
    # A pixel of a target that is tried a tenth larger is a shift a tenth larger.
    case = small_problem(fit=ALL, max_shift=40.0, start={"scale_x": scale_x, "scale_y": scale_y, "rotation": rotation})
    o = case.objective()
    surface = o.shift_surface(case.space.start)
    ny, nx = surface.scores.shape
    for j, i in ((ny // 2, nx // 2), (ny // 4, nx // 2), (ny // 2 + 3, nx // 4), (ny // 2 - 4, nx // 2 + 5)):
        x = o.with_shift(case.space.start, surface.shift_x[j, i], surface.shift_y[j, i])
        assert surface.scores[j, i] == pytest.approx(case.problem.score(x), abs=2e-4)


def test_powers_are_those_of_the_metric():
    case = small_problem()
    assert case.objective().has_shift_surface
    assert case.objective().has_normal_equations
    other = case.objective().with_metric(MutualInformation())
    assert not other.has_shift_surface
    assert not other.has_normal_equations


# The space.


def test_space():
    space = SearchSpace((Parameter("shift_x", -10, 10, 1, 4.0), Parameter("rotation", -2, 2, 0, 0.5)))
    assert (len(space), space.names) == (2, ("shift_x", "rotation"))
    assert [p.unit for p in space] == [u.arcsec, u.deg]
    assert (space.index("rotation"), space.index("scale_x")) == (1, None)
    np.testing.assert_array_equal(space.clip(np.array([99.0, -99.0])), [10, -2])
    np.testing.assert_array_equal(
        [space.lower, space.upper, space.start, space.step], [[-10, -2], [10, 2], [1, 0], [4, 0.5]]
    )
