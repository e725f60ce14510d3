"""Matrices of moved pixels, against the correction that says the same, and their derivatives against differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astropy.units as u
from astropy.wcs import WCS

from sunalign.correction import PARAMETERS, UNITS, Correction, moved_pixels
from sunalign.geometry.coordinates import ARCSEC, PixelGrid, apply_homography
from sunalign.model.moved_grid import MovedGrid

STEPS = dict(zip(PARAMETERS, (1.0, 1.0, 1e-4, 1e-4, 1e-2), strict=True))


def grid(roll, crval=(900.0, -1500.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit, wcs.wcs.cdelt = ["HPLN-TAN", "HPLT-TAN"], ["arcsec"] * 2, [4.0, 1.1]
    wcs.wcs.crpix, wcs.wcs.crval = (30.0, 200.0), crval
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    wcs.wcs.pc = [[cos, -sin * 1.1 / 4.0], [sin * 4.0 / 1.1, cos]]
    wcs.wcs.set()
    return PixelGrid(wcs, (400, 64))


@st.composite
def trials(draw):
    numbers = [draw(st.floats(-300, 300)), draw(st.floats(-300, 300)), draw(st.floats(0.8, 1.2))]
    numbers += [draw(st.floats(0.8, 1.2)), draw(st.floats(-5, 5))]
    return dict(zip(PARAMETERS, numbers, strict=True))


@given(trials(), st.floats(-180, 180))
def test_pixels_are_where_the_correction_puts_them(values, roll):
    base, pivot = grid(roll), (20.0, 310.0)
    moved = MovedGrid(base, pivot)
    arguments = {k: v if k.startswith("scale") else v * UNITS[k] for k, v in values.items()}
    correction = Correction.from_parameters(
        **arguments, pivot=np.array(base.angles(*pivot)) / ARCSEC * u.arcsec, axes=base.axes(*pivot)
    )
    x, y = np.array([0.0, 63, 20, 5]), np.array([0.0, 399, 310, 280])
    expected = apply_homography(moved_pixels(base, correction), x, y)
    np.testing.assert_allclose(apply_homography(moved.matrix(values), x, y), expected, rtol=0, atol=1e-6)


@given(trials(), st.floats(-180, 180))
def test_derivatives_are_those_of_the_matrix(values, roll):
    moved = MovedGrid(grid(roll), (20.0, 310.0))
    corners = np.array([[0.0, 63, 0, 63], [0.0, 0, 399, 399], np.ones(4)])
    here = moved.matrix(values) @ corners
    for name, derivative in zip(PARAMETERS, moved.derivatives(values, PARAMETERS), strict=True):
        low, high = (
            np.array(apply_homography(moved.matrix({**values, name: values[name] + sign * STEPS[name]}), *corners[:2]))
            for sign in (-1, 1)
        )
        change = derivative @ corners
        found = (change[:2] - here[:2] / here[2] * change[2]) / here[2]
        # Pixels by which a step moves the corners.
        np.testing.assert_allclose(found * STEPS[name], (high - low) / 2, rtol=0, atol=1e-5)


def test_only_the_parameters_that_are_asked_for():
    moved, values = MovedGrid(grid(1.0), (3.0, 4.0)), dict(zip(PARAMETERS, (1.0, 2, 1, 1, 0), strict=True))
    all_of_them = moved.derivatives(values, PARAMETERS)
    np.testing.assert_array_equal(moved.derivatives(values, ("rotation", "shift_x")), all_of_them[[4, 0]])
    assert moved.derivatives(values, ()).shape == (0, 3, 3)


def test_nothing_moved_is_the_pixel_itself():
    still = dict(zip(PARAMETERS, (0.0, 0, 1, 1, 0), strict=True))
    found = MovedGrid(grid(12.0), (3.0, 4.0)).matrix(still)
    assert found / found[2, 2] == pytest.approx(np.eye(3), abs=1e-9)
