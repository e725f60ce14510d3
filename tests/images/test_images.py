"""Every kind of image in: the same data, the same sky."""

import copy
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import astropy.units as u
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning, NonseparableSubimageCoordinateSystemError

import sunpy.map
from ndcube import NDCube
from sunpy.map.sources import AIAMap, EUIMap
from sunpy.util import MetaDict

import sunalign
from sunalign.exceptions import ImageError
from sunalign.images import Image, read_map, to_image
from sunalign.testing.helpers import small_header, small_map, smooth_image
from sunalign.wcs.celestial import celestial_wcs

ARCSEC = 1 / 3600
SHAPE = (48, 40)
DATA = smooth_image(SHAPE, seed=3)


def upper(header):
    return fits.Header({key.upper(): value for key, value in header.items()})


def changed(header, cards):
    new = header.copy()
    new.update(cards)
    return new


HEADER = upper(small_header(SHAPE, roll=12.0, scale=(4.0, 1.1)))

#: What is special about the header of a SPICE map: angles in degrees, time along x on a third axis without data.
SPICE = upper(
    small_header(SHAPE, roll=2.9, scale=(6.0, 1.098))
    | {"wcsaxes": 3, "ctype3": "UTC", "cunit3": "s", "crpix3": 1.0, "crval3": 2400.0, "cdelt3": 1.0, "pc3_1": -120.3}
    | {"dateref": "2024-05-01T00:00:00.000", "bunit": "W/m2/sr/nm", "crota": 2.9}
)


def sky(wcs, pixels):
    """Longitude in (-180, 180] and latitude, degrees, by wcslib alone."""
    lon, lat = wcs.wcs_pix2world(*pixels, 0)
    return np.array([(lon + 180) % 360 - 180, lat])


def plain_sky(pixels, header=HEADER):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return sky(WCS(header), pixels)


PIXELS = np.array([[0, 39, 0, 39, 17.3], [0, 0, 47, 47, 20.9]], float)


def sources(tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(DATA, HEADER).writeto(path)
    scaled = tmp_path / "scaled.fits"
    hdu = fits.PrimaryHDU(DATA.copy(), HEADER)
    hdu.scale("int16", bzero=100, bscale=0.004)
    hdu.writeto(scaled)
    compressed = tmp_path / "compressed.fits"
    hdu = fits.CompImageHDU(DATA.astype("f4"), HEADER, "COMPRESSED", "GZIP_2", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(compressed)
    lower = {key.lower(): value for key, value in HEADER.items()}
    aia = {"telescop": "SDO/AIA", "instrume": "AIA_3", "wavelnth": 171, "waveunit": "angstrom"}
    eui = {"obsrvtry": "Solar Orbiter", "instrume": "EUI", "detector": "FSI", "wavelnth": 174, "waveunit": "Angstrom"}
    return {
        "map": sunpy.map.Map(DATA, HEADER),
        "AIA map": sunpy.map.Map(DATA, lower | aia),
        "EUI map": sunpy.map.Map(DATA, lower | eui),
        "cube": NDCube(DATA, WCS(HEADER), unit="DN"),
        "FITS header": (DATA, HEADER),
        "dict": (DATA, lower),
        "MetaDict": (DATA, MetaDict(lower)),
        "wcs": (DATA, WCS(HEADER)),
        "text path": str(path),
        "path": path,
        "scaled file": scaled,
        "compressed file": compressed,
        "big-endian": (DATA.astype(">f8"), HEADER),
        "big-endian map": sunpy.map.Map(DATA.astype(">f4"), HEADER),
        "integers": (np.round(DATA).astype("i2"), HEADER),
        "unsigned": (np.round(DATA).astype("u1"), HEADER),
        "Fortran order": (np.asfortranarray(DATA), HEADER),
        "one wavelength": NDCube(DATA[None], WCS(spectral(HEADER)), unit="DN"),
    }


def spectral(header):
    """Header with a third axis, of wavelength."""
    new = header.copy()
    new.update({"WCSAXES": 3, "CTYPE3": "WAVE", "CUNIT3": "nm", "CRPIX3": 1.0, "CRVAL3": 97.7, "CDELT3": 0.01})
    return new


NAMES = [
    "map", "AIA map", "EUI map", "cube", "FITS header", "dict", "MetaDict", "wcs", "text path", "path", "scaled file",
    "compressed file", "big-endian", "big-endian map", "integers", "unsigned", "Fortran order", "one wavelength",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_is_the_same_image(name, tmp_path):
    source = sources(tmp_path)[name]
    image = to_image(source)
    assert image.data.dtype == np.float64
    assert image.data.dtype.isnative
    assert image.data.shape == SHAPE
    assert_allclose(image.data, DATA, atol={"integers": 0.5, "unsigned": 0.5, "scaled file": 0.002}.get(name, 1e-4))
    assert np.abs(sky(image.wcs, PIXELS) - plain_sky(PIXELS)).max() / ARCSEC < 1e-7
    assert image.grid.exact
    assert image.date.isot.startswith("2024-05-01T00:00:00")
    assert image.observer.radius.to_value("km") == pytest.approx(1.496e8)
    if name == "AIA map":
        assert isinstance(source, AIAMap)
    if name == "EUI map":
        assert isinstance(source, EUIMap)
    if "path" not in name and "file" not in name:
        assert image.source is source


def test_image_is_itself():
    image = to_image(small_map())
    assert to_image(image) is image


def test_source_is_not_touched():
    data = DATA.astype("f4")
    data[3, 4] = np.inf
    target = sunpy.map.Map(data, HEADER, mask=data > 120)
    before = copy.deepcopy(target)
    image = to_image(target)
    image.data[:] = 0
    assert_array_equal(target.data, before.data)
    assert_array_equal(target.mask, before.mask)
    assert dict(target.meta) == dict(before.meta)


@pytest.mark.parametrize("kind", ["map", "masked array", "masked cube", "NaN", "infinity"])
def test_what_is_not_valid_is_nan(kind):
    mask = np.zeros(SHAPE, bool)
    mask[5:9, 7] = True
    hole = {"NaN": np.nan, "infinity": -np.inf}.get(kind, 1e9)
    data = np.where(mask, hole, DATA)
    source = {
        "map": lambda: sunpy.map.Map(data, HEADER, mask=mask),
        "masked array": lambda: (np.ma.MaskedArray(data, mask), HEADER),
        "masked cube": lambda: NDCube(data, WCS(HEADER), mask=mask),
    }.get(kind, lambda: (data, HEADER))()
    image = to_image(source)
    assert_array_equal(image.mask, mask)
    assert_array_equal(image.data[~mask], DATA[~mask])


def test_mask_of_one_value():
    assert not to_image(NDCube(DATA, WCS(HEADER), mask=False)).mask.any()
    assert to_image((np.ma.MaskedArray(DATA), HEADER)).mask.sum() == 0


# Headers


@given(
    roll=st.floats(-180, 180),
    scale=st.tuples(st.floats(0.3, 20), st.floats(0.3, 20)),
    flip=st.booleans(),
    centre=st.tuples(st.floats(-4000, 4000), st.floats(-4000, 4000)),
    crpix=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    convention=st.sampled_from(["pc", "cd", "crota"]),
    unit=st.sampled_from(["arcsec", "deg", "rad"]),
    extra=st.sampled_from([(), ("time",), ("wave", "time"), ("time", "wave")]),
)
def test_celestial_wcs_is_wcslibs_own(roll, scale, flip, centre, crpix, convention, unit, extra):
    """Whatever the convention, and whatever other axes there are and depend on x."""
    factor = (1 * u.arcsec).to_value(unit)
    a, sx, sy = np.radians(roll), -scale[0] if flip else scale[0], scale[1]
    two = fits.Header(
        {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": unit, "CUNIT2": unit, "LONPOLE": 180.0}
        | {"CRPIX1": crpix[0], "CRPIX2": crpix[1], "CRVAL1": centre[0] * factor, "CRVAL2": centre[1] * factor}
    )
    if convention == "cd":
        two.update({"CD1_1": sx * np.cos(a) * factor, "CD1_2": -sy * np.sin(a) * factor})
        two.update({"CD2_1": sx * np.sin(a) * factor, "CD2_2": sy * np.cos(a) * factor})
    else:
        two.update({"CDELT1": sx * factor, "CDELT2": sy * factor})
    if convention == "pc":
        two.update({"PC1_1": np.cos(a), "PC1_2": -np.sin(a) * sy / sx})
        two.update({"PC2_1": np.sin(a) * sx / sy, "PC2_2": np.cos(a)})
    elif convention == "crota":
        two["CROTA2"] = roll
    many = two.copy()
    for axis, kind in enumerate(extra, start=3):
        many.update({f"CTYPE{axis}": {"time": "UTC", "wave": "WAVE"}[kind]})
        many.update({f"CUNIT{axis}": {"time": "s", "wave": "nm"}[kind]})
        many.update({f"CRVAL{axis}": 97.0, f"CRPIX{axis}": 1.0})
        if convention != "crota":  # which goes with neither of the others
            name = convention.upper()
            many[f"{name}{axis}_{axis}"] = 1.0
            many[f"{name}{axis}_1"] = -120.3 if kind == "time" else 0.0
    ours = celestial_wcs(many)
    assert [*ours.wcs.ctype] == ["HPLN-TAN", "HPLT-TAN"]
    assert np.abs(sky(ours, PIXELS) - sky(WCS(two), PIXELS)).max() / ARCSEC < 1e-6


def test_a_spice_header_from_which_astropy_takes_no_celestial_part():
    header = SPICE.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        full = WCS(header)
    with pytest.raises(NonseparableSubimageCoordinateSystemError):
        full.celestial  # noqa: B018
    lon, lat, _ = full.wcs_pix2world(*PIXELS, np.zeros(PIXELS.shape[1]), 0)
    for source in ((DATA, header), (DATA, full), sunpy.map.Map(DATA, header)):
        image = to_image(source)
        expected = np.array([(lon + 180) % 360 - 180, lat])
        assert np.abs(sky(image.wcs, PIXELS) - expected).max() / ARCSEC < 1e-7
        assert image.times.step == pytest.approx(-120.3)


def test_headers_of_the_l2_file_that_sunraster_tests_itself_with():
    sunraster = pytest.importorskip("sunraster")
    path = next((Path(sunraster.__file__).parent / "tests" / "data").glob("*-ras-*.fits"), None)
    if path is None:
        pytest.skip("this sunraster comes without its test data")
    for window in (0, 1):
        header = fits.getheader(path, window)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            full = WCS(header)
        ours = celestial_wcs(header)
        zero = np.zeros(PIXELS.shape[1])
        lon, lat, *_ = full.wcs_pix2world(*PIXELS, zero, zero, 0)
        assert np.abs(sky(ours, PIXELS) - [(lon + 180) % 360 - 180, lat]).max() / ARCSEC < 1e-7
        assert ours.wcs.aux.dsun_obs == pytest.approx(header["DSUN_OBS"])
        assert ours.wcs.dateavg == header["DATE-AVG"]


@pytest.mark.parametrize("name", ["SOLARX", "SOLAR-X", "solar_x"])
def test_old_names_of_helioprojective_axes(name):
    y = name[:-1] + ("y" if name.islower() else "Y")
    image = to_image((DATA, changed(HEADER, {"CTYPE1": name, "CTYPE2": y})))
    assert np.abs(sky(image.wcs, PIXELS) - plain_sky(PIXELS)).max() / ARCSEC < 1e-7


def test_latitude_first():
    """The array keeps its order; only the names of the axes were exchanged."""
    swapped = HEADER.copy()
    for key in ("CTYPE", "CUNIT", "CRVAL", "CDELT"):
        swapped[f"{key}1"], swapped[f"{key}2"] = HEADER[f"{key}2"], HEADER[f"{key}1"]
    for i, j in ((1, 2), (2, 1)):
        swapped[f"PC{i}_1"], swapped[f"PC{i}_2"] = HEADER[f"PC{j}_1"], HEADER[f"PC{j}_2"]
    for source in ((DATA, swapped), (DATA, WCS(swapped))):
        image = to_image(source)
        assert_array_equal(image.data, DATA)
        assert np.abs(sky(image.wcs, PIXELS) - plain_sky(PIXELS)).max() / ARCSEC < 1e-7


def test_axes_that_are_not_the_first():
    """Wavelength first, as EIS has it."""
    header = fits.Header({"WCSAXES": 3, "CTYPE1": "WAVE", "CUNIT1": "Angstrom", "CRPIX1": 1.0, "CRVAL1": 195.0})
    for key in ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT"):
        for axis in (1, 2):
            header[f"{key}{axis + 1}"] = HEADER[f"{key}{axis}"]
    for i in (1, 2):
        for j in (1, 2):
            header[f"PC{i + 1}_{j + 1}"] = HEADER[f"PC{i}_{j}"]
    assert np.abs(sky(celestial_wcs(header), PIXELS) - plain_sky(PIXELS)).max() / ARCSEC < 1e-7


PROJECTIONS = {
    "LONPOLE": {"LONPOLE": 170.0},
    "ZPN": {"CTYPE1": "HPLN-ZPN", "CTYPE2": "HPLT-ZPN", "PV2_1": 1.0, "PV2_3": 50.0},
    "CAR": {"CTYPE1": "HPLN-CAR", "CTYPE2": "HPLT-CAR"},
}


@pytest.mark.parametrize("cards", PROJECTIONS.values(), ids=PROJECTIONS)
def test_other_projections(cards):
    header = changed(HEADER, cards)
    image = to_image((DATA, spectral(header)))
    expected = plain_sky(PIXELS, header)
    assert np.abs(sky(image.wcs, PIXELS) - expected).max() / ARCSEC < 1e-7
    tx, ty = (np.degrees(angle) for angle in image.grid.angles(*PIXELS))
    assert np.abs(np.array([tx, ty]) - expected).max() / ARCSEC < 1e-6


def sip_header():
    header = HEADER.copy()
    header.update({"CTYPE1": "HPLN-TAN-SIP", "CTYPE2": "HPLT-TAN-SIP"})
    header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-3, "B_1_1": -7e-4})
    header.update({"AP_ORDER": 2, "BP_ORDER": 2, "AP_2_0": -1e-3, "BP_1_1": 7e-4})
    return header


def test_distortion_is_kept():
    expected = np.array(WCS(sip_header()).all_pix2world(*PIXELS, 0))
    image = to_image((DATA, sip_header()))
    assert not image.grid.exact
    assert_allclose(image.wcs.all_pix2world(*PIXELS, 0), expected, rtol=0, atol=1e-12)
    part = to_image(NDCube(DATA, WCS(sip_header()))[5:, 7:])
    shifted = PIXELS - [[7], [5]]
    assert_allclose(part.wcs.all_pix2world(*shifted, 0), expected, rtol=0, atol=1e-11)


def test_distortion_that_cannot_be_cut_out_is_refused():
    with pytest.raises(ImageError, match=r"distortion \(SIP or tables\).*reproject it to TAN first\."):
        to_image(NDCube(DATA, WCS(sip_header())).rebin((2, 2)))


def test_missing_keywords_have_the_standards_defaults():
    header = fits.Header({"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"})
    assert_allclose(sky(celestial_wcs(header), [[0.0], [0.0]]), [[1], [1]], atol=1e-3)
    header.update({"CDELT1": 0.001, "CDELT2": 0.001, "CRPIX1": 1.0, "CRPIX2": 1.0})
    image = to_image((DATA, header))
    assert image.observer is None
    assert image.date is None
    assert image.times is None


@pytest.mark.parametrize("drop", [["HGLN_OBS"], ["DATE-OBS", "MJD-OBS"], ["HGLN_OBS", "DATE-OBS", "MJD-OBS"]])
def test_missing_observer_or_date_of_a_map_is_not_warned_about_here(drop):
    header = {key: value for key, value in HEADER.items() if key not in drop}
    image = to_image(sunpy.map.Map(DATA, header))
    assert (image.observer is None) == ("HGLN_OBS" in drop)
    assert (image.date is None) == ("DATE-OBS" in drop)
    assert np.abs(sky(image.wcs, PIXELS) - plain_sky(PIXELS)).max() / ARCSEC < 1e-7
    sunalign.correct(image.source, sunalign.Correction.from_parameters(1 * u.arcsec))


@pytest.mark.parametrize("unit", ["W/m2/sr/nm", "furlong per fortnight", "DN", ""])
def test_unit_that_fits_does_not_know_is_not_warned_about(unit):
    image = to_image(sunpy.map.Map(DATA, changed(HEADER, {"BUNIT": unit})))
    assert image.unit == {"W/m2/sr/nm": u.W / u.m**2 / u.sr / u.nm, "DN": u.DN, "": u.one}.get(unit)


def test_broken_cards_elsewhere_are_none_of_our_business():
    header = {**dict(HEADER), "comment": "a\nb", "XPOSURE": None, "keycomments": {"a": 1}, "DSUN_OBS": None}
    assert np.abs(sky(celestial_wcs(header), PIXELS) - plain_sky(PIXELS)).max() / ARCSEC < 1e-7


# Rasters and parts


def test_one_column():
    header = changed(SPICE, {"NAXIS1": 1, "CRPIX1": 1.0})
    image = to_image((DATA[:, :1], header))
    assert image.data.shape == (48, 1)
    assert image.times.is_instant
    assert image.grid.pixel_size[0] == pytest.approx(6 * np.pi / 180 / 3600, rel=1e-2)


def test_submap_of_a_raster():
    whole = sunpy.map.Map(DATA, SPICE)
    part = whole.submap([7, 5] * u.pix, top_right=[20, 40] * u.pix)
    ours, all_of_it = to_image(part), to_image(whole)
    assert_array_equal(ours.data, all_of_it.data[5:41, 7:21])
    corners = np.array([[0, 13], [0, 35]], float)
    moved = sky(all_of_it.wcs, corners + np.array([[7], [5]]))
    assert np.abs(sky(ours.wcs, corners) - moved).max() / ARCSEC < 1e-6
    assert_allclose((ours.times.at(np.arange(14)) - all_of_it.times.at(np.arange(7, 21))).to_value("s"), 0, atol=1e-5)


@given(
    y0=st.integers(0, 20), x0=st.integers(0, 20), ny=st.integers(6, 27), nx=st.integers(6, 19),
    by=st.integers(1, 5), bx=st.integers(1, 5),
)  # fmt: skip
def test_crop_and_bin_as_sunpy_does(y0, x0, ny, nx, by, bx):
    target = sunpy.map.Map(DATA, HEADER)
    part = target.submap([x0, y0] * u.pix, top_right=[x0 + nx - 1, y0 + ny - 1] * u.pix)
    # Whole blocks, for sunpy refuses others or drops pixels where we drop incomplete blocks.
    my, mx = ny // by, nx // bx
    whole = part.submap([0, 0] * u.pix, top_right=[mx * bx - 1, my * by - 1] * u.pix)
    theirs = whole.superpixel([bx, by] * u.pix, func=np.mean)
    image = to_image(target).crop(slice(y0, y0 + ny), slice(x0, x0 + nx)).binned(by, bx)
    ours = image.to_map()
    assert_allclose(ours.data, theirs.data, rtol=1e-12)
    corners = np.array([[-0.5, mx - 0.5, 0.0], [-0.5, my - 0.5, 0.0]])
    assert np.abs(sky(ours.wcs, corners) - sky(theirs.wcs, corners)).max() / ARCSEC < 1e-6
    tx, ty = (np.degrees(angle) for angle in image.grid.angles(*corners))
    assert np.abs(np.array([tx, ty]) - sky(theirs.wcs, corners)).max() / ARCSEC < 1e-6
    assert ours.observer_coordinate.radius == target.observer_coordinate.radius
    assert ours.date == target.date


def test_half_a_pixel():
    """The centre of a block of two is between its pixels; its corner is theirs."""
    image = to_image((DATA, HEADER))
    grid = image.binned(2, 2).grid
    for ours, base in (((0.0, 0.0), (0.5, 0.5)), ((-0.5, -0.5), (-0.5, -0.5)), ((19.5, 23.5), (39.5, 47.5))):
        assert_allclose(grid.angles(*ours), image.grid.angles(*base), rtol=0, atol=1e-14)


def test_blocks_with_less_than_half_of_their_pixels_are_nan():
    data = DATA.copy()
    data[0, 0] = data[0, 2:4] = data[1, 2] = np.nan
    binned = to_image((data, HEADER)).binned(2, 2).data
    assert binned[0, 0] == pytest.approx(np.nanmean(data[:2, :2]))
    assert np.isnan(binned[0, 1])
    assert np.isfinite(binned).sum() == binned.size - 1


def test_binning_by_one_and_masking():
    image = to_image(small_map())
    assert image.binned(1, 1) is image
    mask = np.zeros(image.data.shape, bool)
    mask[2, 3] = True
    assert_array_equal(image.masked(mask).mask, mask)
    assert not image.mask.any()


def test_picture_of_a_bare_wcs():
    picture = Image(DATA, to_image((DATA, WCS(HEADER))).grid).to_map()
    assert np.abs(sky(picture.wcs, PIXELS) - plain_sky(PIXELS)).max() / ARCSEC < 1e-7


# Files


def test_first_image_of_a_file_and_its_axes_of_one_pixel(tmp_path):
    path = tmp_path / "window.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.arange(3.0))])
    hdus = [fits.PrimaryHDU(), table, fits.ImageHDU(DATA[None], SPICE), fits.ImageHDU(DATA * 2, HEADER)]
    fits.HDUList(hdus).writeto(path)
    image = to_image(path)
    assert image.name == "window.fits"
    assert_array_equal(image.data, DATA)
    assert image.times.step == pytest.approx(-120.3)


def test_file_is_closed_and_data_are_ones_own(tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(DATA, HEADER).writeto(path)
    read = read_map(path)
    path.unlink()
    assert_array_equal(read.data, DATA)


def test_what_is_no_image_is_refused(tmp_path):
    table, cube, flat = (tmp_path / f"{name}.fits" for name in ("table", "cube", "flat"))
    fits.HDUList([fits.PrimaryHDU()]).writeto(table)
    fits.PrimaryHDU(np.zeros((3, *SHAPE)), spectral(HEADER)).writeto(cube)
    fits.PrimaryHDU(DATA).writeto(flat)
    junk = tmp_path / "junk.fits"
    junk.write_bytes(b"no FITS at all")
    cases = {
        "There is no file": tmp_path / "absent.fits",
        "is a directory": tmp_path,
        "holds no image": table,
        r"holds a cube of shape \(3, 48, 40\).*sunalign\.images\.cubes": cube,
        r"flat\.fits has no celestial axes .*\(HDU 0: CTYPE none, none\)": flat,
        "cannot be read as FITS": junk,
        "An image is a sunpy Map": 3.0,
        "A tuple is": (DATA, HEADER, 1),
        "have two dimensions; these have 3": (DATA[None], HEADER),
        "no celestial axes": (DATA, changed(HEADER, {"CTYPE1": "WAVE"})),
        "is 'm', which is not an angle": (DATA, changed(HEADER, {"CUNIT1": "m"})),
        r"has CDELT1 = 0, as a sit-and-stare observation has": (DATA, changed(SPICE, {"CDELT1": 0.0})),
        "cannot be used": (DATA, changed(HEADER, {"PC2_1": 0.0, "PC2_2": 0.0, "PC1_2": 1.0})),
    }
    for message, source in cases.items():
        with pytest.raises(ImageError, match=message):
            to_image(source)
