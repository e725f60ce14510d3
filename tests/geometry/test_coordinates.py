"""Pixel grids against astropy's own WCS; crops and bins against sunpy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

import sunpy.map

from sunalign.geometry.coordinates import ARCSEC, PixelGrid, angles, apply_homography, direction, tangent_basis

SHAPE = (30, 40)


def make_wcs(projection="TAN", *, crval=(120.0, -340.0), crpix=(18.0, 12.5), roll=0.0, lonpole=180.0, pc=None):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"HPLN-{projection}", f"HPLT-{projection}"]
    wcs.wcs.cunit = ["arcsec", "arcsec"]
    wcs.wcs.crval = crval
    wcs.wcs.crpix = crpix
    wcs.wcs.cdelt = [4.0, 1.1]
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    wcs.wcs.pc = [[cos, -sin * 1.1 / 4], [sin * 4 / 1.1, cos]] if pc is None else pc
    wcs.wcs.lonpole = lonpole
    wcs.wcs.set()
    return wcs


def pixels(shape=SHAPE):
    y, x = np.indices(shape)
    return x.ravel().astype(float), y.ravel().astype(float)


def astropy_angles(wcs, x, y):
    """Radians, longitude in (-180, 180] degrees."""
    lon, lat = wcs.wcs_pix2world(x, y, 0)
    return np.radians((lon + 180) % 360 - 180), np.radians(lat)


@given(
    lon=st.floats(-3000, 3000),
    lat=st.floats(-3000, 3000),
    roll=st.floats(-180, 180),
    lonpole=st.sampled_from([180.0, 0.0, 90.0, 37.0]),
    crpix=st.sampled_from([(18.0, 12.5), (-300.0, 900.0), (20000.0, -5.0)]),
)
def test_a_gnomonic_grid_is_astropys_whatever_its_roll_pole_and_reference_pixel(lon, lat, roll, lonpole, crpix):
    wcs = make_wcs(crval=(lon, lat), roll=roll, lonpole=lonpole, crpix=crpix)
    grid = PixelGrid(wcs, SHAPE)
    x, y = pixels()
    tx, ty = grid.angles(x, y)
    expected = astropy_angles(wcs, x, y)
    assert_allclose(tx, expected[0], rtol=0, atol=1e-7 * ARCSEC)
    assert_allclose(ty, expected[1], rtol=0, atol=1e-7 * ARCSEC)
    back = grid.from_directions(direction(*expected))
    assert_allclose(back, (x, y), rtol=0, atol=1e-6)


def test_a_gnomonic_grid_is_exact_and_another_lonpole_is_not_taken_for_one():
    assert PixelGrid(make_wcs(), SHAPE).exact
    assert not PixelGrid(make_wcs(lonpole=90.0), SHAPE).exact
    assert not PixelGrid(make_wcs("SIN"), SHAPE).exact


@pytest.mark.parametrize("projection", ["SIN", "ARC", "STG", "ZEA", "CAR"])
def test_other_projections_go_through_wcslib(projection):
    crval = (120.0, 0.0) if projection == "CAR" else (120.0, -340.0)
    wcs = make_wcs(projection, crval=crval, roll=5, lonpole=0.0 if projection == "CAR" else 180.0)
    grid = PixelGrid(wcs, SHAPE)
    x, y = pixels()
    expected = astropy_angles(wcs, x, y)
    assert_allclose(grid.angles(x, y), expected, rtol=0, atol=1e-9 * ARCSEC)
    assert_allclose(grid.from_directions(direction(*expected)), (x, y), rtol=0, atol=1e-6)
    cropped = grid.crop(slice(3, 20), slice(5, 30)).binned(2, 3)
    assert_allclose(cropped.from_directions(cropped.to_directions(4.0, 5.0)), (4, 5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("projection", ["SIN", "ARC"])
def test_the_matrix_of_another_projection_is_tangent_at_the_centre(projection):
    grid = PixelGrid(make_wcs(projection, roll=5), SHAPE)
    cx, cy = grid.centre
    for dx, dy, limit in [(0, 0, 1e-9), (1, 1, 1e-7), (15, 10, 1e-3)]:
        m = grid.matrix @ [cx + dx, cy + dy, 1]
        separation = np.linalg.norm(m / np.linalg.norm(m) - grid.to_directions(cx + dx, cy + dy))
        assert separation < limit * ARCSEC


def test_directions_behind_the_tangent_plane_have_no_pixel():
    grid = PixelGrid(make_wcs(), SHAPE)
    assert np.isnan(grid.from_directions(-grid.to_directions(3.0, 4.0))).all()


@given(tx=st.floats(-3, 3), ty=st.floats(-1.5, 1.5))
def test_directions_are_sunpys_helioprojective_angles(tx, ty):
    vector = direction(tx, ty)
    assert_allclose(angles(7.5 * vector), (tx, ty), rtol=0, atol=1e-12)
    basis = tangent_basis(tx, ty)
    assert_allclose(basis @ basis.T, np.eye(3), atol=1e-14)
    assert_allclose(basis[0], vector, atol=1e-15)
    # Growing Tx and growing Ty, by finite differences.
    step = 1e-6
    if abs(ty) < 1.4:
        east_west = (direction(tx + step, ty) - direction(tx - step, ty)) / (2 * step * np.cos(ty))
        north = (direction(tx, ty + step) - direction(tx, ty - step)) / (2 * step)
        assert_allclose(basis[1:], [east_west, north], atol=1e-8)


def test_first_axis_to_the_sun_second_to_the_west_third_to_the_north():
    assert_allclose(direction(0, 0), [1, 0, 0])
    assert direction(10 * ARCSEC, 0)[1] > 0
    assert direction(0, 10 * ARCSEC)[2] > 0


def test_homography_moves_points():
    shift = np.array([[1, 0, 2.5], [0, 1, -1.5], [0, 0, 1.0]])
    assert_allclose(apply_homography(shift, np.array([0.0, 1.0]), np.array([0.0, 1.0])), [[2.5, 3.5], [-1.5, -0.5]])
    perspective = np.array([[1, 0, 0], [0, 1, 0], [0.01, 0, 1.0]])
    assert_allclose(apply_homography(perspective, np.array([10.0]), np.array([20.0])), [[10 / 1.1], [20 / 1.1]])


def test_pixel_size_and_jacobian_are_those_of_the_header():
    grid = PixelGrid(make_wcs(roll=20), SHAPE)
    assert_allclose(np.array(grid.pixel_size) / ARCSEC, (4.0, 1.1), rtol=1e-5)
    centre = grid.centre
    step = 1e-3
    base = astropy_angles(grid.wcs, *centre)
    numeric = []
    for dx, dy in ((step, 0), (0, step)):
        lon, lat = astropy_angles(grid.wcs, centre[0] + dx, centre[1] + dy)
        numeric.append([(lon - base[0]) * np.cos(base[1]) / step, (lat - base[1]) / step])
    assert_allclose(grid.jacobian(*centre), np.transpose(numeric), rtol=1e-5, atol=1e-12)


@pytest.fixture
def aia():
    header = {
        "ctype1": "HPLN-TAN", "ctype2": "HPLT-TAN", "cunit1": "arcsec", "cunit2": "arcsec",
        "crval1": 120.0, "crval2": -340.0, "crpix1": 18.0, "crpix2": 12.5, "cdelt1": 4.0, "cdelt2": 1.1,
        "pc1_1": 0.98, "pc1_2": -0.05, "pc2_1": 0.7, "pc2_2": 0.98, "date-obs": "2024-01-01T00:00:00",
        "dsun_obs": 1.4e11, "hgln_obs": 0.0, "hglt_obs": 2.0,
    }  # fmt: skip
    return sunpy.map.Map(np.arange(1200.0).reshape(SHAPE), header)


def assert_same_pixels(grid, smap):
    assert grid.shape == smap.data.shape
    x, y = pixels(grid.shape)
    assert_allclose(grid.angles(x, y), astropy_angles(smap.wcs, x, y), rtol=0, atol=1e-6 * ARCSEC)


def test_crop_is_sunpys_submap(aia):
    sub = aia.submap([5, 3] * u.pix, top_right=[24, 20] * u.pix)
    assert_same_pixels(PixelGrid(aia.wcs, SHAPE).crop(slice(3, 21), slice(5, 25)), sub)


@pytest.mark.parametrize(("by", "bx"), [(2, 2), (3, 5), (1, 4), (7, 3)])
def test_binned_is_sunpys_superpixel_to_half_a_pixel(aia, by, bx):
    # 30 rows are no multiple of 7 and 40 columns none of 3: what does not fill a block is dropped on both sides.
    ny, nx = SHAPE[0] // by * by, SHAPE[1] // bx * bx
    whole = aia.submap([0, 0] * u.pix, top_right=[nx - 1, ny - 1] * u.pix)
    expected = whole.superpixel([bx, by] * u.pix, func=np.mean)
    assert_same_pixels(PixelGrid(aia.wcs, SHAPE).binned(by, bx), expected)


def test_crop_of_bins_of_a_crop_is_sunpys_too(aia):
    expected = (
        aia.submap([5, 3] * u.pix, top_right=[24, 20] * u.pix)
        .superpixel([2, 3] * u.pix, func=np.mean)
        .submap([1, 2] * u.pix, top_right=[6, 5] * u.pix)
    )
    grid = PixelGrid(aia.wcs, SHAPE).crop(slice(3, 21), slice(5, 25)).binned(3, 2).crop(slice(2, 6), slice(1, 7))
    assert_same_pixels(grid, expected)


def test_padding_keeps_every_pixel_where_it_was(aia):
    grid = PixelGrid(aia.wcs, SHAPE).binned(3, 2)
    padded = grid.padded(4, 7)
    assert padded.shape == (grid.shape[0] + 8, grid.shape[1] + 14)
    assert_allclose(padded.angles(7.0 + 2.5, 4.0 + 1.25), grid.angles(2.5, 1.25), rtol=0, atol=1e-12)
    cut = padded.crop(slice(4, 4 + grid.shape[0]), slice(7, 7 + grid.shape[1]))
    assert cut.to_base == pytest.approx(grid.to_base)


def test_a_point_stays_on_the_sky_whatever_the_grid(aia):
    point = SkyCoord(100 * u.arcsec, -330 * u.arcsec, frame=aia.coordinate_frame)
    vector = direction(point.Tx.to_value(u.rad), point.Ty.to_value(u.rad))
    x, y = (float(p.to_value(u.pix)) for p in aia.world_to_pixel(point))
    grid = PixelGrid(aia.wcs, SHAPE)
    assert_allclose(grid.from_directions(vector), (x, y), rtol=0, atol=1e-6)
    # The centre of a block of two pixels is at 0.5, and its coordinate there is 0.
    assert_allclose(grid.binned(2, 2).from_directions(vector), ((x - 0.5) / 2, (y - 0.5) / 2), rtol=0, atol=1e-6)
