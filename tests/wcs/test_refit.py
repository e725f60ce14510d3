"""Headers of every convention, checked with astropy.wcs alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import astropy.units as u
from astropy.io import fits
from astropy.wcs import WCS

from sunalign.correction import Correction
from sunalign.correctors import add_history, history_entry, refit
from sunalign.exceptions import CorrectionError

SHAPE = (24, 32)
ARCSEC = np.pi / 180 / 3600


def linear_part(convention, cdelt, roll):
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    if convention == "CDELT":
        return {"CDELT1": cdelt[0], "CDELT2": cdelt[1]}
    if convention == "CROTA":
        return {"CDELT1": cdelt[0], "CDELT2": cdelt[1], "CROTA2": roll}
    pc = {"1_1": cos, "1_2": -sin * cdelt[1] / cdelt[0], "2_1": sin * cdelt[0] / cdelt[1], "2_2": cos}
    if convention == "PC":
        return {"CDELT1": cdelt[0], "CDELT2": cdelt[1]} | {f"PC{k}": v for k, v in pc.items()}
    return {f"CD{k}": v * cdelt[int(k[0]) - 1] for k, v in pc.items()}


def make_header(convention="PC", *, unit="arcsec", crpix=(16.0, 12.0), roll=8.0, projection="TAN", **more):
    per = u.arcsec.to(unit)
    header = fits.Header()
    header["NAXIS"] = 2
    header["NAXIS1"], header["NAXIS2"] = SHAPE[::-1]
    header.update(
        {"CTYPE1": f"HPLN-{projection}", "CTYPE2": f"HPLT-{projection}", "CUNIT1": unit, "CUNIT2": unit}
        | {"CRPIX1": crpix[0], "CRPIX2": crpix[1], "CRVAL1": 300.0 * per, "CRVAL2": -450.0 * per}
        | linear_part(convention, (4.0 * per, 1.1 * per), roll)
        | more
    )
    return header


def spice_l2(**more):
    """The celestial, wavelength and time axes of a SPICE L2 window, roll and time of the slit included."""
    header = fits.Header()
    header.update(
        {"NAXIS": 4, "NAXIS1": 32, "NAXIS2": 24, "NAXIS3": 5, "NAXIS4": 1, "WCSAXES": 4}
        | {"CTYPE1": "HPLN-TAN", "CUNIT1": "arcsec", "CRVAL1": -58.5597, "CDELT1": 4.0, "CRPIX1": 16.5}
        | {"CTYPE2": "HPLT-TAN", "CUNIT2": "arcsec", "CRVAL2": -5.4685, "CDELT2": 1.098, "CRPIX2": 12.5}
        | {"CTYPE3": "WAVE", "CUNIT3": "nm", "CRVAL3": 70.4567, "CDELT3": 0.0097, "CRPIX3": 3.0}
        | {"CTYPE4": "UTC", "CUNIT4": "s", "CRVAL4": 903.6, "CDELT4": 1.0, "CRPIX4": 1.0}
        | {"PC1_1": 0.996769, "PC1_2": -0.0220482, "PC2_1": 0.2926098, "PC2_2": 0.996769}
        | {"PC3_3": 1.0, "PC4_4": 1.0, "PC4_1": -60.25, "CROTA": 4.607, "LONPOLE": 180.0, "LATPOLE": -5.4685 / 3600}
        | more
    )
    return header


def spice_map(**more):
    """A SPICE L2.5 map: two array axes, three WCS axes."""
    header = spice_l2()
    for i in range(1, 5):
        header.remove(f"PC4_{i}", ignore_missing=True)
    for key in [key for key in header if key.endswith(("3", "4", "3_3"))]:
        header.remove(key)
    header.update(
        {"NAXIS": 2, "WCSAXES": 3, "CTYPE3": "UTC", "CUNIT3": "s", "CRVAL3": 5774.25, "CDELT3": 1.0, "CRPIX3": 1.0}
        | {"PC3_1": -120.3}
        | more
    )
    return header


def applied(header, cards):
    new = header.copy()
    new.update(cards)
    return new


def as_wcs(header):
    # astropy warns that CROTA, which SPICE writes, is not CROTAn, and that a map has fewer axes than its WCS.
    header = header.copy()
    for key in ("CROTA", "NAXIS"):
        header.remove(key, ignore_missing=True)
    return WCS(header)


def sky(header, shape=SHAPE):
    """Unit vectors (Sun, west, north) of the pixels of the first two axes, through astropy and nothing of ours."""
    wcs = as_wcs(header)
    y, x = (axis.ravel().astype(float) for axis in np.indices(shape))
    world = wcs.wcs_pix2world(np.array([x, y, *[np.zeros_like(x)] * (wcs.naxis - 2)]).T, 0).T
    lon, lat = np.radians(world[wcs.wcs.lng]), np.radians(world[wcs.wcs.lat])
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def error_px(before, after, correction, pixel=1.1):
    wanted = correction.sky_matrix @ sky(before)
    return np.abs(wanted / np.linalg.norm(wanted, axis=0) - sky(after)).max() / ARCSEC / pixel


def own_axes(header):
    """Unit vectors of the pixel axes on the sky, from the header's PC, CD or CROTA through astropy."""
    matrix = as_wcs(header).pixel_scale_matrix[:2, :2]
    return matrix / np.hypot(*matrix)


@st.composite
def corrections(draw, header=None, scale=0.08, pivot=(300, -450)):
    def number(limit):
        return draw(st.floats(-limit, limit, allow_subnormal=False))

    return Correction.from_parameters(
        number(60) * u.arcsec, number(60) * u.arcsec, 1 + number(scale), 1 + number(scale), number(5) * u.deg,
        pivot=pivot * u.arcsec, axes=None if header is None else own_axes(header),
    )  # fmt: skip


CONVENTIONS = ["PC", "CD", "CROTA", "CDELT"]


@pytest.mark.parametrize("unit", ["arcsec", "deg", "rad"])
@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=8)
@given(data=st.data())
def test_about_the_reference_pixel_every_convention_and_unit_is_exact(convention, unit, data):
    header = make_header(convention, unit=unit)
    correction = data.draw(corrections(header))
    cards, residual = refit(header, correction, SHAPE)
    after = applied(header, cards)
    assert residual < 1e-6
    assert error_px(header, after, correction) < 1e-6
    assert not {"CRPIX1", "CRPIX2"} & cards.keys()
    assert {key[:2] for key in cards if key[:2] in ("PC", "CD", "CR") and key[:5] not in ("CRVAL", "CDELT")} <= {
        {"PC": "PC", "CD": "CD", "CROTA": "CR", "CDELT": "PC"}[convention]
    }


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=8)
@given(data=st.data())
def test_a_correction_then_its_inverse_restores_the_header(convention, data):
    header = make_header(convention)
    correction = data.draw(corrections(header))
    once = applied(header, refit(header, correction, SHAPE)[0])
    twice = applied(once, refit(once, correction.inverse(), SHAPE)[0])
    assert np.abs(sky(twice) - sky(header)).max() / ARCSEC / 1.1 < 1e-6
    for key in ("CRVAL1", "CRVAL2", *linear_part(convention, (1, 1), 0)):
        assert twice[key] == pytest.approx(header[key], rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("crpix", [(16.0, 12.0), (-400.0, 900.0), (30000.0, -20000.0)])
@settings(max_examples=8)
@given(data=st.data())
def test_without_scale_any_pivot_and_any_reference_pixel_is_exact(crpix, data):
    header = make_header(crpix=crpix)
    correction = data.draw(corrections(header, scale=0, pivot=(-700, 120)))
    cards, residual = refit(header, correction, SHAPE)
    assert residual < 2e-6
    # Far from the reference pixel a digit of PC is worth more pixels.
    assert error_px(header, applied(header, cards), correction) < (1e-6 if max(map(abs, crpix)) < 1e4 else 1e-4)


@pytest.mark.parametrize("crpix", [(16.0, 12.0), (-400.0, 900.0), (30000.0, -20000.0)])
def test_with_scale_a_far_reference_pixel_costs_little_and_is_reported(crpix):
    header = make_header(crpix=crpix)
    correction = Correction.from_parameters(5 * u.arcsec, scale_x=1.08, scale_y=0.95, pivot=(-700, 120) * u.arcsec)
    cards, residual = refit(header, correction, SHAPE)
    measured = error_px(header, applied(header, cards), correction)
    assert measured < 1e-3
    assert measured <= residual * 4 + 1e-6  # the short side of a pixel is 1.1 arcsec, the long one 4


@pytest.mark.parametrize("projection", ["SIN", "ARC", "STG", "ZEA"])
def test_zenithal_projections_take_shift_and_rotation_exactly(projection):
    header = make_header(projection=projection)
    correction = Correction.from_parameters(50 * u.arcsec, -80 * u.arcsec, rotation=3 * u.deg)
    cards, residual = refit(header, correction, SHAPE)
    assert residual < 1e-6
    assert error_px(header, applied(header, cards), correction) < 1e-6


@pytest.mark.parametrize("lonpole", [0.0, 90.0, 200.0])
def test_lonpole_is_kept_and_counted_with(lonpole):
    header = make_header(LONPOLE=lonpole)
    correction = Correction.from_parameters(
        9 * u.arcsec, -4 * u.arcsec, 1.05, 0.97, 2 * u.deg, pivot=(300, -450) * u.arcsec
    )
    cards, residual = refit(header, correction, SHAPE)
    assert residual < 1e-6
    assert "LONPOLE" not in cards
    assert error_px(header, applied(header, cards), correction) < 1e-6


@pytest.mark.parametrize("explicit", [{}, {"LONPOLE": 0.0}, {"LONPOLE": 0.0, "LATPOLE": 90.0}])
@pytest.mark.parametrize("shift", [-30.0, 30.0])
def test_a_cylindrical_projection_can_cross_the_equator(shift, explicit):
    # For CAR the default LONPOLE is 0 where CRVAL2 >= 0 and 180 below, and the other one is not allowed.
    header = make_header(projection="CAR", CRVAL2=0.0, **explicit)
    correction = Correction.from_parameters(shift_y=shift * u.arcsec, rotation=0.5 * u.deg, pivot=(300, 0) * u.arcsec)
    cards, residual = refit(header, correction, SHAPE)
    assert residual < 1e-3
    assert cards.get("LONPOLE") == (180.0 if explicit and shift < 0 else None)
    assert error_px(header, applied(header, cards), correction) < 1e-3
    assert cards["PC1_1"] > 0.9


def test_latpole_that_repeats_crval2_follows_it():
    header = spice_map()
    cards, _ = refit(header, Correction.from_parameters(shift_y=-50 * u.arcsec), SHAPE)
    assert cards["LATPOLE"] == pytest.approx(cards["CRVAL2"] / 3600, abs=1e-12)
    header["LATPOLE"] = 90.0
    assert "LATPOLE" not in refit(header, Correction.from_parameters(shift_y=-50 * u.arcsec), SHAPE)[0]


@pytest.mark.parametrize(("header", "shape"), [(spice_map(), SHAPE), (spice_l2(), (1, 5, *SHAPE))])
def test_wavelength_and_time_of_a_raster_are_untouched(header, shape):
    correction = Correction.from_parameters(
        -5.2 * u.arcsec, -50.25 * u.arcsec, 1.06, 0.99, 0.6 * u.deg,
        pivot=(-58.5597, -5.4685) * u.arcsec, axes=own_axes(header),
    )  # fmt: skip
    cards, residual = refit(header, correction, shape)
    assert residual < 1e-6
    assert set(cards) == {
        "CRVAL1",
        "CRVAL2",
        "CDELT1",
        "CDELT2",
        "PC1_1",
        "PC1_2",
        "PC2_1",
        "PC2_2",
        "CROTA",
        "LATPOLE",
    }
    after = applied(header, cards)
    assert error_px(header, after, correction) < 1e-6
    points = np.random.default_rng(0).uniform(0, 20, (7, header["WCSAXES"]))
    old, new = (as_wcs(h).wcs_pix2world(points, 0)[:, 2:] for h in (header, after))
    assert_allclose(new, old, rtol=1e-15)
    assert cards["CROTA"] == pytest.approx(4.607 + 0.6, abs=1e-9)
    assert cards["CDELT1"] == pytest.approx(4.0 * 1.06, rel=1e-10)
    assert cards["CDELT2"] == pytest.approx(1.098 * 0.99, rel=1e-10)


def test_celestial_axes_are_found_wherever_they_are():
    header = fits.Header()
    header.update(
        {"WCSAXES": 3, "CTYPE1": "WAVE", "CUNIT1": "Angstrom", "CRVAL1": 195.0, "CDELT1": 0.02, "CRPIX1": 1.0}
        | {"CTYPE2": "HPLT-TAN", "CUNIT2": "arcsec", "CRVAL2": 20.0, "CDELT2": 1.0, "CRPIX2": 12.0}
        | {"CTYPE3": "HPLN-TAN", "CUNIT3": "arcsec", "CRVAL3": -30.0, "CDELT3": 3.0, "CRPIX3": 16.0}
        # The slit's place along y depends on the wavelength, as EIS has it.
        | {"PC2_1": -0.08}
    )
    correction = Correction.from_parameters(
        4 * u.arcsec, -6 * u.arcsec, 1.02, 1.0, 1 * u.deg, pivot=(-30, 20) * u.arcsec
    )
    shape = (32, 24, 7)
    cards, residual = refit(header, correction, shape)
    assert residual < 1e-6
    assert "CRVAL1" not in cards
    assert not any(key.startswith(("PC1_", "CDELT1")) for key in cards)
    after = applied(header, cards)
    points = np.random.default_rng(0).uniform(0, 7, (20, 3))
    old, new = (np.radians(WCS(h).wcs_pix2world(points, 0)) for h in (header, after))
    vectors = [np.array([np.cos(w[:, 1]) * np.cos(w[:, 2]), np.cos(w[:, 1]) * np.sin(w[:, 2]), np.sin(w[:, 1])])
               for w in (old, new)]  # fmt: skip
    wanted = correction.sky_matrix @ vectors[0]
    assert np.abs(wanted / np.linalg.norm(wanted, axis=0) - vectors[1]).max() / ARCSEC < 1e-6
    assert_allclose(new[:, 0], old[:, 0], rtol=1e-15)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_no_correction_no_cards(convention):
    assert refit(make_header(convention), Correction(), SHAPE) == ({}, 0.0)
    somewhere = Correction.from_parameters(pivot=(300, 20) * u.arcsec)
    assert refit(make_header(convention), somewhere, SHAPE) == ({}, 0.0)


def test_a_shift_changes_crval_alone():
    header = make_header("CDELT")
    cards, _ = refit(header, Correction.from_parameters(3 * u.arcsec, pivot=(300, -450) * u.arcsec), SHAPE)
    assert cards == {"CRVAL1": pytest.approx(303.0, abs=1e-9)}


def test_the_reference_coordinate_moves_by_exactly_the_shift_when_the_pivot_is_there():
    header = make_header(unit="deg")
    pivot = (header["CRVAL1"], header["CRVAL2"]) * u.deg
    correction = Correction.from_parameters(12.5 * u.arcsec, -7.25 * u.arcsec, 1.06, 0.97, 1.5 * u.deg, pivot=pivot)
    cards, _ = refit(header, correction, SHAPE)
    assert (cards["CRVAL1"] - header["CRVAL1"]) * 3600 == pytest.approx(12.5, abs=1e-9)
    assert (cards["CRVAL2"] - header["CRVAL2"]) * 3600 == pytest.approx(-7.25, abs=1e-9)


def test_a_pure_scale_is_seen_in_cdelt_and_pc_stays():
    header = make_header("CDELT")
    cards, _ = refit(header, Correction.from_parameters(scale_x=1.06, scale_y=0.9, pivot=(300, -450) * u.arcsec), SHAPE)
    assert cards == {"CDELT1": pytest.approx(4.24, rel=1e-11), "CDELT2": pytest.approx(0.99, rel=1e-11)}


def test_a_header_without_pc_gains_it_only_for_a_rotation():
    cards, _ = refit(make_header("CDELT"), Correction.from_parameters(rotation=1 * u.deg), SHAPE)
    assert {"PC1_1", "PC1_2", "PC2_1", "PC2_2"} <= cards.keys()


def test_cdelt_beside_cd_follows_the_scale():
    header = make_header("CD", roll=0.0, CDELT1=4.0, CDELT2=1.1)
    cards, _ = refit(header, Correction.from_parameters(scale_x=1.05, pivot=(300, -450) * u.arcsec), SHAPE)
    assert cards == {"CD1_1": pytest.approx(4.2), "CDELT1": pytest.approx(4.2)}


def test_crota_cannot_express_a_shear_and_says_so():
    header = make_header("CROTA", roll=30.0)
    correction = Correction.from_parameters(scale_x=1.05, pivot=(300, -450) * u.arcsec)
    with pytest.raises(CorrectionError, match=r"leaves \d.* pixels .* CROTA cannot express a shear.*PCi_j first"):
        refit(header, correction, SHAPE)
    _, residual = refit(header, correction, SHAPE, tolerance=10)
    assert 0.1 < residual < 10


def test_every_crota_follows_the_roll_it_repeats():
    correction = Correction.from_parameters(rotation=2 * u.deg, pivot=(300, -450) * u.arcsec)
    header = make_header("PC", roll=8.0, CROTA=8.0, CROTA1=-8.0)
    cards, _ = refit(header, correction, SHAPE)
    assert cards["CROTA"] == pytest.approx(10.0, abs=1e-9)
    assert cards["CROTA1"] == pytest.approx(-10.0, abs=1e-9)


@pytest.mark.parametrize(("unit", "per"), [("arcsec", 1.0), ("deg", 1.0), ("deg", 1 / 3600)])
def test_the_centre_of_the_field_follows_in_its_own_unit(unit, per):
    header = make_header(unit=unit, roll=0.0, crpix=(16.5, 12.5), XCEN=300.0 * per, YCEN=-450.0 * per)
    correction = Correction.from_parameters(12 * u.arcsec, -7 * u.arcsec, pivot=(300, -450) * u.arcsec)
    cards, _ = refit(header, correction, SHAPE)
    assert cards["XCEN"] == pytest.approx(312.0 * per, rel=1e-9)
    assert cards["YCEN"] == pytest.approx(-457.0 * per, rel=1e-9)


def test_distortions_stay_in_front():
    header = make_header(projection="TAN", roll=0.0)
    header["CTYPE1"], header["CTYPE2"] = "HPLN-TAN-SIP", "HPLT-TAN-SIP"
    header.update({"A_ORDER": 2, "A_2_0": 1e-4, "B_ORDER": 2, "B_0_2": -2e-4, "A_1_1": 5e-5})
    correction = Correction.from_parameters(
        9 * u.arcsec, -4 * u.arcsec, 1.05, 0.97, 2 * u.deg, pivot=(300, -450) * u.arcsec
    )
    cards, residual = refit(header, correction, SHAPE)
    assert residual < 1e-6
    y, x = (axis.ravel().astype(float) for axis in np.indices(SHAPE))
    vectors = []
    for h in (header, applied(header, cards)):
        lon, lat = np.radians(WCS(h).all_pix2world(x, y, 0))
        vectors.append(np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]))
    wanted = correction.sky_matrix @ vectors[0]
    assert np.abs(wanted / np.linalg.norm(wanted, axis=0) - vectors[1]).max() / ARCSEC < 1e-6


def test_what_a_projection_cannot_express_is_refused_with_the_residual():
    header = make_header(projection="CAR", CRVAL2=0.0, unit="deg")
    header.update({"CRVAL1": 0.0, "CDELT1": 5.0, "CDELT2": 5.0, "PC1_1": 1.0, "PC1_2": 0.0, "PC2_1": 0.0, "PC2_2": 1.0})
    correction = Correction.from_parameters(scale_x=1.3)
    with pytest.raises(CorrectionError, match=r"more than the tolerance of 0\.1: the projection cannot express it"):
        refit(header, correction, SHAPE)


def test_lower_case_and_old_names_are_understood():
    header = {key.lower(): value for key, value in make_header().items()}
    header |= {"ctype1": "solar_x", "ctype2": "solar_y"}
    cards, _ = refit(header, Correction.from_parameters(3 * u.arcsec, pivot=(300, -450) * u.arcsec), SHAPE)
    assert cards == {"CRVAL1": pytest.approx(303.0)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CTYPE1": "X", "CTYPE2": "Y"}, r"no celestial axes to correct \(CTYPE: X, Y\)"),
        ({"CTYPE2": "HPLN-TAN"}, "one longitude and one latitude axis"),
        ({"CUNIT1": "furlong"}, "CUNIT1 of the header is 'furlong'"),
        ({"CUNIT2": "m"}, "CUNIT2 of the header is 'm'"),
    ],
)
def test_a_header_that_cannot_be_corrected_is_named(change, message):
    with pytest.raises(CorrectionError, match=message):
        refit(make_header(**change), Correction.from_parameters(3 * u.arcsec), SHAPE)


def test_history_is_text_that_fits_allows():
    correction = Correction.from_parameters(
        3 * u.arcsec, rotation=1 * u.deg, errors={"shift_x": 0.1}, pivot=(10, 20) * u.arcsec
    )
    text = history_entry(correction, "metric ncc, score 0.93 ± 0.01\nreference fsi-174.fits, 4.4″ × 4.4″, Ångström")
    assert text.isascii()
    assert "shift_x 3.00 +/- 0.10 arcsec" in text
    assert "pivot (10.000, 20.000) arcsec" in text
    assert text.endswith("reference fsi-174.fits, 4.4 arcsec x 4.4 arcsec, ?ngstr?m")
    assert history_entry(correction, ["a", "b"]).endswith("\na\nb")


def test_history_is_added_to_headers_and_to_mappings():
    text = "first line\n" + "many words " * 12
    header = fits.Header()
    header["HISTORY"] = "before"
    add_history(header, text)
    assert list(header["HISTORY"])[:2] == ["before", "first line"]
    assert all(len(line) <= 72 for line in header["HISTORY"])
    assert " ".join(header["HISTORY"][2:]) == ("many words " * 12).strip()
    meta = {"CRVAL1": 1.0}
    add_history(meta, "one")
    add_history(meta, "two")
    assert meta == {"CRVAL1": 1.0, "HISTORY": "one\ntwo"}
