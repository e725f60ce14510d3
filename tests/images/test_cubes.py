"""Cubes: which pixels are looked at, where they are, and that the whole cube comes back corrected."""

import copy
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import astropy.units as u
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.wcsapi import BaseLowLevelWCS, HighLevelWCSWrapper

from ndcube import NDCollection, NDCube, NDCubeSequence
from ndcube.wcs.wrappers import CompoundLowLevelWCS, ReorderedLowLevelWCS

import sunalign
from sunalign import Correction, simulate
from sunalign.correctors import apply_to_windows
from sunalign.exceptions import CorrectionError, ImageError, SunalignUserWarning
from sunalign.images import to_image
from sunalign.images._cube_sky import cube_sky
from sunalign.images.cubes import lines, spectral_image
from sunalign.simulate import PointingError
from sunalign.testing.helpers import small_cube, smooth_image

ARCSEC = 1 / 3600
SHAPE = (2, 5, 24, 16)
CORRECTION = Correction.from_parameters(7 * u.arcsec, -12 * u.arcsec)


def spice_header(**cards):
    """Celestial, spectral and time axes of a SPICE L2 window, time along x."""
    header = fits.Header()
    header.update(
        {"WCSAXES": 4, "LONPOLE": 180.0, "DATEREF": "2024-10-17T00:00:50.215", "DATE-AVG": "2024-10-17T00:08:50.215"}
        | {"CTYPE1": "HPLN-TAN", "CUNIT1": "arcsec", "CRVAL1": -58.5597, "CDELT1": 4.0, "CRPIX1": 8.5}
        | {"CTYPE2": "HPLT-TAN", "CUNIT2": "arcsec", "CRVAL2": -5.4685, "CDELT2": 1.098, "CRPIX2": 12.5}
        | {"CTYPE3": "WAVE", "CUNIT3": "nm", "CRVAL3": 70.4567, "CDELT3": 0.0097, "CRPIX3": 3.0}
        | {"CTYPE4": "UTC", "CUNIT4": "s", "CRVAL4": 903.6, "CDELT4": 1.0, "CRPIX4": 1.0}
        | {"PC1_1": 0.996769, "PC1_2": -0.0220482, "PC2_1": 0.2926098, "PC2_2": 0.996769, "PC4_1": -60.25}
        | {"DSUN_OBS": 6.7e10, "HGLN_OBS": -28.3, "HGLT_OBS": 7.5, "RSUN_REF": 6.957e8}
        | cards
    )
    return header


def wcs_of(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(fits.Header(header))


def random_cube(shape=SHAPE, **cards):
    data = np.random.default_rng(0).random(shape)
    return NDCube(data, wcs_of(spice_header(**cards)), unit="ct", mask=data > 0.9)


def by_physical_type(wcs, points):
    """World values, in degrees where they are angles, by physical type."""
    low = wcs if isinstance(wcs, BaseLowLevelWCS) else wcs.low_level_wcs
    values = low.pixel_to_world_values(*points)
    named = {}
    for kind, unit, value in zip(low.world_axis_physical_types, low.world_axis_units, values, strict=True):
        angle = u.Unit(unit).is_equivalent(u.deg)
        named[str(kind).rpartition(".")[2]] = np.asarray(value) * (u.Unit(unit).to(u.deg) if angle else 1)
    named["lon"] = (named["lon"] + 180) % 360 - 180
    return named


def assert_sky_is_the_cubes(cube, limit=1e-7):
    """The image's WCS says what ``cube.wcs`` says, at random points of the image plane."""
    image, sky = to_image(cube), cube_sky(cube)
    ny, nx = image.data.shape
    assert (ny, nx) == (cube.data.shape[sky.y_axis], cube.data.shape[sky.x_axis])
    x, y = np.random.default_rng(1).uniform(-0.5, np.array([[nx], [ny]]) - 0.5, (2, 30))
    points = np.zeros((cube.data.ndim, 30))
    points[cube.data.ndim - 1 - sky.x_axis], points[cube.data.ndim - 1 - sky.y_axis] = x, y
    world = by_physical_type(cube.wcs, points)
    lon, lat = image.wcs.wcs_pix2world(x, y, 0)
    apart = np.hypot((lon - world["lon"] + 180) % 360 - 180, lat - world["lat"]).max()
    assert apart / ARCSEC < limit
    tx, ty = image.grid.angles(x, y)
    assert np.abs(np.degrees([tx, ty]) - [world["lon"], world["lat"]]).max() / ARCSEC < max(limit, 1e-6)
    return image


# Where the pixels are


@pytest.mark.parametrize(
    "item",
    [
        np.s_[:], np.s_[0], np.s_[:, 2], np.s_[0, 3], np.s_[0, 1:4], np.s_[..., 3:], np.s_[..., 5:20, 2:9],
        np.s_[1, 2, 4:, 7:12], np.s_[0:1, 2:3], np.s_[:, :, 23:, :],
    ],
)  # fmt: skip
def test_sliced(item):
    cube = random_cube()
    part = cube[item]
    image = assert_sky_is_the_cubes(part)
    columns = range(16)[item[3]] if isinstance(item, tuple) and len(item) == 4 else None
    if columns is None and isinstance(item, tuple) and item[0] is Ellipsis:
        columns = range(16)[item[-1]]
    whole = to_image(cube).times.at(np.arange(16))
    expected = whole if columns is None else whole[list(columns)]
    # Repeats are a second apart here; which of them a cut leaves decides about half of it.
    assert_allclose((image.times.at(np.arange(len(expected))) - expected).to_value("s"), 0, atol=0.51)


@given(
    start=st.tuples(st.integers(0, 12), st.integers(0, 10)), length=st.tuples(st.integers(2, 12), st.integers(2, 6)),
    again=st.booleans(), drop=st.sampled_from([0, 1, 2]), wave=st.integers(0, 4),
)  # fmt: skip
def test_slices_of_slices(start, length, again, drop, wave):
    cube = random_cube()
    part = cube[..., start[0] : start[0] + length[0], start[1] : start[1] + length[1]]
    part = part[..., 1:, :] if again and length[0] > 2 else part
    part = part if drop == 0 else part[1] if drop == 1 else part[1, wave]
    assert_sky_is_the_cubes(part)


def test_rebinned():
    assert_sky_is_the_cubes(random_cube().rebin((1, 5, 3, 2)))
    assert_sky_is_the_cubes(random_cube()[0, :, 3:, 2:].rebin((1, 7, 2)))


@pytest.mark.parametrize("pixels", [[3, 1, 0, 2], [2, 3, 1, 0], [1, 0, 2, 3], [0, 1, 2, 3]])
def test_any_order_of_axes(pixels):
    cube = random_cube()
    shape = tuple(SHAPE[3 - pixel] for pixel in pixels)[::-1]
    data = cube.data.transpose([3 - pixels[3 - axis] for axis in range(4)])
    assert data.shape == shape
    low = ReorderedLowLevelWCS(cube.wcs.low_level_wcs, pixels, [2, 0, 3, 1])
    other = NDCube(data, HighLevelWCSWrapper(low))
    image = assert_sky_is_the_cubes(other)
    assert_allclose(image.data, to_image(NDCube(cube.data, cube.wcs)).data)


def test_axes_of_a_header_in_another_order():
    """Wavelength, latitude, longitude: EIS and IRIS."""
    header = fits.Header({"WCSAXES": 3, "CTYPE1": "WAVE", "CUNIT1": "Angstrom", "CRPIX1": 1.0, "CRVAL1": 1334.0})
    old = spice_header()
    header["CDELT1"] = 0.02
    for new, axis in ((2, 2), (3, 1)):
        for key in ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT"):
            header[f"{key}{new}"] = old[f"{key}{axis}"]
    header.update({"PC3_3": 0.996769, "PC3_2": -0.0220482, "PC2_3": 0.2926098, "PC2_2": 0.996769})
    data = np.random.default_rng(0).random((16, 24, 5))
    image = assert_sky_is_the_cubes(NDCube(data, wcs_of(header)))
    assert_allclose(image.data, data.mean(axis=2).T)


def test_two_and_three_dimensions():
    two = spice_header()
    for key in [key for key in two if key.endswith(("3", "4")) or key in ("PC4_1", "WCSAXES")]:
        del two[key]
    assert_sky_is_the_cubes(NDCube(np.ones(SHAPE[2:]), wcs_of(two)))
    assert_sky_is_the_cubes(small_cube())


def test_compound():
    celestial = small_cube(n_wavelengths=1)[0]
    wave = wcs_of({"CTYPE1": "WAVE", "CUNIT1": "nm", "CRPIX1": 1.0, "CRVAL1": 97.7, "CDELT1": 0.1})
    low = CompoundLowLevelWCS(wave, celestial.wcs.low_level_wcs)
    assert_sky_is_the_cubes(NDCube(np.ones((48, 40, 7)), HighLevelWCSWrapper(low)))


def test_cubes_that_are_no_images_are_refused_by_name():
    spectrum = NDCube(np.ones(5), wcs_of({"CTYPE1": "WAVE", "CUNIT1": "nm", "CRVAL1": 97.7, "CDELT1": 0.1}))
    cases = {
        r"has no celestial axes \(its world axes are em\.wl\)": spectrum,
        "cut down to one celestial pixel axis": random_cube()[0, :, :, 3],
        "one slit position only": random_cube()[..., 3:4],
        r"changes along its array axis 0 too; take one of the 2 images": random_cube(PC2_4=0.3),
    }
    for message, cube in cases.items():
        with pytest.raises(ImageError, match=message):
            to_image(cube)


def test_an_axis_of_one_pixel_may_move_the_sky():
    assert_sky_is_the_cubes(random_cube((1, 5, 24, 16), PC2_4=0.3))


# gWCS


def gwcs_cube(*, shape=(80, 100), curved=0.0, frame=None, away=0.1, spectral=False, roll=0.0):
    gwcs = pytest.importorskip("gwcs")
    from astropy.modeling import models as m
    from gwcs import coordinate_frames as cf

    from sunpy.coordinates import Helioprojective, get_earth

    if frame is None:
        frame = Helioprojective(observer=get_earth("2024-01-01"), obstime="2024-01-01")
    first = m.Shift(-50) & m.Shift(-40)
    if curved:
        first = first | m.Mapping((0, 1)) | (m.Polynomial1D(2, c1=1, c2=curved) & m.Identity(1))
    transform = (
        first | m.Rotation2D(roll) | (m.Scale(2 / 3600) & m.Scale(2 / 3600)) | m.Pix2Sky_TAN()
        | m.RotateNative2Celestial(away, 0.2, 180.0)
    )  # fmt: skip
    sky = cf.CelestialFrame(
        axes_order=(0, 1), unit=(u.deg, u.deg), reference_frame=frame,
        axis_physical_types=[f"custom:pos.helioprojective.{name}" for name in ("lon", "lat")],
    )  # fmt: skip
    n = 2
    if spectral:
        wave = cf.SpectralFrame(axes_order=(2,), unit=u.nm, axis_physical_types=["em.wl"])
        sky, transform, n, shape = cf.CompositeFrame([sky, wave]), transform & m.Scale(0.1), 3, (5, *shape)
    pixels = cf.CoordinateFrame(n, ["PIXEL"] * n, tuple(range(n)), unit=[u.pix] * n, name="pixels")
    return NDCube(smooth_image(shape[-2:], seed=2) * np.ones(shape), gwcs.WCS([(pixels, transform), (sky, None)]))


@pytest.mark.parametrize(
    "options", [{}, {"spectral": True}, {"away": 0.4}, {"roll": 30.0}, {"roll": 90.0}, {"curved": 1e-6}]
)
def test_gwcs(options):
    image = assert_sky_is_the_cubes(gwcs_cube(**options), limit=0.02)
    assert image.date.isot.startswith("2024-01-01")
    assert image.observer.radius.to_value("AU") == pytest.approx(0.983, abs=1e-3)


def test_gwcs_that_is_no_gnomonic_image_is_refused():
    from sunpy.coordinates import HeliographicStonyhurst

    with pytest.raises(ImageError, match=r"WCS of The cube differs from a gnomonic \(TAN\) projection by .* pixels"):
        to_image(gwcs_cube(curved=3e-4))
    with pytest.raises(ImageError, match=r"celestial axes in HeliographicStonyhurst.*Helioprojective only"):
        to_image(gwcs_cube(frame=HeliographicStonyhurst(obstime="2024-01-01")))


def test_gwcs_of_an_observer_by_name():
    from sunpy.coordinates import Helioprojective

    image = to_image(gwcs_cube(frame=Helioprojective(observer="earth", obstime="2024-01-01")))
    assert image.observer.radius.to_value("AU") == pytest.approx(0.983, abs=1e-3)
    assert to_image(gwcs_cube(frame=Helioprojective(obstime="2024-01-01"))).observer is None


def test_gwcs_from_end_to_end():
    cube = gwcs_cube(spectral=True)
    away = sunalign.correct(cube, Correction.from_parameters(9 * u.arcsec, -6 * u.arcsec))
    result = sunalign.align(away, cube, max_shift=30 * u.arcsec, on_doubt="ignore")
    assert type(result.aligned) is NDCube
    points = np.array([[5.0, 90.0], [8.0, 70.0], [0.0, 4.0]])
    found, true = (by_physical_type(c.wcs, points) for c in (result.aligned, cube))
    assert np.abs(found["lon"] - true["lon"]).max() / ARCSEC < 0.05
    assert np.abs(found["lat"] - true["lat"]).max() / ARCSEC < 0.05
    assert_array_equal(found["wl"], true["wl"])


# What is looked at


def test_mean_of_valid_values_is_the_default():
    cube = random_cube()
    cube.data[1, 2, 3, 4] = np.nan
    cube.mask[:, :, 7, 8] = True
    valid = np.where(cube.mask | np.isnan(cube.data), np.nan, cube.data).reshape(-1, 24, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = {name: getattr(np, f"nan{name}")(valid, axis=0) for name in ("mean", "sum", "max", "median")}
    expected["sum"][7, 8] = np.nan
    assert np.isnan(to_image(cube).data[7, 8])
    assert_allclose(to_image(cube).data, expected["mean"])
    for name in ("mean", "sum", "max"):
        assert_allclose(spectral_image(cube, reduce=name).data, expected[name])
    assert_allclose(spectral_image(cube, reduce=np.nanmedian).data, expected["median"])


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ({"wavelength": (70.45, 70.47) * u.nm}, [2, 3]),
        ({"wavelength": (704.7, 704.5) * u.AA}, [2, 3]),
        ({"wavelength": ([70.45, 70.47] * u.nm).to(u.eV, u.spectral())}, [2, 3]),
        ({"wavelength": 70.4567 * u.nm, "width": 0.021 * u.nm}, [1, 2, 3]),
        ({"wavelength": 70.4567 * u.nm, "width": 60 * u.km / u.s}, [2]),
        ({"wavelength": 70.4567 * u.nm}, [0, 1, 2, 3, 4]),
        ({"wavelength": 704.5 * u.AA}, [0, 1, 2, 3, 4]),
    ],
)
def test_wavelengths(choice, chosen):
    cube = random_cube()
    cube.mask = None
    assert_allclose(spectral_image(cube, **choice).data, cube.data[:, chosen].mean(axis=(0, 1)))


def test_wavelengths_of_other_orders_and_coordinates():
    cube = random_cube()
    swapped = NDCube(
        cube.data.transpose(3, 1, 0, 2),
        HighLevelWCSWrapper(ReorderedLowLevelWCS(cube.wcs.low_level_wcs, [1, 3, 2, 0], [3, 1, 0, 2])),
    )
    chosen = {"wavelength": (70.45, 70.47) * u.nm}
    expected = cube.data[:, [2, 3]].mean(axis=(0, 1))
    assert_allclose(spectral_image(swapped, **chosen).data, expected)
    header = spice_header(CTYPE3="FREQ", CUNIT3="Hz", CRVAL3=4.255e15, CDELT3=-5.9e11)
    assert spectral_image(NDCube(cube.data, wcs_of(header)), wavelength=(70.45, 70.47) * u.nm).data.shape == (24, 16)
    table = NDCube(cube.data, wcs_of(spice_header(CTYPE3="STOKES", CUNIT3="", CDELT3=1.0)))
    table.extra_coords.add("wavelength", 1, (70.4567 + 0.0097 * np.arange(-2, 3)) * u.nm)
    assert_allclose(spectral_image(table, **chosen).data, expected)


def test_lines_by_name():
    cube = random_cube(CRVAL3=70.55)
    cube.meta = {"EXTNAME": "O III 703 / Mg IX 706 - Peak"}
    assert {name: line.to_value("AA") for name, line in lines(cube).items()} == {"O III 703": 703, "Mg IX 706": 706}
    wanted = spectral_image(cube, wavelength=70.6 * u.nm)
    for name in ("Mg IX 706", "mgix706", "Mg IX", "mg"):
        assert_array_equal(spectral_image(cube, line=name).data, wanted.data)
    assert wanted.name == "O III 703 / Mg IX 706 - Peak"
    with pytest.raises(ImageError, match=r"list no line 'Fe XII' \(listed: 'O III 703', 'Mg IX 706'\); give its wave"):
        spectral_image(cube, line="Fe XII")
    names = {"Ly Beta 1025 (Merged)": "Ly Beta 1025", "C III 977 - Peak": "C III 977", "Ly-gamma-CIII (Merged)": None}
    for extname, line in names.items():
        cube.meta = {"EXTNAME": extname}
        assert list(lines(cube)) == ([line] if line else [])


def test_lines_of_eis_and_iris():
    cube = random_cube()
    cube.meta = {"wininfo": np.array([("Fe XII 195.119", 194.8, 195.4)], dtype="U20,f8,f8")}
    cube.meta["wininfo"].dtype.names = ("line_id", "wvl_min", "wvl_max")
    assert_allclose(lines(cube)["Fe XII 195.119"].to_value("nm"), [19.48, 19.54])
    cube.meta = {"TDESC1": "C II 1336", "TWMIN1": 1332.7, "TWMAX1": 1337.2, "TDESC2": "Mg II k 2796"}
    assert_allclose(lines(cube)["C II 1336"].to_value("AA"), [1332.7, 1337.2])
    cube.meta = None
    assert lines(cube) == {}


def test_choices_that_make_no_sense():
    cube = random_cube()
    wave = (70.45, 70.47) * u.nm
    cases = [
        ({"wavelength": (97, 98) * u.nm}, ImageError, r"has wavelengths from 70\.4373 to 70\.4761 nm, none of them"),
        ({"wavelength": (70.45, 70.47)}, TypeError, r"'wavelength' is a Quantity such as"),
        ({"wavelength": wave * u.s}, TypeError, r"'wavelength' is a Quantity such as"),
        ({"wavelength": [1, 2, 3] * u.nm}, TypeError, "one value or .*; got 3 values"),
        ({"wavelength": wave, "width": 1 * u.nm}, TypeError, "an interval already"),
        ({"wavelength": wave, "line": "Mg IX"}, TypeError, "say the same thing twice"),
        ({"width": 1 * u.nm}, TypeError, "'width' is that of an interval"),
        ({"wavelength": 70.4 * u.nm, "width": -1 * u.nm}, TypeError, "a velocity larger than 0"),
        ({"wavelength": 70.4 * u.nm, "width": 1}, TypeError, "a velocity larger than 0"),
        ({"reduce": "median"}, ValueError, "'reduce' is 'mean', 'sum', 'max' or a callable"),
        ({"reduce": lambda values, axis: 3.0}, ImageError, r"of shape \(\); it has to be \(24, 16\)"),
    ]
    for choice, error, message in cases:
        with pytest.raises(error, match=message):
            spectral_image(cube, **choice)
    with pytest.raises(ImageError, match=r"has no wavelength axis \(its world axes are "):
        spectral_image(NDCube(np.ones(SHAPE), wcs_of(spice_header(CTYPE3="STOKES", CUNIT3=""))), wavelength=wave)


# Dumbbells and the slit's ends


def window(detector="SW", first=113, binning=1, n_slit=800, **meta):
    header = spice_header(CRPIX2=(n_slit + 1) / 2, CDELT2=1.098 * binning)
    keys = {"INSTRUME": "SPICE", "DETECTOR": detector, "PXBEG2": first, "NBIN2": binning, "DUMBBELL": 0}
    meta = dict(header) | keys | {"EXTNAME": "O III 703"} | meta
    return NDCube(np.random.default_rng(0).random((1, 2, n_slit, 4)), wcs_of(header), meta=meta)


def euispice_limits(header):
    """Rows that are kept by the convention of the SPICE team, for a window that is not binned."""
    lit = {"SW": 600, "LW": 626}[header["DETECTOR"]]
    begin = (1024 - lit) // 2 - header["PXBEG2"] + 1
    return begin + 20, begin + lit - 20


@pytest.mark.parametrize("first", [1, 113, 129])
@pytest.mark.parametrize("detector", ["SW", "LW"])
def test_rows_beyond_the_slit(detector, first):
    cube = window(detector, first)
    begin, end = euispice_limits(cube.meta)
    kept = np.flatnonzero(~to_image(cube).mask.any(axis=1))
    assert (kept[0], kept[-1] + 1, len(kept)) == (begin, min(end, 800), min(end, 800) - begin)
    assert not spectral_image(cube, mask_dumbbells=False).mask.any()


@given(y0=st.integers(0, 500), n=st.integers(50, 299), binning=st.sampled_from([1, 2, 4]), how=st.sampled_from("sw"))
def test_rows_of_a_part_are_those_of_the_whole(y0, n, binning, how):
    """Whether the cube was sliced, or its WCS."""
    cube = window(binning=binning, n_slit=800 // binning)
    y0, n = y0 // binning, max(n // binning, 2)
    whole = to_image(cube).mask[y0 : y0 + n]
    if how == "s":
        part = cube[:, :, y0 : y0 + n]
    else:
        wcs = cube.wcs.deepcopy()
        wcs.wcs.crpix[1] -= y0
        wcs.wcs.set()
        part = NDCube(cube.data[:, :, y0 : y0 + n], wcs, meta=cube.meta)
    assert_array_equal(to_image(part).mask, whole)


def test_rows_of_a_binned_window():
    cube = window()
    fine, coarse = to_image(cube).mask[:, 0], to_image(cube.rebin((1, 1, 4, 1))).mask[:, 0]
    assert_array_equal(coarse, fine.reshape(-1, 4).any(axis=1))


@pytest.mark.parametrize("lacking", [{"INSTRUME": "EIS"}, {"DETECTOR": "?"}, {"PXBEG2": None}])
def test_other_cubes_keep_their_rows(lacking):
    assert not to_image(window(**{"detector": "SW"} | {"first": 113}, **lacking)).mask.any()


def test_a_dumbbell_is_refused_by_name():
    cube = window(EXTNAME="DUMBBELL_UPPER_WINDOW3", DUMBBELL=2, n_slit=64)
    with pytest.raises(ImageError, match=r"The cube DUMBBELL_UPPER_WINDOW3 is a dumbbell.*mask_dumbbells=False"):
        to_image(cube)
    assert not spectral_image(cube, mask_dumbbells=False).mask.any()


def test_sit_and_stare_is_refused_by_name():
    with pytest.raises(ImageError, match="The cube O III 703 is a sit-and-stare observation"):
        to_image(window(STUDYTYP="Sit-and-stare"))
    single = window()
    with pytest.raises(ImageError, match="The cube O III 703 has one slit position only: a sit-and-stare or a single"):
        to_image(single[..., 2:3])


def test_a_sequence_of_images_is_refused_by_name():
    header = spice_header()
    del header["PC4_1"]
    cube = NDCube(np.ones((6, 1, 24, 16)), wcs_of(header))
    with pytest.raises(ImageError, match=r"The cube is a sequence of 6 images of different times; align one of them"):
        _ = to_image(cube).times
    assert to_image(cube[2]).data.shape == (24, 16)


def test_several_cubes_are_told_apart():
    cube = small_cube()
    for several in (NDCollection([("a", cube), ("b", cube)]), NDCubeSequence([cube, cube])):
        with pytest.raises(ImageError, match=rf"A {type(several).__name__} holds several cubes.*apply_to_windows"):
            to_image(several)


# From end to end


N_STEPS, N_SLIT, BINNING = 36, 200, 4


@pytest.fixture(scope="module")
def pair():
    error = PointingError(shift_x=21 * u.arcsec, shift_y=-34 * u.arcsec, scale_x=1.02)
    return simulate.raster_pair(
        2, error=error, n_steps=N_STEPS, n_slit=N_SLIT, slit_pixel=BINNING * 1.098 * u.arcsec, nan_rows=(0, 0),
        cadence=15 * u.s, margin=80 * u.arcsec, snr=20.0,
    )  # fmt: skip


def l2_header(target, extname, wavelength, n_wave, detector="SW"):
    """Cards of a SPICE L2 window, as the pipeline writes them, with the pointing and time of a map."""
    meta = target.meta
    header = fits.Header()
    header["EXTNAME"] = (extname, "Extension name")
    header["FILENAME"] = "solo_L2_spice-n-ras_20240501T000000_V01_12583760-000.fits"
    header["STUDYTYP"] = ("Raster", "Sit-and-stare, Raster or Single Exposure")
    header["SPIOBSID"] = (12583760, "SPICE Observation ID")
    header["XPOSURE"] = (14.9, "[s] Total effective exposure time")
    header["NWIN"] = (3, "Total number of windows (incl. db and int win)")
    for key in ("TIMESYS", "DATEREF", "DATE-OBS", "DATE-BEG", "DATE-AVG", "DATE-END"):
        header[key] = (meta[key.lower()], "[UTC]")
    header["LEVEL"] = ("L2", "Data processing level")
    header["OBSRVTRY"] = "Solar Orbiter"
    header["INSTRUME"] = ("SPICE", "Instrument name")
    header["TELESCOP"] = f"SOLO/SPICE/{detector}"
    header["DETECTOR"] = (detector, "Detector array name")
    header["SLIT_WID"] = (6, "[arcsec] Slit width")
    header["DUMBBELL"] = (0, "0/1/2: not a dumbbell/lower dumbbel/upper dumbb")
    header["BTYPE"] = "Spectral Radiance"
    header["BUNIT"] = ("W/m2/sr/nm", "Physical units of calibrated data")
    header["PXBEG2"], header["PXEND2"], header["NBIN2"] = 113, 912, BINNING
    header["WCSNAME"] = "Helioprojective-cartesian"
    for key in ("RSUN_REF", "DSUN_OBS", "HGLN_OBS", "HGLT_OBS", "LONPOLE"):
        header[key] = meta[key.lower()]
    header["SPECSYS"], header["VELOSYS"] = "TOPOCENT", 0.0
    for axis in (1, 2):
        for key in ("CTYPE", "CUNIT", "CRVAL", "CDELT", "CRPIX"):
            header[f"{key}{axis}"] = meta[f"{key}{axis}".lower()]
        for other in (1, 2):
            header[f"PC{axis}_{other}"] = meta[f"pc{axis}_{other}"]
    header["CTYPE3"], header["CUNIT3"], header["CRVAL3"] = "WAVE", "nm", wavelength
    header["CDELT3"], header["CRPIX3"], header["PC3_3"] = 0.00974076, (n_wave + 1) / 2, 1.0
    for key in ("CTYPE", "CUNIT", "CRVAL", "CDELT", "CRPIX"):
        header[f"{key}4"] = meta[f"{key}3".lower()]
    header["PC4_1"], header["PC4_4"] = (meta["pc3_1"], "Contribution of dimension 1 to dimension 4"), 1.0
    return header


def l2_data(target, n_wave, at, rng):
    """A line of 5 pixels on a noisy continuum, brighter beyond the slit's ends."""
    profile = np.exp(-0.5 * ((np.arange(n_wave) - at) / 2.1) ** 2)
    image = target.data / np.median(target.data)
    cube = profile[:, None, None] * image + 0.3 + rng.normal(0, 0.02, (n_wave, *image.shape))
    cube[:, :12] += 50 * rng.random((12, N_STEPS))
    cube[:, -12:] += 50
    return cube[None].astype(">f4")


@pytest.fixture(scope="module")
def windows(pair):
    rng = np.random.default_rng(5)
    made = {}
    for name, wave, n, at, detector in (
        ("O III 703 / Mg IX 706 - Peak", 70.45, 32, 25.5, "SW"), ("C III 977 - Peak", 97.70, 24, 11.0, "LW")
    ):  # fmt: skip
        made[name] = (l2_data(pair.target, n, at, rng), l2_header(pair.target, name, wave, n, detector))
    return made


def cube_of(data, header):
    mask = np.zeros(data.shape, bool)
    mask[0, :, 100:103, 7] = True
    uncertainty = StdDevUncertainty(data * 0.1)
    cube = NDCube(data, wcs_of(header), unit="W / (m2 sr nm)", mask=mask, meta=dict(header), uncertainty=uncertainty)
    cube.extra_coords.add("exposure", 3, np.full(data.shape[3], 14.9) * u.s)
    cube.global_coords.add("distance", "custom:pos.distance", 0.45 * u.AU)
    return cube


def corner_error(cube, truth):
    """Largest distance, in arcsec, between the corners of a cube's images and those of a map."""
    ny, nx = truth.data.shape
    x, y = np.array([0, nx - 1, 0, nx - 1]), np.array([0, 0, ny - 1, ny - 1])
    world = by_physical_type(cube.wcs, (x, y, 0 * x, 0 * x))
    lon, lat = truth.wcs.wcs_pix2world(x, y, 0)
    return np.hypot((lon - world["lon"] + 180) % 360 - 180, lat - world["lat"]).max() / ARCSEC


def assert_only_the_sky_moved(before, after):
    points = np.random.default_rng(3).uniform(0, 1, (4, 40)) * (np.array(before.data.shape[::-1]) - 1)[:, None]
    old, new = by_physical_type(before.wcs, points), by_physical_type(after.wcs, points)
    assert_array_equal(new["wl"], old["wl"])
    assert_array_equal(new["time"], old["time"])
    assert type(after) is type(before)
    assert after.data is before.data
    assert after.mask is before.mask
    assert after.unit == before.unit
    assert after.global_coords == before.global_coords or dict(after.global_coords) == dict(before.global_coords)
    assert list(after.extra_coords.keys()) == list(before.extra_coords.keys())
    if before.uncertainty is not None:
        assert after.uncertainty.array is before.uncertainty.array
    assert not {key for key in before.meta if key not in after.meta}
    assert after.meta["EXTNAME"] == before.meta["EXTNAME"]


def test_align_to(pair, windows):
    cube = cube_of(*windows["O III 703 / Mg IX 706 - Peak"])
    untouched = copy.deepcopy(cube)
    aligned, result = cube.align_to(pair.reference, fit=("shift", "scale"), line="Mg IX", return_result=True)
    assert result.success, result.message
    assert corner_error(aligned, pair.truth) < 0.45  # a tenth of the reference's pixel
    assert corner_error(cube, pair.truth) > 20
    assert_only_the_sky_moved(cube, aligned)
    assert result.target.source is cube
    assert result.target.times.step == pytest.approx(-15)
    assert result.target.mask[:30].all()
    assert result.target.mask[170:].all()
    assert_array_equal(np.argwhere(result.target.mask[30:170]), [[70, 7], [71, 7], [72, 7]])
    assert "sunalign" in str(aligned.meta["HISTORY"])
    # The one that was given is as it was.
    assert_array_equal(cube.data, untouched.data)
    assert dict(cube.meta) == dict(untouched.meta)
    assert corner_error(cube, pair.truth) == corner_error(untouched, pair.truth)


def test_an_image_of_the_cube_stands_for_the_cube(pair, windows):
    cube = cube_of(*windows["C III 977 - Peak"])
    image = spectral_image(cube, line="C III")
    result = sunalign.align(image, pair.reference, fit=("shift", "scale"))
    assert type(result.aligned) is NDCube
    assert result.aligned.data is cube.data
    loose = cube.align_to(pair.reference, fit=("shift", "scale"), line="C III")
    points = np.array([[0.0, 35.0], [0.0, 199.0], [3.0, 3.0], [0.0, 0.0]])
    assert_array_equal(by_physical_type(loose.wcs, points)["lon"], by_physical_type(result.aligned.wcs, points)["lon"])


def test_default_is_the_whole_window(pair, windows):
    cube = cube_of(*windows["C III 977 - Peak"])
    assert corner_error(cube.align_to(pair.reference, fit=("shift", "scale")), pair.truth) < 0.45


def test_a_cut_cube(pair, windows):
    cube = cube_of(*windows["C III 977 - Peak"])[0, :, 20:180, 2:]
    aligned = cube.align_to(pair.reference, fit=("shift", "scale"))
    assert aligned.data is cube.data
    corner = [20, 2]
    lon, lat = pair.truth.wcs.wcs_pix2world([corner[1]], [corner[0]], 0)
    world = by_physical_type(aligned.wcs, np.zeros((3, 1)))
    assert np.hypot((lon - world["lon"] + 180) % 360 - 180, lat - world["lat"])[0] / ARCSEC < 0.45


def test_dumbbells_mislead_where_they_are_not_masked(pair, windows):
    cube = cube_of(*windows["C III 977 - Peak"])
    result = sunalign.align(
        spectral_image(cube, mask_dumbbells=False), pair.reference, fit=("shift", "scale"), on_doubt="ignore"
    )
    assert not result.success or corner_error(result.aligned, pair.truth) > 0.45


def test_choices_of_a_cube_are_not_those_of_a_map(pair):
    with pytest.raises(TypeError, match="No chosen plugin has an option named 'wavelength'"):
        pair.target.align_to(pair.reference, wavelength=(70, 71) * u.nm)


def l2_file(pair, windows, path):
    """A file of two windows, two dumbbells and what else the pipeline writes."""
    hdus = []
    for data, header in windows.values():
        hdus.append((fits.ImageHDU if hdus else fits.PrimaryHDU)(data, header))
    for number, side in ((1, "LOWER"), (2, "UPPER")):
        data, header = windows["C III 977 - Peak"]
        header = header.copy()
        header.update({"EXTNAME": f"DUMBBELL_{side}_C III 977", "DUMBBELL": number})
        header["CRPIX2"] += 90 if number == 2 else -90
        hdus.append(fits.ImageHDU(data[:, :, :16], header))
    column = fits.Column("MIRRPOS", "D", array=np.zeros(N_STEPS))
    table = fits.BinTableHDU.from_columns([column], name="VARIABLE_KEYWORDS")
    fits.HDUList([*hdus, table]).writeto(path)
    return path


def test_sunrasters_reader(pair, windows, tmp_path):
    sunraster = pytest.importorskip("sunraster")
    from sunraster.instr.spice import read_spice_l2_fits

    path = l2_file(pair, windows, tmp_path / "solo_L2_spice-n-ras_20240501T000000_V01_12583760-000.fits")
    with warnings.catch_warnings():
        # What the reader itself warns about: its unit and the date cards.
        warnings.simplefilter("ignore")
        collection = read_spice_l2_fits(str(path), memmap=False)
        dumbbells = read_spice_l2_fits(str(path), memmap=False, read_dumbbells=True)
    cube = collection["O III 703 / Mg IX 706 - Peak"]
    assert type(cube) is sunraster.SpectrogramCube
    aligned, result = cube.align_to(
        pair.reference, fit=("shift", "scale"), wavelength=(70.5, 70.6) * u.nm, return_result=True
    )
    assert result.success, result.message
    assert corner_error(aligned, pair.truth) < 0.45
    assert_only_the_sky_moved(cube, aligned)
    assert type(aligned.meta) is type(cube.meta)
    assert list(aligned.instrument_axes) == list(cube.instrument_axes)
    assert aligned.meta.spice_observation_id == 12583760
    assert_array_equal(aligned.exposure_time, cube.exposure_time)
    with pytest.raises(ImageError, match="is a dumbbell"):
        next(iter(dumbbells.values())).align_to(pair.reference)
    # The sibling windows.
    corrected = apply_to_windows(collection, result.correction)
    assert type(corrected) is type(collection)
    assert corrected.aligned_axes == collection.aligned_axes
    for name, other in corrected.items():
        assert corner_error(other, pair.truth) < 0.45
        assert_only_the_sky_moved(collection[name], other)


# Sibling windows


def sky_at(cube):
    points = np.zeros((cube.data.ndim, 2))
    points[0], points[1] = [0, cube.data.shape[-1] - 1], [0, cube.data.shape[-2] - 1]
    world = by_physical_type(cube.wcs, points)
    return np.array([world["lon"], world["lat"]])


def moved(before, after):
    """Arcseconds by which a correction moved a cube."""
    return (sky_at(after) - sky_at(before)).mean(axis=1) / ARCSEC


@pytest.mark.parametrize("kind", [dict, list, tuple, "collection", "sequence", "nested"])
def test_every_container_comes_back_as_its_own(kind):
    one, two = small_cube(), small_cube(n_wavelengths=5)
    items = {"one": one, "two": two}
    cubes = {
        dict: items,
        list: [one, two],
        tuple: (one, two),
        "collection": NDCollection(list(items.items()), aligned_axes=(1, 2)),
        "sequence": NDCubeSequence([one, copy.copy(one)], common_axis=0, meta={"a": 1}),
        "nested": {"a": [one], "b": {"c": two}},
    }[kind]
    new = apply_to_windows(cubes, CORRECTION)
    assert type(new) is type(cubes)
    flat = lambda c: list(c.values()) if isinstance(c, dict) else list(c.data if kind == "sequence" else c)  # noqa: E731
    if kind == "nested":
        pairs = [(cubes["a"][0], new["a"][0]), (cubes["b"]["c"], new["b"]["c"])]
    else:
        pairs = list(zip(flat(cubes), flat(new), strict=True))
    for before, after in pairs:
        assert_allclose(moved(before, after), [7, -12], atol=1e-3)
        assert after.data is before.data
    if kind == "collection":
        assert new.aligned_axes == cubes.aligned_axes
        assert new["one", "two"].keys() == items.keys()
    if kind == "sequence":
        assert new.shape == cubes.shape
        assert new.meta == {"a": 1}
        assert cubes.data[0] is one


def test_a_sequence_of_rasters():
    sunraster = pytest.importorskip("sunraster")
    cubes = [
        sunraster.SpectrogramCube(
            np.ones((1, 5, 24, 16)), wcs_of(spice_header(CTYPE4="TIME", CRVAL4=float(start))), unit="ct",
            instrument_axes=["raster scan", "spectral", "slit", "slit step"],
        )[0]
        for start in (0, 2000)
    ]  # fmt: skip
    raster = sunraster.RasterSequence(cubes, common_axis=-1)
    new = apply_to_windows(raster, CORRECTION)
    assert type(new) is sunraster.RasterSequence
    assert list(new[1].instrument_axes) == list(cubes[1].instrument_axes) == ["spectral", "slit", "slit step"]
    assert new.raster_instrument_axes_types == raster.raster_instrument_axes_types
    for before, after in zip(cubes, new.data, strict=True):
        assert_allclose(moved(before, after), [7, -12], atol=1e-3)


def test_windows_with_another_pointing_are_left_alone_and_named():
    cubes = {"Mg IX": random_cube(), "C III": random_cube(), "Ly Beta": random_cube(CRVAL1=-50.0)}
    with pytest.warns(SunalignUserWarning, match=r"^Other pointing than Mg IX: Ly Beta\. They are left"):
        new = apply_to_windows(cubes, CORRECTION)
    assert new["Ly Beta"] is cubes["Ly Beta"]
    assert_allclose(moved(cubes["C III"], new["C III"]), [7, -12], atol=1e-3)
    with pytest.warns(SunalignUserWarning, match=r"^Other pointing than Ly Beta: Mg IX, C III\."):
        new = apply_to_windows(cubes, CORRECTION, like="Ly Beta")
    assert new["Mg IX"] is cubes["Mg IX"]
    assert_allclose(moved(cubes["Ly Beta"], new["Ly Beta"]), [7, -12], atol=1e-3)


SIBLINGS = {
    "sliced": random_cube()[:, :, 5:20, 3:],
    "one image": random_cube()[0, 2],
    "rebinned": random_cube().rebin((1, 1, 4, 2)),
    "cut rows": random_cube((1, 3, 20, 16), CRPIX2=8.5),
    "another reference pixel": random_cube(
        CRPIX1=9.5, CRVAL1=-58.5597 + 4 * 0.996769, CRVAL2=-5.4685 + 1.098 * 0.2926098
    ),
    "binned": random_cube((2, 5, 12, 16), CDELT2=2.196, CRPIX2=6.5, PC1_2=-0.0440964, PC2_1=0.1463049),
    "almost": random_cube(CRVAL2=-5.4685 + 0.02),
}


@pytest.mark.parametrize("other", SIBLINGS.values(), ids=SIBLINGS)
def test_windows_that_share_a_pointing(other):
    base = random_cube()
    new = apply_to_windows([base, other], CORRECTION)
    assert_allclose(moved(other, new[1]), [7, -12], atol=1e-2)


@pytest.mark.parametrize("cards", [{"CRVAL1": -57.0}, {"PC1_2": -0.1, "PC2_1": 0.4}, {"CDELT1": 4.3}])
def test_windows_that_do_not(cards):
    with pytest.warns(SunalignUserWarning, match="Other pointing than 0: 1"):
        apply_to_windows([random_cube(), random_cube(**cards)], CORRECTION)


def test_windows_that_cannot_be_corrected():
    cubes = {"a": small_cube()}
    cases = [
        ((3.0, CORRECTION), {}, TypeError, r"Windows are cubes in a dictionary.*got float"),
        (([], CORRECTION), {}, CorrectionError, "There is no cube"),
        (
            (cubes, CORRECTION),
            {"like": "b"},
            CorrectionError,
            r"There is no window 'b'; 'like' is a cube or one of 'a'",
        ),
    ]
    for arguments, options, error, message in cases:
        with pytest.raises(error, match=message):
            apply_to_windows(*arguments, **options)
    beyond = Correction.from_parameters(scale_x=1.5, rotation=30 * u.deg, axes=np.array([[1, 0.6], [0, 0.8]]))
    header = small_cube().wcs.to_header()
    header.update({"CTYPE1": "HPLN-CAR", "CTYPE2": "HPLT-CAR", "CDELT1": 1.0, "CDELT2": 1.0})
    with pytest.raises(CorrectionError, match=r"^Window wide: "):
        apply_to_windows({"wide": NDCube(np.ones((3, 48, 40)), WCS(header))}, beyond)
