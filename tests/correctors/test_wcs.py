"""Maps and bare arrays: what sunpy and astropy say of the corrected ones is what was asked for."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import astropy.units as u
from astropy.io import fits
from astropy.nddata import StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS

import sunpy.map
from sunpy.map import GenericMap
from sunpy.util import MetaDict

from sunalign.correction import Correction
from sunalign.correctors import WCSCorrector, add_history, correct
from sunalign.exceptions import CorrectionError

SHAPE = (24, 20)
ARCSEC = np.pi / 180 / 3600

HEADER = {
    "ctype1": "HPLN-TAN", "ctype2": "HPLT-TAN", "cunit1": "arcsec", "cunit2": "arcsec",
    "crpix1": 10.0, "crpix2": 12.0, "crval1": 100.0, "crval2": -200.0, "cdelt1": 2.0, "cdelt2": 3.0,
    "dsun_obs": 1.4e11, "hgln_obs": 1.0, "hglt_obs": 2.0, "rsun_ref": 6.957e8, "date-obs": "2020-01-01T00:00:00",
    "wavelnth": 171, "waveunit": "angstrom", "bunit": "ct", "exptime": 1.0,
}  # fmt: skip

PC = {"pc1_1": 0.99, "pc1_2": -0.05, "pc2_1": 0.04, "pc2_2": 0.99}
CD = {"cd1_1": 2.0, "cd1_2": 0.1, "cd2_1": -0.1, "cd2_2": 3.0}
CONVENTIONS = {"PC": PC, "CD": CD, "CROTA2": {"crota2": 10.0}, "CROTA": {"crota": 10.0}, "CDELT": {}}

#: About the reference pixel, and small enough for every projection among the sources.
CORRECTION = Correction.from_parameters(
    5 * u.arcsec, -8 * u.arcsec, 1.03, 1.01, 1 * u.deg, pivot=(100, -200) * u.arcsec, errors={"shift_x": 0.1}
)


def make_map(cls=GenericMap, convention="PC", data=None, **more):
    header = HEADER | CONVENTIONS[convention] | more
    if convention == "CD" and not more.get("cdelt1"):
        header = {key: value for key, value in header.items() if not key.startswith("cdelt")}
    data = np.random.default_rng(0).random(SHAPE) + 1 if data is None else data
    return cls(data, header) if cls is not GenericMap else sunpy.map.Map(data, header)


def sky(wcs, shape=SHAPE):
    y, x = (axis.ravel() for axis in np.indices(shape))
    world = wcs.wcs_pix2world(np.array([x, y, *[np.zeros_like(x)] * (wcs.naxis - 2)]).T, 0).T
    lon, lat = np.radians(world[wcs.wcs.lng]), np.radians(world[wcs.wcs.lat])
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def error_px(before, after, correction, pixel=2.0):
    wanted = correction.sky_matrix @ sky(before)
    return np.abs(wanted / np.linalg.norm(wanted, axis=0) - sky(after)).max() / ARCSEC / pixel


# Every source of sunpy.

CARRINGTON = {"cunit1": "deg", "cunit2": "deg", "crval2": 0.0, "cdelt1": -0.1, "cdelt2": 0.001}
SOURCES = {
    "ADAPTMap": {"ctype1": "CRLN-CAR", "ctype2": "CRLT-CAR", "maptime": "2020-01-01T00:00:00"}
    | {"cunit1": "deg", "cunit2": "deg", "crval2": 0.0, "cdelt1": 0.1, "cdelt2": 0.1},
    "GONGHalphaMap": {"crval1": 0.1, "crval2": -0.1, "solar-r": 960.0, "fndlmbmi": 400.0, "fndlmbma": 410.0}
    | {"site-lat": 30.0, "site-lon": 10.0},
    "GONGMagnetogramMap": {"crval1": 0.1, "crval2": -0.1, "semidiam": 0.00465, "fndlmbmi": 400.0, "fndlmbma": 410.0}
    | {"lat": 0.5, "lon": 0.1, "elev": 100.0},
    "GONGSynopticMap": {"ctype1": "CRLN-CEA", "ctype2": "CRLT-CEA"} | CARRINGTON,
    "HMISynopticMap": {"ctype1": "CRLN-CEA", "ctype2": "CRLT-CEA"}
    | CARRINGTON
    | {"cunit1": "Degree", "cunit2": "Sine Latitude"},
    "LASCOMap": {"detector": "C2"},
    "MDISynopticMap": {"ctype1": "CRLN-CEA", "ctype2": "CRLT-CEA"}
    | CARRINGTON
    | {"cunit1": "Degree", "cunit2": "Sine Latitude"},
    "MDIMap": {"rsun_obs": 960.0},
    "METISMap": {"instrume": "METIS", "filter": "VL", "btype": "VL total brightness", "inn_fov": 0.002}
    | {"out_fov": 0.01, "io_xcen": 10.0, "io_ycen": 12.0, "fs_xcen": 11.0, "fs_ycen": 12.0, "naxis1": 20, "naxis2": 24},
    "PHIMap": {"accrowit": 1},
    "RHESSIMap": {"energy_l": 25.0, "energy_h": 50.0},
    "SOTMap": {"instrume": "SOT/WB"},
    "SUITMap": {"ftr_name": "NB03", "t_obs": "2020-01-01T00:00:00", "dhobt_dt": "2020-01-01T00:00:00"},
    "TRACEMap": {"wave_len": "171"},
    "SXTMap": {"wavelnth": "Al.1"},
    "XRTMap": {"EC_FW1_": "Open", "EC_FW2_": "Ti_poly"},
}
CLASSES = sorted((c for c in GenericMap._registry if c.__module__.startswith("sunpy.")), key=lambda c: c.__name__)


def source_map(cls, convention):
    name = cls.__name__
    if name == "EUIMap" and convention not in ("PC", "CD"):
        pytest.skip("sunpy cannot read an EUI header without PC or CD")
    if convention == "CD" and name in ("GONGSynopticMap", "HMISynopticMap", "MDISynopticMap"):
        pytest.skip("sunpy wants CDELT in these")
    more = {"telescop": "X", "instrume": "X", "detector": "X"} | SOURCES.get(name, {})
    header = HEADER | CONVENTIONS[convention] | more
    if convention == "CD":
        header = {key: value for key, value in header.items() if not key.startswith("cdelt")}
    return cls(np.random.default_rng(0).random(SHAPE) + 1, header)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_source_reads_back_what_was_asked(cls, convention):
    before = source_map(cls, convention)
    gong = "GONGH" in cls.__name__ or "GONGM" in cls.__name__
    axes = before.wcs.pixel_scale_matrix / np.hypot(*before.wcs.pixel_scale_matrix)
    p = CORRECTION.parameters
    pivot = before.wcs.wcs.crval * u.deg
    correction = Correction.from_parameters(
        p["shift_x"] * u.arcsec, p["shift_y"] * u.arcsec, p["scale_x"], p["scale_y"], p["rotation"] * u.deg,
        pivot=pivot, axes=axes,
    )  # fmt: skip
    after = correct(before, correction)
    assert type(after) is type(before)
    assert after.data is before.data
    # Pixels of the cylindrical maps are large, and such a projection cannot turn a map exactly.
    tan = before.wcs.wcs.ctype[0].endswith("TAN")
    pixel = np.hypot(*before.wcs.pixel_scale_matrix).min() * 3600
    assert error_px(before.wcs, after.wcs, correction, pixel) < (1e-6 if tan else 5e-2)
    # What is written is what sunpy reads once more.
    again = type(after)(after.data, after.meta)
    assert_allclose(sky(again.wcs), sky(after.wcs), rtol=0, atol=1e-12)
    kept = {key for key in after.meta if key.startswith(("pc", "cd", "crota")) and not key.startswith("cdelt")}
    if convention != "CDELT" and not gong:
        assert kept >= CONVENTIONS[convention].keys()


def test_a_mask_that_a_source_computes_from_its_header_stays():
    cls = next((c for c in CLASSES if c.__name__ == "METISMap"), None)
    if cls is None:
        pytest.skip("sunpy has no METISMap before 8.0")
    header = HEADER | CONVENTIONS["CDELT"] | SOURCES["METISMap"] | {"cdelt1": 3.0, "detector": "X", "telescop": "X"}
    header |= {"naxis1": SHAPE[1], "naxis2": SHAPE[0]}
    before = cls(np.ones(SHAPE), header)
    after = correct(before, Correction.from_parameters(scale_x=1.5, pivot=(100, -200) * u.arcsec))
    assert before.mask.any()
    assert not before.mask.all()
    assert_array_equal(after.mask, before.mask)


# Laws.


@st.composite
def corrections(draw):
    def number(limit):
        return draw(st.floats(-limit, limit, allow_subnormal=False))

    return Correction.from_parameters(
        number(60) * u.arcsec, number(60) * u.arcsec, 1 + number(0.08), 1 + number(0.08), number(5) * u.deg,
        pivot=(100, -200) * u.arcsec,
    )  # fmt: skip


@pytest.mark.parametrize("convention", ["PC", "CD", "CDELT"])
@settings(max_examples=8)
@given(correction=corrections())
def test_then_its_inverse_restores_the_coordinates(convention, correction):
    before = make_map(convention=convention)
    after = correct(correct(before, correction), correction.inverse())
    assert np.abs(sky(after.wcs) - sky(before.wcs)).max() / ARCSEC / 2 < 1e-6


@pytest.mark.parametrize("convention", ["PC", "CD", "CROTA2", "CDELT"])
def test_a_zero_correction_changes_no_card(convention):
    before = make_map(convention=convention)
    after = correct(before, Correction.from_parameters(pivot=(3, 4) * u.arcsec))
    after.meta.pop("history")
    assert dict(after.meta) == dict(before.meta)


def test_without_scale_a_far_pivot_and_a_far_reference_pixel_are_exact():
    before = make_map(crpix1=-4000.0, crpix2=7000.0)
    correction = Correction.from_parameters(9 * u.arcsec, 4 * u.arcsec, rotation=3 * u.deg, pivot=(-800, 90) * u.arcsec)
    assert error_px(before.wcs, correct(before, correction).wcs, correction) < 1e-6


@pytest.mark.parametrize("unit", ["deg", "arcsec", "arcmin"])
def test_units_of_the_axes_are_kept(unit):
    per = u.arcsec.to(unit)
    scaled = {key: HEADER[key] * per for key in ("crval1", "crval2", "cdelt1", "cdelt2")}
    before = make_map(cunit1=unit, cunit2=unit, **scaled)
    after = correct(before, CORRECTION)
    assert after.meta["cunit1"] == unit
    assert after.meta["crval1"] == pytest.approx(105 * per, rel=1e-12)
    assert error_px(before.wcs, after.wcs, CORRECTION) < 1e-6


def test_crota_refuses_a_shear():
    before = make_map(convention="CROTA2", crota2=30.0)
    with pytest.raises(CorrectionError, match="cannot express a shear"):
        correct(before, Correction.from_parameters(scale_x=1.2, pivot=(100, -200) * u.arcsec))


def test_a_raster_with_a_time_axis():
    before = make_map(wcsaxes=3, ctype3="UTC", cunit3="s", crval3=5774.25, cdelt3=1.0, crpix3=1.0, pc3_1=-120.3)
    after = correct(before, CORRECTION)
    assert error_px(before.wcs, after.wcs, CORRECTION) < 1e-6
    assert {key: after.meta[key] for key in after.meta if key.endswith(("3", "3_1"))} == {
        key: before.meta[key] for key in before.meta if key.endswith(("3", "3_1"))
    }


# What is kept.


def test_everything_but_the_coordinates_is_kept():
    mask = np.zeros(SHAPE, bool)
    mask[3, 4] = True
    data = np.random.default_rng(1).random(SHAPE).astype(">f4")
    before = sunpy.map.Map(
        data, HEADER | PC | {"keycomments": {"crval1": "west"}}, mask=mask, uncertainty=StdDevUncertainty(data * 0.1)
    )
    before.plot_settings["cmap"] = "viridis"
    meta, settings = dict(before.meta), dict(before.plot_settings)
    after = correct(before, CORRECTION)
    assert after.data is before.data
    assert after.data.dtype == np.dtype(">f4")
    assert after.mask is mask
    assert isinstance(after.uncertainty, StdDevUncertainty)
    assert after.uncertainty.array is before.uncertainty.array
    assert after.uncertainty.parent_nddata is after
    assert before.uncertainty.parent_nddata is before
    assert after.unit == u.ct
    assert after.plot_settings == settings
    assert after.plot_settings is not before.plot_settings
    assert dict(before.meta) == meta
    changed = {key for key in meta if after.meta[key] != meta[key]}
    assert changed == {"crval1", "crval2", "cdelt1", "cdelt2", *PC}


def test_an_uncertainty_with_its_own_unit_keeps_it():
    data = np.ones(SHAPE)
    before = sunpy.map.Map(data, HEADER | PC, uncertainty=VarianceUncertainty(data, unit=u.ct**2))
    assert correct(before, CORRECTION).uncertainty.unit == u.ct**2


def test_the_meta_says_what_changed_and_history_gains_one_entry():
    before = make_map(history="made\non a Monday")
    after = correct(before, CORRECTION)
    assert set(after.meta.modified_items) == {"crval1", "crval2", "cdelt1", "cdelt2", *PC, "history"}
    assert after.meta.modified_items["crval1"] == (100.0, pytest.approx(105.0))
    entry = after.meta["history"].removeprefix("made\non a Monday\n")
    assert entry.startswith("sunalign ")
    assert "shift_x 5.00 +/- 0.10 arcsec" in entry.replace("\n", " ")
    assert entry.count("sunalign pivot") == 1
    assert not before.meta.modified_items


def test_history_survives_a_file(tmp_path):
    after = correct(make_map(history="made"), CORRECTION)
    add_history(after.meta, "reference fsi.fits")
    after.save(tmp_path / "map.fits")
    again = sunpy.map.Map(tmp_path / "map.fits")
    assert again.meta["history"] == after.meta["history"]
    cards = list(fits.getheader(tmp_path / "map.fits")["HISTORY"])
    assert cards[0] == "made"
    assert cards[-1] == "reference fsi.fits"
    assert_allclose(sky(again.wcs), sky(after.wcs), rtol=0, atol=1e-13)


def test_a_map_whose_meta_cannot_be_hashed_does_not_keep_its_old_coordinates():
    before = make_map(odd=[1, 2])
    _ = before.wcs  # sunpy keeps it
    assert error_px(before.wcs, correct(before, CORRECTION).wcs, CORRECTION) < 1e-6


def test_a_subclass_and_its_attributes_survive():
    class Mine(GenericMap):
        def __init__(self, data, header, **kwargs):
            super().__init__(data, header, **kwargs)
            self.note = "as made"

    before = make_map(Mine)
    before.note = "as used"
    after = correct(before, CORRECTION)
    assert type(after) is Mine
    assert after.note == "as used"


# (data, header) and (data, wcs).


#: What astropy needs; it warns about the dates sunpy needs.
PLACE = ("ctype", "cunit", "crpix", "crval", "cdelt", "pc", "cd", "crota2")


def as_wcs(header):
    cards = {key.upper(): header[key] for key in header if key.lower().startswith(PLACE)}
    return WCS(fits.Header(cards))


@pytest.mark.parametrize("make", [fits.Header, dict, MetaDict])
def test_data_and_header(make):
    data = np.zeros(SHAPE)
    header = make({key.upper(): value for key, value in (HEADER | PC).items()})
    old = copy.deepcopy(header)
    same, new = correct((data, header), CORRECTION)
    assert same is data
    assert type(new) is type(header)
    assert dict(header) == dict(old)
    assert error_px(as_wcs(header), as_wcs(new), CORRECTION) < 1e-6
    assert "sunalign" in str(new["HISTORY"])
    assert {key for key in header if new[key] != header[key]} == {
        key for key in header if key.lower() in (*PC, "crval1", "crval2", "cdelt1", "cdelt2")
    }


@pytest.mark.parametrize("convention", ["PC", "CD", "CROTA2", "CDELT"])
@pytest.mark.parametrize("naxis", [2, 4])
def test_data_and_wcs(convention, naxis):
    cards = {key: value for key, value in (HEADER | CONVENTIONS[convention]).items() if key.startswith(PLACE)}
    header = fits.Header({"WCSAXES": naxis, **{key.upper(): value for key, value in cards.items()}})
    if convention == "CD":
        del header["CDELT1"], header["CDELT2"]
    if naxis == 4:
        header.update({"CTYPE3": "WAVE", "CUNIT3": "nm", "CRVAL3": 70.0, "CDELT3": 0.1, "CRPIX3": 1.0})
        header.update({"CTYPE4": "UTC", "CUNIT4": "s", "CRVAL4": 0.0, "CDELT4": 1.0, "CRPIX4": 1.0})
        header.update({"PC4_1": -60.25} if convention in ("PC", "CDELT") else {})
        header.update({"CD3_3": 0.1, "CD4_4": 1.0, "CD4_1": -60.25} if convention == "CD" else {})
    before = WCS(header)
    before.array_shape = (1, 1, *SHAPE)[-naxis:]
    axes = before.pixel_scale_matrix[:2, :2] / np.hypot(*before.pixel_scale_matrix[:2, :2])
    correction = Correction.from_parameters(
        5 * u.arcsec, -8 * u.arcsec, 1.03, 1.01, 1 * u.deg, pivot=(100, -200) * u.arcsec, axes=axes
    )
    text = before.to_header_string()
    data = np.zeros((1, 1, *SHAPE)[-naxis:])
    same, after = correct((data, before), correction)
    assert same is data
    assert before.to_header_string() == text
    assert after.array_shape == before.array_shape
    assert error_px(before, after, correction) < 1e-6
    points = np.random.default_rng(0).uniform(0, 20, (5, naxis))
    assert_allclose(after.wcs_pix2world(points, 0)[:, 2:], before.wcs_pix2world(points, 0)[:, 2:], rtol=1e-14)
    # LATPOLE as wcslib writes it does not poison the header.
    again = WCS(after.to_header())
    assert_allclose(sky(again), sky(after), rtol=0, atol=1e-12)


# What is refused, and what a plugin is.


@pytest.mark.parametrize("target", [np.zeros(SHAPE), (np.zeros(SHAPE), 3), "a.fits"])
def test_other_things_are_refused_by_name(target):
    with pytest.raises(CorrectionError, match=r"'wcs' corrector takes a sunpy Map, \(data, header\) or \(data, wcs\)"):
        WCSCorrector().apply(target, CORRECTION)


def test_tolerance_is_checked():
    with pytest.raises(ValueError, match="'tolerance' is a number of pixels larger than 0; got 0"):
        WCSCorrector(tolerance=0)
    with pytest.raises(TypeError):
        WCSCorrector(0.1)


def test_a_corrector_is_a_value():
    assert WCSCorrector(tolerance=0.2) == WCSCorrector(tolerance=0.2)
    assert pickle.loads(pickle.dumps(WCSCorrector())) == WCSCorrector()
    assert WCSCorrector().options() == {"tolerance": 0.1}
    assert repr(WCSCorrector()) == "WCSCorrector(tolerance=0.1)"


@pytest.mark.parametrize("corrector", ["wcs", WCSCorrector, WCSCorrector(tolerance=0.5)])
def test_the_corrector_can_be_chosen(corrector):
    before = make_map()
    assert error_px(before.wcs, correct(before, CORRECTION, corrector=corrector).wcs, CORRECTION) < 1e-6


def test_tolerance_decides(monkeypatch):
    before = make_map(ctype1="HPLN-CAR", ctype2="HPLT-CAR", crval2=0.0, cdelt1=600.0, cdelt2=600.0)
    correction = Correction.from_parameters(rotation=5 * u.deg, pivot=(1000, 900) * u.arcsec)
    with pytest.raises(CorrectionError, match=r"more than the tolerance of 1e-06"):
        correct(before, correction, corrector=WCSCorrector(tolerance=1e-6))
    correct(before, correction, corrector=WCSCorrector(tolerance=5))


def test_corrections_found_on_one_line_apply_to_another_grid():
    one = make_map()
    two = make_map(data=np.zeros((12, 10)), crpix1=5.25, crpix2=6.25, cdelt1=4.0, cdelt2=6.0)
    corrected = [correct(smap, CORRECTION) for smap in (one, two)]
    for (x, y), (smap_old, smap_new) in itertools.product([(3.0, 4.0)], zip((one, two), corrected, strict=True)):
        point = smap_old.pixel_to_world(x * u.pix, y * u.pix)
        start = one.world_to_pixel(point)
        end = corrected[0].pixel_to_world(*start)
        assert end.separation(smap_new.pixel_to_world(x * u.pix, y * u.pix)) < 1e-6 * u.arcsec
