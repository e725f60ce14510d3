"""Sums over planes, against normal equations from arrays of derivatives, and curvatures against differences."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import ndimage

from astropy.wcs import WCS

from sunalign.geometry.coordinates import PixelGrid
from sunalign.images import Image
from sunalign.metrics import NCC, Residual
from sunalign.model.curvature import ncc_curvature
from sunalign.model.plane_sums import speaks_of_planes
from sunalign.model.problem import Problem
from sunalign.model.reference import ImageReference
from sunalign.model.reference_contract import Reference

NAMES = ("shift_x", "shift_y", "scale_x", "scale_y", "rotation")
TRIAL = np.array([2.0, -1.3, 1.01, 0.99, 0.4])
STEPS = np.array([0.02, 0.02, 5e-4, 5e-4, 0.03])


def grid(shape, roll):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit, wcs.wcs.cdelt = ["HPLN-TAN", "HPLT-TAN"], ["arcsec"] * 2, [2.0] * 2
    wcs.wcs.crpix = (np.array(shape[::-1]) + 1) / 2
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    wcs.wcs.pc = [[cos, -sin], [sin, cos]]
    wcs.wcs.set()
    return PixelGrid(wcs, shape)


def problem(roll, holes, offset=0.0):
    rng = np.random.default_rng(5)
    wide = ndimage.gaussian_filter(rng.normal(size=(110, 120)), 2.5) + offset
    data = wide[20:-20, 20:-20] + 0.01 * rng.normal(size=(70, 80))
    if holes:
        data[5:9, 10:40] = np.nan
        wide[60:64, 50:53] = np.nan
    target = Image(data, grid(data.shape, roll))
    reference = ImageReference.of(Image(wide, grid(wide.shape, 0.0)), target)
    return Problem(target, reference, NCC(), target.grid, target.grid.centre, NAMES)


@dataclass(frozen=True, kw_only=True)
class NCCFromArrays(NCC):
    """Asked for its normal equations, because they are its own."""

    def normal_equations(self, *arguments):
        return super().normal_equations(*arguments)


@pytest.mark.parametrize("roll", [0.0, 0.7, 31.0, 90.0])
@pytest.mark.parametrize("holes", [False, True])
def test_equations_are_those_from_arrays_of_derivatives(roll, holes):
    p = problem(roll, holes)
    found = p.normal_equations(TRIAL)
    expected = replace(p, metric=NCCFromArrays()).normal_equations(TRIAL)
    scale = np.sqrt(np.diag(expected.hessian))
    assert found.n_pixels == expected.n_pixels
    assert found.score == pytest.approx(expected.score, rel=1e-12)
    np.testing.assert_allclose(found.gradient / scale, expected.gradient / scale, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(
        found.hessian / np.outer(scale, scale), expected.hessian / np.outer(scale, scale), atol=1e-5
    )


def test_an_offset_of_many_sigmas_costs_no_digits():
    p = problem(0.7, holes=True)
    lifted = replace(p, target=replace(p.target, data=p.target.data + 1e5))
    a, b = p.normal_equations(TRIAL), lifted.normal_equations(TRIAL)
    assert b.score == pytest.approx(a.score, rel=1e-9)
    np.testing.assert_allclose(b.gradient, a.gradient, rtol=1e-4)
    np.testing.assert_allclose(b.hessian, a.hessian, rtol=1e-4)


def test_the_gradient_is_the_slope_of_the_score():
    p = problem(0.7, holes=False)
    found = p.normal_equations(TRIAL)
    for i, step in enumerate((0.02, 0.02, 1e-4, 1e-4, 0.01)):
        offset = step * np.eye(5)[i]
        # The score is sqrt(1 - R / T), with R the sum of squares that the best gain leaves: dR = -2 gradient.
        low, high = (1 - p.score(TRIAL + sign * offset) ** 2 for sign in (-1, 1))
        total = np.sum((p.target.data - p.target.data.mean()) ** 2)
        expected = -total * (high - low) / (2 * step) / 2
        assert found.gradient[i] == pytest.approx(expected, rel=2e-2, abs=2e-2 * np.sqrt(found.hessian[i, i]))


@pytest.mark.parametrize("level", ["target", "reference"])
def test_a_constant_image_has_none(level):
    p = problem(0.0, holes=False)
    if level == "reference":
        flat = replace(p, reference=p.reference.mapped(np.ones_like))
    else:
        flat = replace(p, target=replace(p.target, data=np.full_like(p.target.data, 3.7)))
    equations = flat.normal_equations(TRIAL)
    assert equations.score == 0.0
    np.testing.assert_array_equal(equations.gradient, 0.0)


def test_nothing_to_compare_has_none():
    p = problem(0.0, holes=False)
    empty = replace(p, target=p.target.masked(np.ones(p.target.data.shape, bool)))
    equations = empty.normal_equations(TRIAL)
    assert (equations.score, equations.n_pixels) == (0.0, 0)


def test_a_subclass_with_equations_of_its_own_is_asked_for_those():
    assert speaks_of_planes(NCC())
    assert not speaks_of_planes(NCCFromArrays())
    assert not speaks_of_planes(Residual())


def curvature(p, x):
    return ncc_curvature(p.with_bends(x), p.target.data, p.displacements(x))


@pytest.mark.parametrize("roll", [0.0, 0.7, 31.0])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("trial", [np.array([0.0, 0.0, 1.0, 1.0, 0.0]), np.array([0.5, -0.3, 1.003, 0.998, 0.2])])
def test_the_curvature_is_the_slope_of_the_gradient(roll, holes, trial):
    # The target is turned as its grid is: at the first trial the two images are about the same.
    p = problem(0.0, holes) if roll == 0.0 else turned(roll, holes)
    seen, expected = curvature(p, trial)
    differences = np.empty((5, 5))
    for k, step in enumerate(STEPS):
        low, high = (p.normal_equations(trial + sign * step * np.eye(5)[k]).gradient for sign in (-1, 1))
        differences[:, k] = (low - high) / (2 * step)
    scale = np.sqrt(np.diag(expected))
    scale = np.outer(scale, scale)
    np.testing.assert_allclose(seen / scale, (differences + differences.T) / 2 / scale, rtol=0, atol=0.02)
    np.testing.assert_allclose(expected / scale, p.normal_equations(trial).hessian / scale, rtol=0, atol=1e-5)


def turned(roll, holes):
    """A problem whose target shows what its header says, with noise in both images that bends the correlation."""
    p = problem(roll, holes)
    rng = np.random.default_rng(6)
    seen = p.sample([0.0, 0.0, 1.0, 1.0, 0.0]) + 0.02 * rng.normal(size=p.target.data.shape)
    data = np.where(np.isfinite(p.target.data), seen, np.nan)
    noisy = p.reference.mapped(lambda image: image + 0.02 * rng.normal(size=image.shape))
    return replace(p, target=replace(p.target, data=data), reference=noisy)


@pytest.mark.parametrize("roll", [0.0, 31.0])
def test_differences_serve_where_there_is_no_closed_form(roll):
    class PointByPoint(ImageReference):
        sample_grid = Reference.sample_grid
        sample_grid_with_gradient = Reference.sample_grid_with_gradient
        sample_grid_with_curvature = Reference.sample_grid_with_curvature

    fast = turned(roll, holes=False)
    slow = replace(fast, reference=PointByPoint(fast.reference._image, fast.reference.mapping))
    trial = np.array([0.5, -0.3, 1.003, 0.998, 0.2])
    a, b = fast.with_bends(trial), slow.with_bends(trial)
    for exact, difference in zip(a.bends, b.bends, strict=True):
        known = np.isfinite(exact) & np.isfinite(difference)
        # Second derivatives of a spline have kinks, which a difference blunts.
        assert np.std((exact - difference)[known]) < 0.15 * np.std(exact[known])
    (ours, _), (theirs, expected) = curvature(fast, trial), curvature(slow, trial)
    scale = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(ours / np.outer(scale, scale), theirs / np.outer(scale, scale), rtol=0, atol=0.05)


def test_an_image_without_structure_has_no_curvature():
    p = problem(0.0, holes=False)
    flat = replace(p, reference=p.reference.mapped(np.ones_like))
    for matrix in curvature(flat, TRIAL):
        np.testing.assert_array_equal(matrix, 0.0)
