"""Cubes: coordinates as asked for on the sky, everything else as it was."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import astropy.units as u
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.wcs import WCS
from astropy.wcs.wcsapi import BaseLowLevelWCS, HighLevelWCSWrapper

from ndcube import NDCube
from ndcube.wcs.wrappers import CompoundLowLevelWCS, ReorderedLowLevelWCS

from sunalign.correction import Correction
from sunalign.correctors import NDCubeCorrector, correct
from sunalign.exceptions import CorrectionError

ARCSEC = np.pi / 180 / 3600
SHAPE = (2, 5, 24, 16)


def spice_header():
    header = fits.Header()
    header.update(
        {"WCSAXES": 4}
        | {"CTYPE1": "HPLN-TAN", "CUNIT1": "arcsec", "CRVAL1": -58.5597, "CDELT1": 4.0, "CRPIX1": 8.5}
        | {"CTYPE2": "HPLT-TAN", "CUNIT2": "arcsec", "CRVAL2": -5.4685, "CDELT2": 1.098, "CRPIX2": 12.5}
        | {"CTYPE3": "WAVE", "CUNIT3": "nm", "CRVAL3": 70.4567, "CDELT3": 0.0097, "CRPIX3": 3.0}
        | {"CTYPE4": "UTC", "CUNIT4": "s", "CRVAL4": 903.6, "CDELT4": 1.0, "CRPIX4": 1.0}
        | {"PC1_1": 0.996769, "PC1_2": -0.0220482, "PC2_1": 0.2926098, "PC2_2": 0.996769, "PC4_1": -60.25}
    )
    return header


AXES = WCS(spice_header()).pixel_scale_matrix[:2, :2]
CORRECTION = Correction.from_parameters(
    -5.2 * u.arcsec, -50.25 * u.arcsec, 1.06, 0.99, 0.6 * u.deg,
    pivot=(-58.5597, -5.4685) * u.arcsec, axes=AXES / np.hypot(*AXES),
)  # fmt: skip


@pytest.fixture
def cube():
    data = np.random.default_rng(0).random(SHAPE).astype(">f4")
    mask = data > 0.9
    cube = NDCube(
        data, WCS(spice_header()), unit="ct", mask=mask, uncertainty=StdDevUncertainty(data * 0.1), meta={"a": 1}
    )
    cube.extra_coords.add("exposure", 3, np.arange(16) * u.s)
    cube.global_coords.add("distance", "pos.distance", 0.45 * u.AU)
    return cube


def world(wcs, points):
    low = wcs if isinstance(wcs, BaseLowLevelWCS) else wcs.low_level_wcs
    return np.array(low.pixel_to_world_values(*points), float)


def split(wcs, points):
    """Directions, and the values of the axes that are not celestial."""
    low = wcs if isinstance(wcs, BaseLowLevelWCS) else wcs.low_level_wcs
    types = list(low.world_axis_physical_types)
    lon, lat = (types.index(f"custom:pos.helioprojective.{name}") for name in ("lon", "lat"))
    values = world(wcs, points)
    units = low.world_axis_units
    tx, ty = values[lon] * u.Unit(units[lon]).to(u.rad), values[lat] * u.Unit(units[lat]).to(u.rad)
    sky = np.array([np.cos(ty) * np.cos(tx), np.cos(ty) * np.sin(tx), np.sin(ty)])
    return sky, np.delete(values, [lon, lat], axis=0)


def assert_corrected(before, after, points, *, correction=CORRECTION, limit=1e-6):
    (old, others), (new, same) = split(before, points), split(after, points)
    wanted = correction.sky_matrix @ old
    assert np.abs(wanted / np.linalg.norm(wanted, axis=0) - new).max() / ARCSEC < limit
    assert_allclose(same, others, rtol=1e-14)


def points_of(cube, count=20):
    lengths = np.array(cube.data.shape[::-1])[:, None]
    return np.random.default_rng(1).uniform(0, 1, (cube.data.ndim, count)) * (lengths - 1)


def test_sky_moves_and_wavelength_and_time_stay(cube):
    after = correct(cube, CORRECTION)
    assert_corrected(cube.wcs, after.wcs, points_of(cube))
    assert after.wcs.wcs.pc[3, 0] == -60.25


def test_everything_else_is_kept(cube):
    text = cube.wcs.to_header_string()
    after = correct(cube, CORRECTION)
    assert type(after) is NDCube
    assert after.data is cube.data
    assert after.data.dtype == np.dtype(">f4")
    assert after.mask is cube.mask
    assert after.unit == u.ct
    assert after.uncertainty.array is cube.uncertainty.array
    assert after.uncertainty.parent_nddata is after
    assert cube.uncertainty.parent_nddata is cube
    assert list(after.extra_coords.keys()) == ["exposure"]
    assert_allclose(after.extra_coords.wcs.pixel_to_world_values(np.arange(16)), np.arange(16))
    assert after.extra_coords._ndcube is after
    assert cube.extra_coords._ndcube is cube
    assert after.global_coords["distance"] == 0.45 * u.AU
    assert after.wcs.array_shape == cube.wcs.array_shape
    assert cube.wcs.to_header_string() == text
    assert cube.meta == {"a": 1}
    assert after.meta["a"] == 1
    assert after.meta["history"].count("sunalign pivot") == 1


def test_then_its_inverse_restores_the_coordinates(cube):
    after = correct(correct(cube, CORRECTION), CORRECTION.inverse())
    points = points_of(cube)
    assert np.abs(world(after.wcs, points)[:2] - world(cube.wcs, points)[:2]).max() * 3600 < 1e-6


def test_zero_changes_nothing(cube):
    after = correct(cube, Correction())
    assert after.wcs.to_header_string() == cube.wcs.to_header_string()


@pytest.mark.parametrize(
    "item",
    [
        np.s_[0], np.s_[:, 2], np.s_[0, 2], np.s_[:, :, 5:20, 3:12], np.s_[1, 1:3, 4:, 2], np.s_[0, 0, 7],
    ],
)  # fmt: skip
def test_slicing_and_correcting_commute(cube, item):
    sliced = cube[item]
    first = correct(sliced, CORRECTION)
    second = correct(cube, CORRECTION)[item]
    assert type(first.wcs.low_level_wcs) is type(sliced.wcs.low_level_wcs)
    points = points_of(first)
    assert_allclose(world(first.wcs, points), world(second.wcs, points), rtol=1e-10, atol=1e-12)
    assert_corrected(sliced.wcs, first.wcs, points)
    assert first.data is sliced.data
    again = correct(first[1:], CORRECTION.inverse())
    assert_corrected(first[1:].wcs, again.wcs, points_of(again), correction=CORRECTION.inverse())


def test_rebinned(cube):
    rebinned = cube.rebin((1, 1, 3, 2))
    assert_corrected(rebinned.wcs, correct(rebinned, CORRECTION).wcs, points_of(rebinned))


def test_reordered(cube):
    wcs = ReorderedLowLevelWCS(cube.wcs, [1, 0, 3, 2], [3, 1, 0, 2])
    reordered = NDCube(np.zeros((5, 2, 16, 24)), HighLevelWCSWrapper(wcs))
    assert_corrected(reordered.wcs, correct(reordered, CORRECTION).wcs, points_of(reordered))


def test_compound():
    header = spice_header()
    for key in [key for key in header if key.rstrip("_1234")[-1:] and key.endswith(("3", "4", "4_1"))]:
        del header[key]
    header["WCSAXES"] = 2
    line = WCS(naxis=1)
    line.wcs.ctype, line.wcs.cunit, line.wcs.cdelt, line.wcs.crval = ["WAVE"], ["nm"], [0.01], [70.0]
    compound = CompoundLowLevelWCS(line, WCS(header), mapping=(2, 0, 1))
    cube = NDCube(np.zeros((5, 24, 16)), HighLevelWCSWrapper(compound))
    assert_corrected(cube.wcs, correct(cube, CORRECTION).wcs, points_of(cube))
    with pytest.raises(CorrectionError, match=r"no celestial axes to correct \(its world axes are em.wl, em.wl\)"):
        correct(NDCube(np.zeros((5, 4)), HighLevelWCSWrapper(CompoundLowLevelWCS(line, line))), CORRECTION)


@pytest.mark.parametrize("make", [dict, fits.Header])
def test_keywords_in_the_meta_follow_the_coordinates(cube, make):
    header = make(spice_header())
    new = correct(NDCube(cube.data, WCS(spice_header()), meta=header), CORRECTION)
    assert type(new.meta) is type(header)
    assert new.meta["CRVAL2"] == pytest.approx(-5.4685 - 50.25, abs=1e-9)
    assert new.meta["PC4_1"] == -60.25
    assert header["CRVAL2"] == -5.4685
    assert "sunalign" in str(new.meta["HISTORY"])
    cards = fits.Header({key: new.meta[key] for key in spice_header()})
    assert_allclose(world(WCS(cards), points_of(cube)), world(new.wcs, points_of(cube)), rtol=1e-9, atol=1e-12)


def test_keywords_of_another_image_in_the_meta_are_left_alone(cube):
    header = spice_header()
    header["CRVAL1"] = 700.0
    new = correct(NDCube(cube.data, WCS(spice_header()), meta=dict(header)), CORRECTION)
    assert {key: new.meta[key] for key in header} == dict(header)


def test_a_subclass_survives(cube):
    sunraster = pytest.importorskip("sunraster")
    raster = sunraster.SpectrogramCube(cube.data, cube.wcs, unit="ct", mask=cube.mask, instrument_axes=list("trsw"))
    after = correct(raster, CORRECTION)
    assert type(after) is sunraster.SpectrogramCube
    assert list(after.meta["instrument_axes"]) == list("trsw")
    assert after.meta.axes.keys() == raster.meta.axes.keys()
    assert_corrected(raster.wcs, after.wcs, points_of(raster))


@pytest.mark.parametrize("window", [0, 1, 2])
def test_a_real_spice_header(window):
    """The headers of the L2 file that sunraster tests itself with."""
    sunraster = pytest.importorskip("sunraster")
    from pathlib import Path

    path = next((Path(sunraster.__file__).parent / "tests" / "data").glob("*-ras-*.fits"), None)
    if path is None:
        pytest.skip("this sunraster comes without its test data")
    header = fits.getheader(path, window)
    keep = ("CTYPE", "CUNIT", "CRVAL", "CDELT", "CRPIX", "PC", "WCSAXES", "LONPOLE", "LATPOLE")
    wcs = WCS(fits.Header({k: header[k] for k in header if k.startswith(keep) and (k[:2] != "PC" or "_" in k)}))
    cube = NDCube(np.zeros((1, 3, 60, 30)), wcs)
    after = correct(cube, CORRECTION)
    # Another pivot than the reference pixel's: the scale costs a little.
    assert_corrected(cube.wcs, after.wcs, points_of(cube), limit=1e-3)


# gWCS


def gwcs_cube(*, quantities=False, spectral=False, box=True, tied=False, invertible=True):
    gwcs = pytest.importorskip("gwcs")
    from astropy.modeling import models as m
    from gwcs import coordinate_frames as cf

    from sunpy.coordinates import Helioprojective

    deg, pix = (u.deg, u.pix) if quantities else (1, 1)
    multiply = m.Multiply if quantities else m.Scale
    size = 2 / 3600 * deg / pix
    transform = (
        (m.Shift(-50 * pix) & m.Shift(-40 * pix))
        | (multiply(size) & multiply(size))
        | m.Pix2Sky_TAN()
        | m.RotateNative2Celestial(0.1 * deg, 0.2 * deg, 180.0 * deg)
    )
    types = [f"custom:pos.helioprojective.{name}" for name in ("lon", "lat")]
    frame = cf.CelestialFrame(
        axes_order=(0, 1), unit=(u.deg, u.deg), axis_physical_types=types,
        reference_frame=Helioprojective(observer="earth", obstime="2024-01-01"),
    )  # fmt: skip
    n, shape = 2, (80, 100)
    if spectral or tied:
        line = cf.SpectralFrame(axes_order=(2,), unit=u.nm, axis_physical_types=["em.wl"])
        frame = cf.CompositeFrame([frame, line])
        along = multiply(0.1 * (u.nm / u.pix if quantities else 1))
        transform = transform & (along if invertible else m.Polynomial1D(1, c1=0.1))
        n, shape = 3, (5, 80, 100)
    if tied:
        transform, n, shape = m.Mapping((0, 1, 0)) | transform, 2, (80, 100)
    pixels = cf.CoordinateFrame(n, ["PIXEL"] * n, tuple(range(n)), unit=[u.pix] * n, name="pixels")
    wcs = gwcs.WCS([(pixels, transform), (frame, None)])
    if box:
        wcs.bounding_box = tuple((-0.5 * pix, (length - 0.5) * pix) for length in shape[::-1])
    return NDCube(np.zeros(shape), wcs)


GWCS_CORRECTION = Correction.from_parameters(
    5 * u.arcsec, -8 * u.arcsec, 1.03, 1.01, 1 * u.deg, pivot=(360, 720) * u.arcsec
)


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("quantities", [False, True])
def test_gwcs(quantities, spectral):
    cube = gwcs_cube(quantities=quantities, spectral=spectral, box=not quantities)
    after = correct(cube, GWCS_CORRECTION)
    assert type(after.wcs) is type(cube.wcs)
    assert_corrected(cube.wcs, after.wcs, points_of(cube) * 0.98, correction=GWCS_CORRECTION, limit=2e-3)
    back = correct(after, GWCS_CORRECTION.inverse())
    points = points_of(cube) * 0.98
    assert_allclose(world(back.wcs, points), world(cube.wcs, points), rtol=0, atol=1e-8)
    low, new = cube.wcs.low_level_wcs, after.wcs.low_level_wcs
    if not quantities:
        assert new.bounding_box.bounding_box() == low.bounding_box.bounding_box()
        assert np.isnan(world(new, np.full((cube.data.ndim, 1), 500.0))).all()
    values = np.array(new.world_to_pixel_values(*world(new, points)))
    assert_allclose(values, points, atol=1e-6)


def test_gwcs_zero_changes_nothing():
    cube = gwcs_cube()
    points = points_of(cube)
    assert_allclose(world(correct(cube, Correction()).wcs, points), world(cube.wcs, points), rtol=0, atol=0)


def test_gwcs_that_ties_time_to_the_sky_is_refused():
    cube = gwcs_cube(tied=True)
    with pytest.raises(CorrectionError, match="ties its celestial axes to others"):
        correct(cube, GWCS_CORRECTION)


def test_gwcs_without_an_inverse_is_refused():
    cube = gwcs_cube(spectral=True, invertible=False)
    with pytest.raises(CorrectionError, match="has no inverse"):
        correct(cube, GWCS_CORRECTION)


# What is refused.


def test_other_coordinates_are_refused_by_name():
    class Strange(BaseLowLevelWCS):
        pixel_n_dim = world_n_dim = 2
        world_axis_physical_types = ("custom:a", "custom:b")
        world_axis_units = ("", "")
        world_axis_object_components = world_axis_object_classes = None

        def pixel_to_world_values(self, *pixels):
            return pixels

        world_to_pixel_values = pixel_to_world_values

    with pytest.raises(CorrectionError, match="A Strange cannot be corrected"):
        correct(NDCube(np.zeros((3, 4)), HighLevelWCSWrapper(Strange())), CORRECTION)


def test_other_things_are_refused_by_name():
    with pytest.raises(CorrectionError, match="'ndcube' corrector takes an NDCube; got ndarray"):
        NDCubeCorrector().apply(np.zeros((3, 4)), CORRECTION)
    with pytest.raises(ValueError, match="'tolerance'"):
        NDCubeCorrector(tolerance=-1)


def test_a_cube_without_a_sky_is_refused():
    line = WCS(naxis=2)
    line.wcs.ctype, line.wcs.cunit = ["WAVE", "TIME"], ["nm", "s"]
    with pytest.raises(CorrectionError, match=r"no celestial axes to correct \(CTYPE: WAVE, TIME\)"):
        correct(NDCube(np.zeros((3, 4)), line), CORRECTION)
