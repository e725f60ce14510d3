"""The gradient of the correlation, against that of the second-order model and against differences of the score."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from astropy.wcs import WCS

from sunalign.geometry.coordinates import PixelGrid
from sunalign.images import Image
from sunalign.metrics import NCC
from sunalign.model.gradient import ncc_gradient
from sunalign.model.problem import Problem
from sunalign.model.reference import ImageReference

NAMES = ("shift_x", "shift_y", "scale_x", "scale_y", "rotation")
TRIAL = np.array([2.0, -1.3, 1.01, 0.99, 0.4])


def grid(shape, roll):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit, wcs.wcs.cdelt = ["HPLN-TAN", "HPLT-TAN"], ["arcsec"] * 2, [2.0] * 2
    wcs.wcs.crpix = (np.array(shape[::-1]) + 1) / 2
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    wcs.wcs.pc = [[cos, -sin], [sin, cos]]
    wcs.wcs.set()
    return PixelGrid(wcs, shape)


def problem(roll, holes):
    rng = np.random.default_rng(5)
    wide = ndimage.gaussian_filter(rng.normal(size=(110, 120)), 2.5)
    data = wide[20:-20, 20:-20] + 0.01 * rng.normal(size=(70, 80))
    if holes:
        data[5:9, 10:40] = np.nan
        wide[60:64, 50:53] = np.nan
    target = Image(data, grid(data.shape, roll))
    reference = ImageReference.of(Image(wide, grid(wide.shape, 0.0)), target)
    return Problem(target, reference, NCC(), target.grid, target.grid.centre, NAMES)


@pytest.mark.parametrize("roll", [0.0, 0.7, 31.0, 90.0])
@pytest.mark.parametrize("holes", [False, True])
def test_it_is_that_of_the_normal_equations(roll, holes):
    p = problem(roll, holes)
    expected = p.normal_equations(TRIAL)
    scale = np.sqrt(np.diag(expected.hessian))
    np.testing.assert_allclose(ncc_gradient(p, TRIAL) / scale, expected.gradient / scale, rtol=2e-4, atol=1e-6)


def test_it_is_the_slope_of_the_score():
    p = problem(0.7, holes=False)
    found, equations = ncc_gradient(p, TRIAL), p.normal_equations(TRIAL)
    for i, step in enumerate((0.02, 0.02, 1e-4, 1e-4, 0.01)):
        offset = step * np.eye(5)[i]
        # The score is sqrt(1 - R / T), with R the sum of squares that the best gain leaves: dR = -2 gradient.
        low, high = (1 - p.score(TRIAL + sign * offset) ** 2 for sign in (-1, 1))
        total = np.sum((p.target.data - p.target.data.mean()) ** 2)
        expected = -total * (high - low) / (2 * step) / 2
        assert found[i] == pytest.approx(expected, rel=2e-2, abs=2e-2 * np.sqrt(equations.hessian[i, i]))


def test_a_constant_reference_has_none():
    p = problem(0.0, holes=False)
    flat = replace(p, reference=p.reference.mapped(np.ones_like))
    np.testing.assert_array_equal(ncc_gradient(flat, TRIAL), 0.0)
