"""Files: nothing but the coordinates changes, everything can be taken back, output is whole or not there."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astropy.units as u
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

from ndcube import NDCube

from sunalign.correction import Correction
from sunalign.correctors import apply_to_windows
from sunalign.exceptions import CorrectionError, ImageError, SunalignUserWarning
from sunalign.files import _fits_record
from sunalign.files._fits_record import last_step
from sunalign.files.fits_blocks import opened, scan
from sunalign.files.io import apply_to_file, load_correction, save_correction, undo_file
from sunalign.files.output import aligned_path

CORRECTION = Correction.from_parameters(
    -5.2 * u.arcsec, -50.25 * u.arcsec, 1.06, 0.99, 0.6 * u.deg,
    pivot=(-58.5, -5.5) * u.arcsec, errors={"shift_x": 0.02},
)  # fmt: skip


def window(header=None, **more):
    """A window of a raster with cards that are easy to spoil: order, comments, formats, blanks, long strings."""
    cards = [
        ("LONG", "a string that goes on and on, with 'quotes' / slashes & ampersands, " * 3, "a long one"),
        ("DATE", "2020-06-23T14:26:56", "Date of FITS file creation"),
        ("CTYPE1", "HPLN-TAN", "Type of 1st coordinate"),
        ("CTYPE2", "HPLT-TAN", "Type of 2nd coordinate"),
        ("CTYPE3", "WAVE"), ("CTYPE4", "UTC"), ("CUNIT1", "arcsec"), ("CUNIT2", "arcsec"), ("CUNIT3", "nm"),
        ("CUNIT4", "s"), ("CRVAL1", -58.5, "[arcsec] Solar X, at the slit's / own time"), ("CRVAL2", -5.5),
        ("CRVAL3", 70.4), ("CRVAL4", 903.6), ("CDELT1", 4.0, "[arcsec]"), ("CDELT2", 1.098), ("CDELT3", 0.0097),
        ("CDELT4", 1.0), ("CRPIX1", 8.5), ("CRPIX2", 12.5), ("CRPIX3", 2.0), ("CRPIX4", 1.0), ("PC1_1", 0.996769),
        ("PC1_2", -0.0220482), ("PC2_1", 0.2926098), ("PC2_2", 0.996769), ("PC4_1", -60.25, "[s] time of the slit"),
        ("CROTA", 4.607, "[deg] roll"), ("WCSNAME", "Helioprojective-cartesian"), ("HISTORY", "made"),
        ("HIERARCH an odd keyword", 3.0), ("COMMENT", "looks fine"),
    ]  # fmt: skip
    made = fits.Header([fits.Card(*card) for card in cards])
    made.update(more)
    return made


@pytest.fixture
def tidy(tmp_path):
    """Two windows that share the pointing, a dumbbell that does not, a compressed image that does, and a table."""
    rng = np.random.default_rng(0)
    data = rng.integers(-30000, 30000, (1, 3, 24, 16)).astype(">i2")
    scaled = fits.ImageHDU(data, window(EXTNAME="SECOND", BLANK=-32768))
    scaled.header["BSCALE"], scaled.header["BZERO"] = 0.25, 3.0
    dumbbell = fits.ImageHDU(data.astype(">f4"), window(EXTNAME="DUMBBELL", CRPIX2=400.0))
    flat = window(EXTNAME="PACKED")
    for key in [key for key in flat if key[-1:] in "34" and key[:4] in ("CTYP", "CUNI", "CRVA", "CDEL", "CRPI")]:
        del flat[key]
    del flat["PC4_1"]
    packed = fits.CompImageHDU(rng.integers(0, 500, (24, 16)).astype("i4"), flat, compression_type="RICE_1")
    table = fits.BinTableHDU.from_columns([fits.Column("t", "D", array=np.arange(16.0))], name="TIMES")
    path = tmp_path / "raster.fits"
    hdus = fits.HDUList([fits.PrimaryHDU(data.astype(">f8"), window(EXTNAME="FIRST")), scaled, dumbbell, packed, table])
    hdus.writeto(path, checksum=True)
    return path


@pytest.fixture
def raster(tidy, tmp_path):
    """The same with what astropy would not write: other formats, no ASCII, special records at the end of the file."""
    path = tmp_path / "odd.fits"
    content = tidy.read_bytes()
    content = content.replace(b"CDELT2  =                1.098", b"CDELT2  =            1.0980E+0")
    content = content.replace(b"COMMENT looks fine" + b" " * 62, b"COMMENT looks f\xefne" + b" " * 62, 1)
    assert b"1.0980E+0" in content
    path.write_bytes(content + b"special record".ljust(2880))
    return path


def correct_file(path, output):
    with pytest.warns(SunalignUserWarning, match="DUMBBELL"):
        return apply_to_file(path, CORRECTION, output, provenance="metric ncc, score 0.93\nreference x")


@pytest.fixture
def corrected(raster, tmp_path):
    return correct_file(raster, tmp_path / "out.fits")


def blocks(path):
    """Raw header and data of every HDU, by astropy's own bookkeeping."""
    content = path.read_bytes()
    with fits.open(path, disable_image_compression=True) as hdus:
        infos = [hdu.fileinfo() for hdu in hdus]
    return [
        (content[i["hdrLoc"] : i["datLoc"]], content[i["datLoc"] : i["datLoc"] + i["datSpan"]]) for i in infos
    ]  # fmt: skip


def test_every_byte_of_data_is_kept(tidy, tmp_path):
    old, new = blocks(tidy), blocks(correct_file(tidy, tmp_path / "out.fits"))
    assert [data for _, data in new] == [data for _, data in old]
    # The dumbbell and the table, headers included.
    assert [new[i] for i in (2, 4)] == [old[i] for i in (2, 4)]


def test_what_follows_the_last_hdu_is_kept(corrected):
    assert corrected.read_bytes().endswith(b"special record".ljust(2880))


CHANGED = {"CRVAL1", "CRVAL2", "CDELT1", "CDELT2", "PC1_1", "PC1_2", "PC2_1", "PC2_2", "CROTA", "DATE", "CHECKSUM"}


def test_only_the_cards_of_the_coordinates_change(raster, corrected):
    old, new = ([hdu.cards for hdu in scanned(path)] for path in (raster, corrected))
    for number in (0, 1, 3):
        gone = [card for card in old[number] if card not in new[number]]
        assert {card[:8].strip() for card in gone} == CHANGED
        kept = [card for card in new[number] if card in old[number]]
        assert [card for card in old[number] if card in new[number]][: len(kept)] == kept
        come = {card[:8].strip() for card in new[number] if card not in old[number]}
        assert come == CHANGED | {"HISTORY", "SUNALN1", "CONTINUE"}


def scanned(path):
    with opened(path) as stream:
        return scan(stream, path)


@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.filterwarnings("ignore:non-ASCII characters are present in the FITS file header")
def test_the_coordinates_are_as_asked(raster, corrected, number):
    old, new = (fits.getheader(path, number) for path in (raster, corrected))
    assert new["CRVAL1"] == pytest.approx(old["CRVAL1"] - 5.2, abs=1e-9)
    assert new["CRVAL2"] == pytest.approx(old["CRVAL2"] - 50.25, abs=1e-9)
    assert new.comments["CRVAL1"] == "[arcsec] Solar X, at the slit's / own time"
    assert new["CDELT1"] == pytest.approx(4 * 1.06, rel=1e-3)
    text = " ".join(new["HISTORY"])
    assert text.startswith("made sunalign ")
    assert "shift_x -5.200 +/- 0.020 arcsec" in text
    assert "metric ncc, score 0.93 reference x" in text
    assert "as they were in SUNALN1" in text
    record = json.loads(new["SUNALN1"])
    assert fits.Card.fromstring(record["replaced"]["CRVAL1"]).value == old["CRVAL1"]
    assert Time(new["DATE"]) > Time("2026-01-01")


def test_checksums_are_right(tidy, tmp_path):
    # astropy warns where one is wrong.
    with fits.open(correct_file(tidy, tmp_path / "out.fits"), checksum=True, disable_image_compression=True) as hdus:
        assert all("CHECKSUM" in hdu.header for hdu in hdus)


def test_undo_gives_the_file_back_byte_by_byte(raster, corrected, tmp_path):
    assert corrected.read_bytes() != raster.read_bytes()
    undone = undo_file(corrected, tmp_path / "undone.fits")
    assert undone.read_bytes() == raster.read_bytes()


@pytest.mark.filterwarnings("ignore::sunalign.exceptions.SunalignUserWarning")
def test_two_corrections_are_undone_step_by_step(raster, corrected):
    once = corrected.read_bytes()
    second = Correction.from_parameters(shift_x=1 * u.arcsec)
    apply_to_file(corrected, second, corrected, overwrite=True, hdus="all")
    assert b"SUNALN2" in corrected.read_bytes()
    undo_file(corrected, overwrite=True)
    assert corrected.read_bytes() == once
    undo_file(corrected, overwrite=True)
    assert corrected.read_bytes() == raster.read_bytes()
    with pytest.raises(CorrectionError, match=r"no correction to undo.*\(SUNALN1\)"):
        undo_file(corrected, overwrite=True)


def test_a_correction_and_its_inverse_restore_the_values(raster, tmp_path):
    one = apply_to_file(raster, CORRECTION, tmp_path / "one.fits", hdus=["FIRST"])
    two = apply_to_file(one, CORRECTION.inverse(), tmp_path / "two.fits", hdus=("FIRST",))
    old, new = (scanned(path)[0].header for path in (raster, two))
    for key in sorted(CHANGED - {"DATE", "CHECKSUM"}):
        assert new[key] == pytest.approx(old[key], rel=1e-8)


def test_which_images_are_corrected(raster, tmp_path):
    def corrected_ones(**options):
        path = apply_to_file(raster, CORRECTION, tmp_path / "out.fits", overwrite=True, **options)
        return [hdu.number for hdu in scanned(path) if last_step(hdu)]

    assert corrected_ones(hdus="all") == [0, 1, 2, 3]
    assert corrected_ones(hdus=["SECOND", 3]) == [1, 3]
    assert corrected_ones(hdus="SECOND") == [1]
    with pytest.warns(SunalignUserWarning, match=r"HDU 0 \('FIRST'\), 1 \('SECOND'\), 3 \('PACKED'\) point elsewhere "):
        assert corrected_ones(hdu="DUMBBELL") == [2]
    with pytest.raises(CorrectionError, match=r"no HDU 'THIRD'; it has 0 \('FIRST'\), 1"):
        corrected_ones(hdu="THIRD")
    with pytest.raises(CorrectionError, match=r"HDU 4 \('TIMES'\) of .* is no image with celestial coordinates"):
        corrected_ones(hdus=[4])
    with pytest.raises(CorrectionError, match=r"HDU 4 \('TIMES'\)"):
        corrected_ones(hdu=4)


def test_the_same_pointing_said_otherwise_is_the_same_pointing(tmp_path):
    plain = {
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRPIX1": 8.0,
        "CRPIX2": 6.0, "CRVAL1": 100.0, "CRVAL2": -200.0, "CDELT1": 2.0, "CDELT2": 3.0,
    }  # fmt: skip
    degrees = plain | {"CUNIT1": "deg", "CUNIT2": "deg"} | {k: plain[k] / 3600 for k in ("CRVAL1", "CRVAL2")}
    degrees |= {"CD1_1": 2 / 3600, "CD2_2": 3 / 3600}
    for key in ("CDELT1", "CDELT2"):
        del degrees[key]
    path = tmp_path / "two.fits"
    image = np.zeros((12, 16), "f4")
    fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(image, fits.Header(plain)), fits.ImageHDU(image, fits.Header(degrees))]
    ).writeto(path)
    out = apply_to_file(
        path, Correction.from_parameters(3 * u.arcsec, pivot=(100, -200) * u.arcsec), tmp_path / "o.fits"
    )
    one, two = (scanned(out)[i].header for i in (1, 2))
    assert one["CRVAL1"] == pytest.approx(103)
    assert two["CRVAL1"] == pytest.approx(103 / 3600)
    assert not last_step(scanned(out)[0])


@pytest.mark.parametrize("doors", ["file", "cubes"])
def test_windows_binned_or_cut_share_their_pointing_in_files_and_in_memory(tmp_path, doors):
    whole = {
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRPIX1": 8.5,
        "CRPIX2": 6.5, "CRVAL1": 100.0, "CRVAL2": -200.0, "CDELT1": 2.0, "CDELT2": 3.0, "PC1_2": -0.1, "PC2_1": 0.05,
    }  # fmt: skip
    binned = whole | {"CRPIX2": 3.5, "CDELT2": 6.0, "PC1_2": -0.2, "PC2_1": 0.025}
    cut, elsewhere = whole | {"CRPIX2": 4.5}, whole | {"CRVAL2": -203.0}
    images = [((12, 16), whole), ((6, 16), binned), ((8, 16), cut), ((12, 16), elsewhere)]
    correction = Correction.from_parameters(3 * u.arcsec, pivot=(100, -200) * u.arcsec)
    if doors == "file":
        path = tmp_path / "windows.fits"
        units = [fits.ImageHDU(np.zeros(shape, "f4"), fits.Header(cards)) for shape, cards in images]
        fits.HDUList([fits.PrimaryHDU(), *units]).writeto(path)
        with pytest.warns(SunalignUserWarning, match="HDU 4 points elsewhere"):
            out = apply_to_file(path, correction, tmp_path / "out.fits")
        moved = [scanned(out)[i].header["CRVAL1"] - 100 for i in (1, 2, 3, 4)]
    else:
        cubes = [NDCube(np.zeros(shape), WCS(fits.Header(cards))) for shape, cards in images]
        with pytest.warns(SunalignUserWarning, match="Other pointing than 0: 3"):
            new = apply_to_windows(cubes, correction)
        moved = [cube.wcs.wcs.crval[0] * 3600 - 100 for cube in new]
    np.testing.assert_allclose(moved, [3, 3, 3, 0], atol=1e-3)


def test_cards_that_are_added_go_beside_their_like_and_are_removed_again(tmp_path):
    header = {
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "deg", "CUNIT2": "deg", "CRPIX1": 8.0,
        "CRPIX2": 6.0, "CRVAL1": 0.1, "CRVAL2": -0.2, "CDELT1": 5e-4, "CDELT2": 3e-4, "OBJECT": "Sun",
    }  # fmt: skip
    path = tmp_path / "plain.fits"
    fits.PrimaryHDU(np.zeros((12, 16)), fits.Header(header)).writeto(path)
    # A header that keeps room at its end.
    content = path.read_bytes()
    path.write_bytes(content[:2800].replace(b"END" + b" " * 77, b" " * 80) + b"END".ljust(80) + content[2880:])
    out = apply_to_file(path, Correction.from_parameters(rotation=2 * u.deg), tmp_path / "out.fits")
    names = [card[:8].strip() for card in scanned(out)[0].cards]
    place = names.index("CDELT2")
    assert names[place + 1 : place + 5] == ["PC1_1", "PC1_2", "PC2_1", "PC2_2"]
    assert names[-1] == ""
    assert undo_file(out, tmp_path / "undone.fits").read_bytes() == path.read_bytes()


@given(
    text=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300),
    number=st.integers(1, 99),
)
def test_any_text_survives_as_a_record(text, number):
    record = {"replaced": {"CRVAL1": text}, "added": [], "history": 0}
    key = f"SUNALN{number}"
    cards = _fits_record._long_string(key, json.dumps(record))
    assert all(len(card) == 80 for card in cards)
    assert _fits_record._record(["X".ljust(80), *cards, "Y".ljust(80)], key, "a.fits") == (1, 1 + len(cards), record)


@given(value=st.floats(allow_nan=False, allow_infinity=False), comment=st.text("abc '/&", max_size=80))
def test_numbers_keep_every_digit(value, comment):
    old = str(fits.Card("CRVAL1", 1.0, comment.strip()[:40]))
    card = _fits_record._number_card("CRVAL1", value, old)
    assert len(card) == 80
    again = fits.Card.fromstring(card)
    assert again.value == value
    assert comment.strip()[:40].startswith(again.comment)


def test_gzip(raster, tmp_path):
    packed = tmp_path / "raster.fits.gz"
    packed.write_bytes(gzip.compress(raster.read_bytes()))
    assert aligned_path(packed).name == "raster_aligned.fits.gz"
    out = apply_to_file(packed, CORRECTION, aligned_path(packed), hdus="all")
    plain = apply_to_file(packed, CORRECTION, tmp_path / "plain.fits", hdus="all")
    assert out.read_bytes()[:2] == b"\x1f\x8b"
    assert {hdu.number for hdu in scanned(out) if last_step(hdu)} == {0, 1, 2, 3}
    for path in (out, plain):
        assert undo_file(path, tmp_path / "u.fits", overwrite=True).read_bytes() == raster.read_bytes()


# What goes wrong.


def test_an_edited_file_is_not_undone_by_halves(corrected, tmp_path):
    content = corrected.read_bytes()
    cases = {
        r"CROTA is gone": (b"CROTA   =", b"ROLL    ="),
        r"HISTORY before SUNALN1 is not as": (b"HISTORY sunalign pivot", b"COMMENT sunalign pivot"),
        r"record SUNALN1 in .* is damaged": (b'"history"', b'"histoire'),
    }
    for message, (old, new) in cases.items():
        corrected.write_bytes(content.replace(old, new))
        with pytest.raises(CorrectionError, match=message):
            undo_file(corrected, tmp_path / "undone.fits")
        assert not (tmp_path / "undone.fits").exists()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda content: content[:1000], ImageError, "truncated inside a header"),
        (lambda content: content[: 3 * 2880], ImageError, r"truncated inside"),
        (lambda content: b"not fits at all" * 400, ImageError, "not a FITS file"),
        (lambda content: b"", ImageError, "not a FITS file"),
        (lambda content: content.replace(b"HPLN-TAN", b"X       "), CorrectionError, "none of its 5 HDUs"),
        (lambda content: content.replace(b"'arcsec  '", b"'m       '"), CorrectionError, r"bad\.fits: HDU 0 .* is 'm'"),
    ],
)  # fmt: skip
def test_bad_files_are_named_and_leave_nothing_behind(raster, tmp_path, change, error, message):
    bad = tmp_path / "bad.fits"
    bad.write_bytes(change(raster.read_bytes()))
    before = set(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        apply_to_file(bad, CORRECTION, tmp_path / "out.fits")
    assert set(tmp_path.iterdir()) == before


def test_missing_files_and_directories_are_named(tmp_path, raster):
    with pytest.raises(ImageError, match="There is no file"):
        apply_to_file(tmp_path / "nothing.fits", CORRECTION, tmp_path / "out.fits")
    with pytest.raises(ImageError, match="is a directory"):
        apply_to_file(tmp_path, CORRECTION, tmp_path / "out.fits")
    with pytest.raises(FileNotFoundError, match=r"There is no directory .*; create it first"):
        apply_to_file(raster, CORRECTION, tmp_path / "no" / "out.fits")


def test_what_cannot_be_written_names_the_hdu(raster, tmp_path):
    content = raster.read_bytes().replace(b"HPLN-TAN", b"HPLN-CAR").replace(b"HPLT-TAN", b"HPLT-CAR")
    raster.write_bytes(content.replace(b"'arcsec  '", b"'deg     '"))
    with pytest.raises(CorrectionError, match=r"HDU 0 \('FIRST'\): The correction leaves"):
        apply_to_file(raster, Correction.from_parameters(scale_x=1.3), tmp_path / "out.fits", tolerance=1e-9)


# Output that is whole or not there.


def test_a_correction_survives_a_file(tmp_path):
    correction = Correction.from_parameters(
        3.25 * u.arcsec, scale_x=1.01, rotation=0.1 * u.deg, errors={"shift_x": 0.1, "scale_x": 1e-3},
        covariance=np.diag([0.01, 1e-6]), pivot=(1 / 3, 2) * u.arcsec,
    )  # fmt: skip
    extra = {"score": np.float64(0.93), "when": Time("2024-10-17"), "step": 4 * u.arcsec, "bad": np.nan, "n": [1, (2,)]}
    path = save_correction(tmp_path / "c.json", correction, extra)
    assert load_correction(path) == correction
    document = json.loads(path.read_text())
    assert document["extra"] == {
        "score": 0.93, "when": "2024-10-17 00:00:00.000", "step": {"value": 4.0, "unit": "arcsec"}, "bad": None,
        "n": [1, [2]],
    }  # fmt: skip
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_correction(path, correction)
    save_correction(path, correction.inverse(), overwrite=True)
    assert load_correction(path) == correction.inverse()


def test_an_error_that_was_not_found_is_none_in_json(tmp_path):
    correction = Correction.from_parameters(3 * u.arcsec, errors={"shift_x": np.nan}, covariance=[[np.nan]])
    path = save_correction(tmp_path / "c.json", correction)
    assert "NaN" not in path.read_text()
    again = load_correction(path)
    assert np.isnan(again.errors["shift_x"])
    assert np.isnan(again.covariance).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds no correction"),
        ('{"format": "sunalign correction", "version": 2}', "newer version of sunalign"),
        ('{"format": "sunalign correction", "version": 1, "correction": {}}', "not a correction as Correction.to_dict"),
    ],
)
def test_bad_json_is_named(tmp_path, text, message):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(CorrectionError, match=message):
        load_correction(path)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load_correction(tmp_path / "nothing.json")
