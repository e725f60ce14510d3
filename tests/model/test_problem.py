"""At which resolution images are compared."""

import numpy as np
import pytest
from scipy import ndimage

from astropy.wcs import WCS

from sunalign.geometry.coordinates import PixelGrid
from sunalign.images import Image
from sunalign.metrics import NCC
from sunalign.model.fixed_pattern import fixed_pattern
from sunalign.model.problem import MANY, Problem
from sunalign.model.reference import ImageReference

NAMES = ("shift_x", "shift_y")
MARGIN = 20


def grid(shape):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit, wcs.wcs.cdelt = ["HPLN-TAN", "HPLT-TAN"], ["arcsec"] * 2, [0.6] * 2
    wcs.wcs.crpix = (np.array(shape[::-1]) + 1) / 2
    wcs.wcs.set()
    return PixelGrid(wcs, shape)


def problem(side, moved=0, pattern=0.0):
    """Of a target moved by some pixels against the reference, both with what stays on the detector."""
    rng = np.random.default_rng(1)
    n = side + 2 * MARGIN
    scene = ndimage.gaussian_filter(rng.normal(size=(n, n + moved)), 3.0)
    dust = pattern * scene.std() * rng.normal(size=(n, n))
    inside = slice(MARGIN, MARGIN + side)
    target = (scene[:, moved:] + dust)[inside, inside]
    reference = Image(scene[:, :n] + dust, grid((n, n)))
    target = Image(target, grid((side, side)))
    return Problem(target, ImageReference.of(reference, target), NCC(), target.grid, target.grid.centre, NAMES)


def test_few_pixels_are_compared_as_they_are():
    given = problem(96)
    compared = given.as_compared()
    assert compared.whole is None
    assert compared.target.data.shape == given.target.data.shape


def test_many_are_compared_at_half_resolution():
    given = problem(740)
    assert given.target.data.size > MANY
    compared = given.as_compared()
    assert compared.target.data.shape == (370, 370)
    assert compared.whole is given
    assert compared.at_finest_level() is compared.at_level(1.0)
    assert compared.at_finest_level().target is compared.target
    # A level is as coarse as it is for any other image.
    for level in (2.0, 4.0, 8.0):
        assert compared.at_level(level).target.data.shape == given.at_level(level).target.data.shape
    # It is the same trial, and the same answer.
    np.testing.assert_allclose(
        compared.matrix([3.0, -2.0])[:, 2] - given.matrix([3.0, -2.0])[:, 2], [0.5, 0.5, 0], atol=1e-6
    )
    assert compared.score([0.0, 0.0]) == pytest.approx(1.0, abs=1e-6)
    assert compared.score([0.6, 0.0]) < 0.999


@pytest.mark.parametrize("moved", [0, 7])
def test_patterns_of_the_detector_are_looked_for_in_its_own_pixels(moved):
    given = problem(740, moved, pattern=1.0)
    found = fixed_pattern(given.as_compared(), np.zeros(2), 12.0)
    assert found == fixed_pattern(given, np.zeros(2), 12.0)
    assert (found.moved_scene > 0.25) == (moved > 0)
