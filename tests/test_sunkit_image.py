"""The conventions of sunkit-image: whatever goes there and back says the same about every pixel."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import astropy.units as u

import sunpy.map

import sunalign
from sunalign import simulate
from sunalign.correction import Correction
from sunalign.exceptions import CorrectionError, PluginConflictError, SunalignUserWarning
from sunalign.sunkit_image import (
    AffineParams,
    coalign_arrays,
    from_affine_params,
    register_with_sunkit_image,
    to_affine_params,
)

PIXEL = 4.44 * u.arcsec


def make_map(shape=(60, 80), *, scale=4.44, roll=0.0, crval=(40.0, -30.0), projection="TAN"):
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    header = {
        "CTYPE1": f"HPLN-{projection}", "CTYPE2": f"HPLT-{projection}", "CUNIT1": "arcsec", "CUNIT2": "arcsec",
        "CRVAL1": crval[0], "CRVAL2": crval[1], "CDELT1": scale, "CDELT2": scale,
        "CRPIX1": (shape[1] + 1) / 2, "CRPIX2": (shape[0] + 1) / 2,
        "PC1_1": cos, "PC1_2": -sin, "PC2_1": sin, "PC2_2": cos,
        "DATE-OBS": "2024-10-17T00:00:00", "DSUN_OBS": 1.5e11, "HGLN_OBS": 0.0, "HGLT_OBS": 0.0,
    }  # fmt: skip
    return sunpy.map.Map(np.zeros(shape), header)


def sky(image, x, y):
    """Angles in arcsec by astropy alone."""
    lon, lat = image.wcs.wcs_pix2world(x, y, 0)
    return np.array([(lon + 180) % 360 - 180, lat]) * 3600


def pixels(image):
    ny, nx = image.data.shape
    return np.array([axis.ravel() for axis in np.meshgrid(np.linspace(0, nx - 1, 5), np.linspace(0, ny - 1, 5))])


def mapped(params, points):
    """As `sunkit_image.coalignment.interface.update_map_metadata` has it."""
    return (params.scale * params.rotation_matrix) @ points + np.reshape(params.translation, (2, 1))


@st.composite
def corrections(draw):
    def number(low, high):
        return draw(st.floats(low, high))

    return Correction.from_parameters(
        number(-90, 90) * u.arcsec, number(-90, 90) * u.arcsec, number(0.9, 1.1), number(0.9, 1.1),
        number(-3, 3) * u.deg, pivot=(number(-300, 300), number(-300, 300)) * u.arcsec,
    )  # fmt: skip


REFERENCES = {
    "same pixels": make_map(),
    "other pixels": make_map((90, 70), scale=6.1, roll=11.0, crval=(-20.0, 60.0)),
    "far centre": make_map((300, 300), scale=2.0, crval=(500.0, -400.0)),
}


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
@given(correction=corrections(), roll=st.sampled_from([0.0, -8.0]))
def test_the_reference_pixel_shows_the_corrected_sky(reference, correction, roll):
    target = make_map(roll=roll)
    points = pixels(target)
    params = to_affine_params(correction, target, reference)
    corrected = sky(sunalign.correct(target, correction), *points)
    assert_allclose(sky(reference, *mapped(params, points)), corrected, atol=0.02 * 4.44)


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES)
@given(correction=corrections())
def test_there_and_back(reference, correction):
    target = make_map(roll=5.0)
    again = from_affine_params(to_affine_params(correction, target, reference), target, reference)
    points = pixels(target)
    one, two = (sky(sunalign.correct(target, c), *points) for c in (correction, again))
    assert_allclose(one, two, atol=0.02 * 4.44)


def test_the_columns_are_scaled_before_they_are_rotated():
    # A target twice as coarse along x whose axes are turned by 90 degrees on the reference: x goes up, y to the left.
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    params = SimpleNamespace(scale=(2.0, 1.0), rotation_matrix=turn.tolist(), translation=[30.0, 5.0])
    target, reference = make_map((20, 10)), make_map((60, 60))
    found = from_affine_params(params, target, reference)
    corrected = sunalign.correct(target, found)
    assert_allclose(sky(corrected, 0, 0), sky(reference, 30, 5), atol=1e-3)
    assert_allclose(sky(corrected, 3, 0), sky(reference, 30, 11), atol=1e-3)
    assert_allclose(sky(corrected, 0, 3), sky(reference, 27, 5), atol=1e-3)
    assert found.rotation.to_value(u.deg) == pytest.approx(90, abs=1e-3)
    assert (found.scale_x, found.scale_y) == pytest.approx((2, 1), rel=1e-3)
    again = to_affine_params(found, target, reference)
    assert_allclose(again.scale, [2, 1], rtol=1e-4)
    assert_allclose(again.rotation_matrix, turn, atol=1e-4)
    assert_allclose(again.translation, [30, 5], atol=1e-3)


def test_a_shift_between_equal_pixels_has_exactly_no_linear_part():
    correction = Correction.from_parameters(13.0 * u.arcsec, -30.0 * u.arcsec, pivot=(200, 300) * u.arcsec)
    params = to_affine_params(correction, make_map((400, 400)), make_map((500, 600), crval=(90.0, -10.0)))
    assert (params.scale == 1).all()
    assert (params.rotation_matrix == np.eye(2)).all()
    # Centres coincide but for the shift and the two CRVAL.
    expected = [100 + (40 - 90 + 13) / 4.44, 50 + (-30 + 10 - 30) / 4.44]
    assert_allclose(params.translation, expected, atol=0.01)


def test_what_no_affine_map_says_is_refused():
    wide = make_map((100, 100), scale=3600.0, projection="ARC")
    with pytest.raises(CorrectionError, match=r"misses the correction by .* pixels"):
        to_affine_params(Correction(), wide, make_map((230, 230), scale=1800.0))
    behind = make_map(crval=(180 * 3600.0, 0.0))
    with pytest.raises(CorrectionError, match="not on the reference's sky"):
        to_affine_params(Correction(), behind, make_map())


@pytest.fixture(scope="module")
def pair():
    return simulate.image_pair(seed=3, shape=(120, 140), scale=PIXEL, reference_scale=PIXEL, roll=0 * u.deg)


def test_arrays_alone_give_the_shift(pair):
    found = coalign_arrays(pair.target.data, pair.reference.data)
    truth = Correction.from_parameters(13.7 * u.arcsec, -8.2 * u.arcsec)
    assert_allclose(found.translation, to_affine_params(truth, pair.target, pair.reference).translation, atol=0.05)
    assert (found.scale == 1).all()
    assert (found.rotation_matrix == np.eye(2)).all()


def test_a_cutout_is_found_anywhere_in_the_reference(pair):
    data = np.array(pair.reference.data, float)
    cutout = data[3:63, 97:147].copy()
    cutout[:9] = np.nan
    assert_allclose(coalign_arrays(cutout, data).translation, [97, 3], atol=0.02)


def test_a_target_that_reaches_beyond_the_reference_is_found(pair):
    data = np.array(pair.reference.data, float)
    assert_allclose(coalign_arrays(data[:100, :90], data[30:, 20:]).translation, [-20, -30], atol=0.02)


def test_max_shift_is_between_the_centres_in_pixels(pair):
    data = np.array(pair.reference.data, float)
    one, two = data[:100, :100], data[12:112, :100]
    assert_allclose(coalign_arrays(one, two, max_shift=15 * u.pix).translation, [0, -12], atol=0.02)
    with pytest.warns(SunalignUserWarning, match="doubtful"):
        assert np.abs(coalign_arrays(one, two, max_shift=5 * u.pix).translation).max() <= 5 + 1e-6
    with pytest.raises(TypeError, match="Quantity of pixels"):
        coalign_arrays(one, two, max_shift=5)


def test_options_of_plugins_go_through(pair):
    shifted = coalign_arrays(
        pair.target.data, pair.reference.data, optimizer="hill-climb", n_neighbors=40, max_shift=30 * u.pix, rng=1
    )
    assert_allclose(shifted.translation, coalign_arrays(pair.target.data, pair.reference.data).translation, atol=0.2)


@pytest.mark.parametrize("name", ["fit", "corrector", "reference_builder"])
def test_more_than_a_shift_is_refused(pair, name):
    with pytest.raises(TypeError, match=rf"only a shift, so {name} cannot be chosen here; use sunalign\.align"):
        coalign_arrays(pair.target.data, pair.reference.data, **{name: "scale"})


def test_cubes_are_refused():
    with pytest.raises(CorrectionError, match="one of 3 dimensions"):
        coalign_arrays(np.zeros((3, 4, 5)), np.zeros((4, 5)))


@pytest.fixture
def register(monkeypatch):
    """Stand in for sunkit-image's registry, wherever the tests run."""
    module = ModuleType("sunkit_image.coalignment.register")
    module.REGISTERED_METHODS = {}

    def register_coalignment_method(name):
        return lambda function: module.REGISTERED_METHODS.setdefault(name, function)

    module.register_coalignment_method = register_coalignment_method
    for name in ("sunkit_image", "sunkit_image.coalignment"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.REGISTERED_METHODS


def test_registration_is_repeatable(register):
    register_with_sunkit_image()
    register_with_sunkit_image()
    assert register == {"sunalign": coalign_arrays}


def test_a_name_that_is_taken_is_left_alone(register):
    register["sunalign"] = len
    with pytest.raises(PluginConflictError, match="Another package"):
        register_with_sunkit_image()
    assert register["sunalign"] is len


def test_without_sunkit_image_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sunkit_image.coalignment.register", None)
    with pytest.raises(ImportError, match=r"sunkit-image 0\.7 or newer, which needs Python 3\.12"):
        register_with_sunkit_image()


@pytest.fixture
def sunkit(monkeypatch):
    """sunkit-image's own interface, with our method registered for one test."""
    reason = "sunkit-image 0.7, which has methods of coalignment, needs Python 3.12"
    pytest.importorskip("sunkit_image", minversion="0.7", reason=reason)
    from sunkit_image.coalignment import interface
    from sunkit_image.coalignment.register import REGISTERED_METHODS

    monkeypatch.delitem(REGISTERED_METHODS, "sunalign", raising=False)
    register_with_sunkit_image()
    return interface


def largest_distance(one, two):
    """In pixels."""
    points = pixels(one)
    return np.hypot(*(sky(one, *points) - sky(two, *points))).max() / PIXEL.value


def test_sunkit_image_gives_the_map_that_we_give(sunkit, pair):
    theirs = sunkit.coalign_map(pair.target, pair.reference, method="sunalign")
    ours = sunalign.align(pair.target, pair.reference).aligned
    assert largest_distance(theirs, ours) < 0.1
    assert largest_distance(theirs, pair.target) > 3
    assert theirs.meta["crval1"] - pair.target.meta["crval1"] == pytest.approx(13.7, abs=0.4)
    assert theirs.meta["crval2"] - pair.target.meta["crval2"] == pytest.approx(-8.2, abs=0.4)


def test_sunkit_image_understands_our_parameters_and_we_theirs(sunkit, pair):
    correction = Correction.from_parameters(-31.0 * u.arcsec, 12.0 * u.arcsec, pivot=(100, 50) * u.arcsec)
    params = to_affine_params(correction, pair.target, pair.reference)
    ours = sunalign.correct(pair.target, correction)
    assert largest_distance(sunkit.update_map_metadata(pair.target, pair.reference, params), ours) < 0.01
    theirs = sunkit.AffineParams(params.scale, params.rotation_matrix, tuple(params.translation))
    again = from_affine_params(theirs, pair.target, pair.reference)
    assert largest_distance(sunalign.correct(pair.target, again), ours) < 0.01


def test_our_parameters_have_the_fields_of_theirs(sunkit):
    names = list(sunkit.AffineParams.__dataclass_fields__)
    assert list(AffineParams.__dataclass_fields__) == names == ["scale", "rotation_matrix", "translation"]


def test_sunkit_image_refuses_scale_and_rotation(sunkit, pair):
    correction = Correction.from_parameters(rotation=1 * u.deg)
    with pytest.raises(NotImplementedError, match="rotation metadata"):
        sunkit.update_map_metadata(
            pair.target, pair.reference, to_affine_params(correction, pair.target, pair.reference)
        )
