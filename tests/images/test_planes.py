"""Which image of a file is read, which of its axes are the sky, and what its header says besides."""

import numpy as np
import pytest

import astropy.units as u
from astropy.io import fits
from astropy.wcs import WCS

import sunpy.map

import sunalign
from sunalign import Correction
from sunalign.exceptions import CorrectionError, SunalignUserWarning
from sunalign.files.io import apply_to_file
from sunalign.images import to_image
from sunalign.images.frames import open_frames
from sunalign.testing.helpers import small_header, small_map, smooth_image
from sunalign.wcs.distortion import pointing_tables, without_distortion

SCENE = smooth_image((80, 80), seed=5)
DATA = SCENE[16:-16, 20:-20]
HEADER = {k.upper(): v for k, v in small_header(DATA.shape, centre=(52.0, -37.0)).items()}
MAX_SHIFT = 30 * u.arcsec


def numbered(order, header=HEADER):
    """The header with its two axes called by other numbers, wavelength and time in the places left."""
    new = {key: value for key, value in header.items() if not key[-1].isdigit()}
    for old, number in zip((1, 2), order, strict=True):
        for key in ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT"):
            new[f"{key}{number}"] = header[f"{key}{old}"]
    left = [i for i in range(1, 5) if i not in order]
    for number, (ctype, unit) in zip(left, (("WAVE", "nm"), ("UTC", "s")), strict=True):
        new |= {f"CTYPE{number}": ctype, f"CUNIT{number}": unit, f"CRVAL{number}": 5.0, f"CDELT{number}": 1.0}
        new[f"CRPIX{number}"] = 1.0
    # Each column half a minute after the one before.
    return new | {f"PC{left[1]}_{order[0]}": 30.0}


def written(path, data, header):
    fits.PrimaryHDU(data, fits.Header(header)).writeto(path)
    return path


def in_places(order):
    """Data with x along the FITS axis ``order[0]`` and y along ``order[1]`` of four."""
    axes = [4 - order[1], 4 - order[0]]
    full = DATA[:, :, None, None]
    return np.moveaxis(full, (0, 1), axes)


@pytest.mark.parametrize("order", [(1, 2), (2, 3), (3, 2), (2, 1), (4, 1), (4, 3)])
def test_axes_of_one_pixel_may_stand_anywhere(tmp_path, order):
    path = written(tmp_path / "four.fits", in_places(order), numbered(order))
    image = to_image(path)
    np.testing.assert_array_equal(image.data, DATA)
    plain = to_image((DATA, HEADER))
    for x, y in ((0, 0), (39, 0), (5, 40)):
        np.testing.assert_allclose(image.grid.angles(x, y), plain.grid.angles(x, y), rtol=0, atol=1e-12)
    assert image.times.step == pytest.approx(30.0)
    (frame,) = open_frames([path])
    np.testing.assert_array_equal(frame.read(slice(3, 9), slice(5, 20)), DATA[3:9, 5:20])
    np.testing.assert_allclose(frame.head.grid.angles(5, 40), plain.grid.angles(5, 40), rtol=0, atol=1e-12)


@pytest.mark.parametrize("lead", [1, 2])
def test_a_frame_with_leading_axes_is_a_target_a_reference_and_a_frame(tmp_path, lead):
    shape = (1,) * lead
    paths = []
    for i in range(2):
        dates = {"DATE-OBS": f"2024-05-01T00:0{i}:00", "MJD-OBS": 60431 + i / 1440}
        header = {k.upper(): v for k, v in small_header(SCENE.shape).items()} | dates
        paths.append(written(tmp_path / f"frame_{i}.fits", SCENE[(None,) * lead], header))
    target = written(tmp_path / "target.fits", DATA[(None,) * lead], HEADER)
    assert fits.getdata(target).shape == (*shape, *DATA.shape)
    for reference in (paths[0], paths):
        result = sunalign.align(target, reference, max_shift=MAX_SHIFT, on_doubt="ignore", solar_rotation="none")
        assert np.allclose(result.correction.shift.to_value(u.arcsec), [8, -3], atol=0.1)


def test_the_image_with_celestial_axes_is_taken(tmp_path):
    path = tmp_path / "two.fits"
    quick_look = fits.PrimaryHDU(np.ones((7, 9)))
    fits.HDUList([quick_look, fits.CompImageHDU(DATA, fits.Header(HEADER)), fits.ImageHDU(DATA * 0)]).writeto(path)
    image = to_image(path)
    assert image.data.shape == DATA.shape
    assert image.wcs.wcs.crval[0] * 3600 == pytest.approx(52.0)
    assert open_frames([path])[0].head.data.shape == DATA.shape
    out = apply_to_file(path, Correction.from_parameters(3 * u.arcsec, 0 * u.arcsec), tmp_path / "out.fits")
    assert fits.getheader(out, 1)["CRVAL1"] == pytest.approx(55.0)
    assert "CRVAL1" not in fits.getheader(out, 0)


def test_an_image_whose_axes_are_at_fault_is_named_and_left(tmp_path):
    path = tmp_path / "two.fits"
    bad = fits.ImageHDU(DATA, fits.Header(HEADER | {"CDELT2": 0.0, "EXTNAME": "BAD"}))
    fits.HDUList([fits.PrimaryHDU(DATA, fits.Header(HEADER)), bad]).writeto(path)
    shift = Correction.from_parameters(3 * u.arcsec, 0 * u.arcsec)
    with pytest.warns(SunalignUserWarning, match=r"two\.fits: HDU 1 \('BAD'\) has CDELT2 = 0.* It was left as it is\."):
        out = apply_to_file(path, shift, tmp_path / "out.fits")
    assert fits.getheader(out, 0)["CRVAL1"] == pytest.approx(55.0)
    assert fits.getheader(out, 1)["CRVAL1"] == 52.0
    with pytest.raises(CorrectionError, match=r"two\.fits: HDU 1 \('BAD'\) has CDELT2 = 0"):
        apply_to_file(path, shift, tmp_path / "again.fits", hdu=1)


def test_a_single_slit_position_keeps_its_pointing(tmp_path):
    """It is no image to align, but a correction found elsewhere can be written into it."""
    header = HEADER | {"CTYPE3": "WAVE", "CUNIT3": "nm", "CRPIX3": 1.0, "CRVAL3": 70.0, "CDELT3": 0.01}
    path = written(tmp_path / "one.fits", np.ones((1, 7, 48, 1)), header)
    out = apply_to_file(path, Correction.from_parameters(3 * u.arcsec, -2 * u.arcsec), tmp_path / "out.fits")
    assert fits.getheader(out)["CRVAL1"] == pytest.approx(55.0, abs=1e-6)


# Distortions

SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 3e-3, "A_0_2": -1e-3, "B_1_1": 2e-3, "B_0_2": -2e-3}
DISTORTED = HEADER | {"CTYPE1": "HPLN-TAN-SIP", "CTYPE2": "HPLT-TAN-SIP"} | SIP


def scene_at(lon, lat):
    """Something smooth on the sky, angles in arcsec."""
    return np.sin(lon / 23) + np.cos(lat / 31) + 0.5 * np.sin((lon + lat) / 17)


def distorted_image():
    wcs = WCS(fits.Header(DISTORTED))
    y, x = np.mgrid[:48, :40].astype(float)
    lon, lat = wcs.all_pix2world(x, y, 0)
    return scene_at((lon + 180) % 360 * 3600 - 180 * 3600, lat * 3600)


@pytest.mark.parametrize("kind", ["header", "map", "file"])
@pytest.mark.parametrize("cut", ["whole", "cropped", "binned"])
def test_picture_of_a_distorted_image_shows_things_where_they_are(tmp_path, kind, cut):
    data = distorted_image()
    source = {
        "header": lambda: (data, fits.Header(DISTORTED)),
        "map": lambda: sunpy.map.Map(data, DISTORTED),
        "file": lambda: written(tmp_path / "sip.fits", data, DISTORTED),
    }[kind]()
    image = to_image(source)
    assert image.wcs.has_distortion
    image = {"whole": image, "cropped": image.crop(slice(4, 40), slice(6, 36)), "binned": image.binned(2, 2)}[cut]
    picture = image.to_map()
    y, x = np.mgrid[: picture.data.shape[0], : picture.data.shape[1]]
    lon, lat = picture.wcs.wcs_pix2world(x, y, 0)
    wanted = scene_at((lon + 180) % 360 * 3600 - 180 * 3600, lat * 3600)
    seen = np.isfinite(picture.data)
    assert seen.mean() > 0.8
    # Linear interpolation, and means over pixels; without the distortion the error is several times as large.
    assert np.abs(picture.data - wanted)[seen].max() < 0.05
    assert np.abs(image.data - wanted)[seen].max() > 0.2


def test_map_with_sip_is_aligned_and_corrected_by_its_header():
    data = distorted_image()
    header = fits.Header(DISTORTED | {"CRVAL1": 52.0 + 7, "CRVAL2": -37.0 - 4})
    reference = small_map(SCENE)
    lon, lat = reference.wcs.wcs_pix2world(*np.meshgrid(np.arange(80.0), np.arange(80.0)), 0)
    reference = sunpy.map.Map(scene_at((lon + 180) % 360 * 3600 - 180 * 3600, lat * 3600), reference.meta)
    by_header, by_map, without = (
        sunalign.align(target, reference, max_shift=20 * u.arcsec, scaling="linear", on_doubt="ignore")
        for target in (
            (data, header),
            sunpy.map.Map(data, header),
            (data, {**header, "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"}),
        )
    )
    assert by_map.score == pytest.approx(by_header.score, abs=1e-12)
    assert np.allclose(by_map.correction.shift.to_value(u.arcsec), [-7, 4], atol=0.2)
    assert np.abs(without.correction.shift.to_value(u.arcsec) - [-7, 4]).max() > 0.8
    for key in ("CRVAL1", "CRVAL2"):
        assert by_map.aligned.meta[key.lower()] == pytest.approx(by_header.aligned[1][key], abs=1e-9)
    assert {k: by_map.aligned.meta[k.lower()] for k in SIP} == SIP


def test_without_distortion_leaves_an_undistorted_image_as_it_is():
    wcs = WCS(fits.Header(HEADER))
    np.testing.assert_allclose(without_distortion(DATA, wcs, (0.0, 1.0, 0.0, 1.0))[1:-1, 1:-1], DATA[1:-1, 1:-1])


def test_map_with_two_units_is_read_by_its_header():
    """sunpy takes the second axis to be in the unit of the first."""
    mixed = HEADER | {"CUNIT1": "deg", "CDELT1": 4 / 3600, "CRVAL1": 52 / 3600}
    image, plain = to_image(sunpy.map.Map(DATA, mixed)), to_image((DATA, HEADER))
    np.testing.assert_allclose(image.grid.angles(3, 40), plain.grid.angles(3, 40), rtol=0, atol=1e-12)
    shift = Correction.from_parameters(3.6 * u.arcsec, -2 * u.arcsec)
    corrected = sunalign.correct(sunpy.map.Map(DATA, mixed), shift)
    assert corrected.meta["crval1"] == pytest.approx(55.6 / 3600, abs=1e-8)
    assert corrected.meta["crval2"] == pytest.approx(-39.0, abs=1e-5)


def test_pixels_of_a_distorted_grid_go_to_the_sky_and_back():
    grid = to_image((DATA, fits.Header(DISTORTED))).grid.crop(slice(2, 40), slice(4, 36)).binned(2, 2)
    x, y = np.meshgrid(np.arange(16.0), np.arange(19.0))
    lon, lat = (np.degrees(angle) for angle in grid.angles(x, y))
    expected = WCS(fits.Header(DISTORTED)).all_pix2world(4.5 + 2 * x, 2.5 + 2 * y, 0)
    np.testing.assert_allclose([lon % 360, lat], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(grid.from_directions(grid.to_directions(x, y)), [x, y], rtol=0, atol=1e-8)


# Pointing tables

TABLES = {"CWDIS1": "Lookup", "CWDIS2": "Lookup"}


def test_pointing_tables_are_said_not_to_be_applied(tmp_path):
    reference, words = small_map(SCENE), r"pointing tables \(CWDIS1, CWDIS2\) that are not applied"
    for target in (
        (DATA, HEADER | TABLES),
        sunpy.map.Map(DATA, HEADER | TABLES),
        written(tmp_path / "spice.fits", DATA, HEADER | TABLES),
    ):
        with pytest.warns(SunalignUserWarning, match=words):
            result = sunalign.align(target, reference, max_shift=MAX_SHIFT)
        assert result.assumptions["pointing tables"] == "CWDIS1, CWDIS2 of the header not applied"
        assert "pointing tables" in result.summary()
    assert "pointing tables" not in sunalign.align((DATA, HEADER), reference, max_shift=MAX_SHIFT).assumptions


def test_tables_that_a_wcs_has_read_are_applied():
    header = HEADER | {"CPDIS1": "LOOKUP", "CWDIS1": "Lookup"}
    wcs = WCS(fits.Header(HEADER))
    assert pointing_tables(header, wcs) == ("CPDIS1", "CWDIS1")
    from astropy.wcs import DistortionLookupTable

    wcs.cpdis1 = DistortionLookupTable(np.zeros((3, 3), np.float32), (1.0, 1.0), (1.0, 1.0), (20.0, 20.0))
    assert pointing_tables(header, wcs) == ("CWDIS1",)
