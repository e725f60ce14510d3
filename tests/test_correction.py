"""What a correction is: laws, and signs proved with astropy and sunpy only."""

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import astropy.units as u
from astropy.coordinates import SkyCoord

import sunpy.map

from sunalign.correction import PARAMETERS, Correction, moved_pixels
from sunalign.correctors import correct
from sunalign.exceptions import CorrectionError
from sunalign.geometry.coordinates import ARCSEC, PixelGrid, angles, direction

SHAPE = (40, 60)


def make_map(crval=(100.0, -200.0), crpix=(30.5, 20.5), cdelt=(2.0, 1.5), roll=0.0, **more):
    cos, sin, ratio = np.cos(np.radians(roll)), np.sin(np.radians(roll)), cdelt[1] / cdelt[0]
    header = {
        "ctype1": "HPLN-TAN", "ctype2": "HPLT-TAN", "cunit1": "arcsec", "cunit2": "arcsec",
        "crval1": crval[0], "crval2": crval[1], "crpix1": crpix[0], "crpix2": crpix[1],
        "cdelt1": cdelt[0], "cdelt2": cdelt[1], "date-obs": "2024-01-01T00:00:00",
        "dsun_obs": 1.4e11, "hgln_obs": 0.0, "hglt_obs": 2.0, "rsun_ref": 6.957e8,
        "pc1_1": cos, "pc1_2": -sin * ratio, "pc2_1": sin / ratio, "pc2_2": cos,
    } | more  # fmt: skip
    return sunpy.map.Map(np.zeros(SHAPE), header)


@st.composite
def corrections(draw, scale=0.1, turn=5.0, pivot=1000.0):
    def number(limit):
        return draw(st.floats(-limit, limit, allow_subnormal=False))

    axes_angle = np.radians(number(180))
    axes = np.array([[np.cos(axes_angle), -np.sin(axes_angle)], [np.sin(axes_angle), np.cos(axes_angle)]])
    return Correction.from_parameters(
        number(60) * u.arcsec,
        number(60) * u.arcsec,
        1 + number(scale),
        1 + number(scale),
        number(turn) * u.deg,
        pivot=(number(pivot), number(pivot)) * u.arcsec,
        axes=axes,
    )


@st.composite
def sky_points(draw):
    """Directions of 20 points within about 20 arcmin of the Sun's centre."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return direction(*(rng.uniform(-1200, 1200, (2, 20)) * ARCSEC))


def separation(one, two):
    """Largest angle, in arcsec, between directions of any length."""
    one, two = (v / np.linalg.norm(v, axis=0) for v in (one, two))
    return np.abs(one - two).max() / ARCSEC


@given(correction=corrections(), points=sky_points())
def test_a_correction_then_its_inverse_is_the_identity(correction, points):
    back = correction.inverse().sky_matrix @ (correction.sky_matrix @ points)
    assert separation(back, points) < 1e-9
    twice = correction.inverse().inverse()
    assert separation(twice.sky_matrix @ points, correction.sky_matrix @ points) < 1e-9


@given(correction=corrections())
def test_in_pixels_a_correction_then_its_inverse_is_the_identity(correction):
    grid = PixelGrid(make_map().wcs, SHAPE)
    total = moved_pixels(grid, correction) @ moved_pixels(grid, correction.inverse())
    x, y = np.array([0.0, 59.0, 30.0]), np.array([0.0, 39.0, 20.0])
    moved = total @ np.array([x, y, np.ones(3)])
    assert_allclose(moved[:2] / moved[2], (x, y), rtol=0, atol=1e-9)


@given(first=corrections(), second=corrections(), third=corrections(), points=sky_points())
def test_composition_is_associative_on_the_sky(first, second, third, points):
    left = first.compose(second).compose(third)
    right = first.compose(second.compose(third))
    # One affine map about one pivot is only nearly two about two: the difference is of second order, and seen
    # with scales of 10 % about pivots 20 arcmin apart.
    assert separation(left.sky_matrix @ points, right.sky_matrix @ points) < 0.2
    step_by_step = third.sky_matrix @ second.sky_matrix @ first.sky_matrix @ points
    assert separation(left.sky_matrix @ points, step_by_step) < 0.2


@given(first=corrections(scale=0, turn=5), second=corrections(scale=0, turn=5), points=sky_points())
def test_composition_without_scale_is_exact(first, second, points):
    both = first.compose(second).sky_matrix @ points
    assert separation(both, second.sky_matrix @ first.sky_matrix @ points) < 1e-8


@given(correction=corrections(), points=sky_points())
def test_composing_with_the_inverse_does_nothing(correction, points):
    nothing = correction.compose(correction.inverse())
    assert separation(nothing.sky_matrix @ points, points) < 1e-8
    assert nothing.moved <= {"shift_x", "shift_y"} or max(
        abs(nothing.parameters[n] - (n in ("scale_x", "scale_y"))) for n in PARAMETERS
    ) < 1e-9  # fmt: skip


@given(correction=corrections())
def test_json_gives_the_same_correction_back(correction):
    again = Correction.from_dict(json.loads(json.dumps(correction.to_dict())))
    assert again == correction
    assert hash(again) == hash(correction)
    assert_allclose(again.sky_matrix, correction.sky_matrix, rtol=0, atol=1e-15)


def test_errors_and_covariance_survive_json():
    correction = Correction.from_parameters(
        3 * u.arcsec, scale_x=1.01, errors={"shift_x": 0.1, "scale_x": 1e-3}, covariance=np.diag([0.01, 1e-6])
    )
    again = Correction.from_dict(json.loads(json.dumps(correction.to_dict())))
    assert again == correction
    assert again.error("shift_x") == 0.1 * u.arcsec
    assert np.isnan(again.error("rotation"))
    assert_allclose(again.covariance, np.diag([0.01, 1e-6]))


def test_a_correction_whose_errors_are_not_known_equals_itself():
    unknown = Correction.from_parameters(
        3 * u.arcsec, errors={"shift_x": np.nan}, covariance=np.array([[np.nan, 0.0], [0.0, 1e-6]])
    )
    copies = (unknown, copy.deepcopy(unknown), pickle.loads(pickle.dumps(unknown)))
    for again in (*copies, Correction.from_dict(unknown.to_dict())):
        assert again == unknown
        assert hash(again) == hash(unknown)
    for other in (
        Correction.from_parameters(3 * u.arcsec),
        Correction.from_parameters(3 * u.arcsec, errors={"shift_x": 0.1}, covariance=unknown.covariance),
        Correction.from_parameters(3 * u.arcsec, errors=unknown.errors, covariance=np.diag([1.0, 1e-6])),
        Correction.from_parameters(3 * u.arcsec, errors=unknown.errors),
    ):
        assert other != unknown


@given(correction=corrections())
def test_parameters_are_those_it_was_made_from(correction):
    p = correction.parameters
    again = Correction.from_parameters(
        p["shift_x"] * u.arcsec, p["shift_y"] * u.arcsec, p["scale_x"], p["scale_y"], p["rotation"] * u.deg,
        pivot=correction.pivot, axes=correction.axes,
    )  # fmt: skip
    assert_allclose(again.matrix, correction.matrix, atol=1e-12)
    assert abs(correction.shear.value) < 1e-10


@settings(max_examples=10)
@given(correction=corrections(pivot=0))
def test_between_recovers_what_was_applied(correction):
    before = make_map(roll=12.0)
    after = correct(before, correction)
    found = Correction.between(before, after)
    x, y = np.meshgrid([0.0, 59.0], [0.0, 39.0])
    grid, new = PixelGrid(before.wcs, SHAPE), PixelGrid(after.wcs, SHAPE)
    assert separation(found.sky_matrix @ grid.to_directions(x, y).reshape(3, -1),
                      new.to_directions(x, y).reshape(3, -1)) < 2e-4  # fmt: skip


def test_between_says_the_parameters_about_the_pivot():
    before = make_map(roll=12.0)
    grid = PixelGrid(before.wcs, SHAPE)
    pivot = np.array([float(a) for a in grid.angles(*grid.centre)]) * u.rad
    jacobian = grid.jacobian(*grid.centre)
    asked = Correction.from_parameters(
        3 * u.arcsec, -2 * u.arcsec, 1.05, 0.98, 0.7 * u.deg, pivot=pivot, axes=jacobian / np.hypot(*jacobian)
    )
    found = Correction.between(before, correct(before, asked))
    for name, value in asked.parameters.items():
        assert found.parameters[name] == pytest.approx(value, abs=1e-6)
    elsewhere = Correction.between(before, correct(before, asked), pivot=(80, -190) * u.arcsec)
    assert_allclose(elsewhere.about(pivot).shift.value, asked.shift.value, atol=1e-4)


def test_between_wants_two_versions_of_one_image():
    with pytest.raises(CorrectionError, match=r"two versions of one image.*\(40, 60\) and \(20, 20\)"):
        Correction.between(make_map(), make_map().submap([0, 0] * u.pix, top_right=[19, 19] * u.pix))


# Signs, each from what astropy and sunpy say about the corrected map.


def test_a_shift_is_added_as_shift_reference_coord_does():
    before = make_map()
    shift = (7.5, -3.25) * u.arcsec
    correction = Correction.from_parameters(*shift, pivot=(100, -200) * u.arcsec)
    after, expected = correct(before, correction), before.shift_reference_coord(*shift)
    assert after.meta["crval1"] == pytest.approx(expected.meta["crval1"], abs=1e-9)
    assert after.meta["crval2"] == pytest.approx(expected.meta["crval2"], abs=1e-9)
    for x, y in [(0, 0), (59, 39), (0, 39)]:
        new = after.pixel_to_world(x * u.pix, y * u.pix)
        assert new.separation(expected.pixel_to_world(x * u.pix, y * u.pix)) < 1e-6 * u.arcsec
        old = before.pixel_to_world(x * u.pix, y * u.pix)
        assert_allclose([(new.Tx - old.Tx).value, (new.Ty - old.Ty).value], shift.value, atol=1e-3)


@pytest.mark.parametrize("roll", [0.0, 30.0, -120.0])
def test_rotation_turns_a_point_west_of_the_pivot_towards_north(roll):
    before = make_map(crval=(0.0, 0.0), roll=roll)
    west = before.world_to_pixel(SkyCoord(20 * u.arcsec, 0 * u.arcsec, frame=before.coordinate_frame))
    after = correct(before, Correction.from_parameters(rotation=10 * u.deg))
    moved = after.pixel_to_world(*west)
    assert moved.Tx.to_value(u.arcsec) == pytest.approx(20 * np.cos(np.radians(10)), abs=1e-6)
    assert moved.Ty.to_value(u.arcsec) == pytest.approx(20 * np.sin(np.radians(10)), abs=1e-6)
    origin = before.world_to_pixel(SkyCoord(0 * u.arcsec, 0 * u.arcsec, frame=before.coordinate_frame))
    still = after.pixel_to_world(*origin)
    assert np.hypot(still.Tx, still.Ty) < 1e-6 * u.arcsec


def test_scale_multiplies_the_pixel_size_about_the_pivot():
    before = make_map(crval=(0.0, 0.0))
    after = correct(before, Correction.from_parameters(scale_x=1.1, scale_y=0.9, pivot=(10, -6) * u.arcsec))
    pivot = SkyCoord(10 * u.arcsec, -6 * u.arcsec, frame=before.coordinate_frame)
    still = after.pixel_to_world(*before.world_to_pixel(pivot))
    assert_allclose([still.Tx.value, still.Ty.value], [10, -6], atol=1e-6)
    assert_allclose([after.scale[0].value, after.scale[1].value], [2.2, 1.35], rtol=1e-9)


def test_scales_are_along_the_pixel_axes_of_a_rolled_image():
    before = make_map(crval=(0.0, 0.0), roll=25.0)
    angle = np.radians(25.0)
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    after = correct(before, Correction.from_parameters(scale_x=1.2, axes=axes))
    corners = [(0, 0), (1, 0), (0, 1)]
    old, new = ([m.pixel_to_world(x * u.pix, y * u.pix) for x, y in corners] for m in (before, after))
    for corner, expected in [(1, 1.2), (2, 1.0)]:
        ratio = new[0].separation(new[corner]).arcsec / old[0].separation(old[corner]).arcsec
        assert ratio == pytest.approx(expected, rel=1e-6)


def test_the_sky_matrix_carries_the_pivot_to_the_pivot_plus_the_shift():
    correction = Correction.from_parameters(
        12 * u.arcsec, -7 * u.arcsec, 1.1, 0.9, 3 * u.deg, pivot=(500, 300) * u.arcsec
    )
    start = direction(500 * ARCSEC, 300 * ARCSEC)
    assert_allclose(np.array(angles(correction.sky_matrix @ start)) / ARCSEC, (512, 293), atol=1e-9)


# What it says, and what it refuses.


def test_repr_says_what_moved_and_by_how_much():
    assert repr(Correction()) == "<Correction: nothing moves>"
    correction = Correction.from_parameters(3.123 * u.arcsec, scale_x=1.06, errors={"shift_x": 0.05, "scale_x": 2e-4})
    assert repr(correction) == "<Correction: shift_x 3.123 ± 0.050 arcsec, scale_x 1.06000 ± 0.00020>"
    assert correction.moved == {"shift_x", "scale_x"}


def test_half_a_turn_has_no_seam():
    turned = Correction(matrix=-np.eye(2) + 1e-9 * np.array([[0, 1], [1, 0]]))
    assert abs(turned.rotation.value) == pytest.approx(180)
    assert abs(turned.shear.value) < 1e-6


@pytest.mark.parametrize("bad", [3, 3 * u.km, [1, 2] * u.arcsec])
def test_a_shift_is_a_quantity_of_one_angle(bad):
    with pytest.raises(TypeError, match=r"'shift_x' is a Quantity of one angle such as 3 \* u\.arcsec"):
        Correction.from_parameters(bad)


def test_bad_values_are_named():
    with pytest.raises(CorrectionError, match="scale_x=0"):
        Correction.from_parameters(scale_x=0)
    with pytest.raises(CorrectionError, match="'matrix' of a correction"):
        Correction(matrix=np.zeros((2, 2)))
    with pytest.raises(TypeError, match="'pivot' is a Quantity"):
        Correction(pivot=(0, 0))
    with pytest.raises(CorrectionError, match=r"to_dict\(\) writes it"):
        Correction.from_dict({"shift_x": 1})
