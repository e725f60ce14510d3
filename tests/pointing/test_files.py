"""Pointing of the columns in files: read, written, taken back; every other byte as it was."""

import filecmp
import json
import warnings

import numpy as np
import pytest

import astropy.units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

import sunalign
from sunalign import simulate
from sunalign.cli import main
from sunalign.correction import Correction
from sunalign.exceptions import AlignmentError, CorrectionError, SunalignUserWarning
from sunalign.files.io import apply_to_file, undo_file
from sunalign.images import read_map
from sunalign.pointing import load_pointing, read_pointing

NX, NY = 24, 80


def raster(**options):
    orbit = simulate.Orbit(dsun=0.45 * u.AU, time="2024-10-17T00:00:00")
    options = {"n_steps": NX, "n_slit": NY, "cadence": 60 * u.s, "observer": orbit, "drift": 5 * u.arcsec} | options
    return simulate.raster_pair(3, **options)


@pytest.fixture(scope="module")
def pair():
    return raster()


def correction_of(pair):
    """The true one."""
    error = pair.error
    return Correction.from_parameters(error.shift_x, error.shift_y, pivot=centre(pair.target))


def centre(target):
    return u.Quantity([target.meta["crval1"] * u.deg, target.meta["crval2"] * u.deg])


def spice_file(path, pair, tables=None):
    """A file laid out like SPICE L2: image, binary table, and tables to be subtracted, with their cards."""
    header = fits.Header({k: v for k, v in pair.target.meta.items() if k != "keycomments"})
    image = fits.PrimaryHDU(pair.target.data, header)
    hdus = fits.HDUList([image, fits.BinTableHDU(QTable({"MIRRPOS": np.arange(NX)}), name="VARIABLE_KEYWORDS")])
    if tables is not None:
        for k, values in enumerate(tables, start=1):
            image.header[f"CWERR{k}"] = np.abs(values).max()
            image.header[f"CWDIS{k}"] = "Lookup"
            for text in (f"EXTVER: {k}", "NAXES: 1", f"AXIS.{k}: 1", "ASSOCIATE: 1", "APPLY: 6"):
                image.header.append(fits.Card.fromstring(f"DW{k}     = '{text}'".ljust(80)), end=True)
            array = fits.ImageHDU(np.asarray(values, ">f8"), name="WCSDVARR", ver=k)
            array.header["CRPIX1"], array.header["CRVAL1"], array.header["CDELT1"] = 1, 1, 1
            hdus.append(array)
    hdus.writeto(path, checksum=True)
    return path


def table_of(pair, sign=1.0):
    return [sign * pair.pointing[f"shift_{axis}"].to_value(u.arcsec) for axis in "xy"]


def world_of(path, name, rows, columns):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path) as hdus:
            return WCS(hdus[name].header, hdus).all_pix2world(columns, rows, 0)


# Written


def test_astropy_reads_the_truth_back_within_a_hundredth_of_a_pixel(pair, tmp_path):
    """Against the header that is right and the table that is true, by astropy.wcs alone."""
    source, output = spice_file(tmp_path / "a.fits", pair), tmp_path / "b.fits"
    apply_to_file(source, correction_of(pair), output, pointing=pair.pointing, lookup="cpdis")
    rows, columns = np.mgrid[:NY, :NX]
    lon, lat = world_of(output, "SUNALIGN-WCS", rows, columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = WCS({k: v for k, v in pair.truth.meta.items() if k[:3] not in ("pc3",) and k[-1] != "3"}, naxis=2)
    true_lon, true_lat = truth.wcs_pix2world(columns, rows, 0)
    true_lon = true_lon + pair.pointing["shift_x"].to_value(u.deg)
    true_lat = true_lat + pair.pointing["shift_y"].to_value(u.deg)
    x, y = truth.wcs_world2pix(lon, lat, 0)
    true_x, true_y = truth.wcs_world2pix(true_lon, true_lat, 0)
    assert np.abs(x - true_x).max() < 0.01
    assert np.abs(y - true_y).max() < 0.01
    assert np.ptp(y - rows) > 2  # which is not nothing


def test_a_header_of_two_axes_names_the_lookups_itself(pair, tmp_path):
    source, output = tmp_path / "flat.fits", tmp_path / "out.fits"
    meta = {k: v for k, v in pair.target.meta.items() if k[-2:] not in ("_3", "s3") and "3" not in k and k != "wcsaxes"}
    fits.PrimaryHDU(pair.target.data, fits.Header(meta)).writeto(source)
    apply_to_file(source, correction_of(pair), output, pointing=pair.pointing, lookup="cpdis")
    rows, columns = np.mgrid[:NY:7, :NX]
    lon, _ = world_of(output, 0, rows, columns)
    with warnings.catch_warnings(), fits.open(output) as hdus:
        warnings.simplefilter("ignore")
        assert "SUNALIGN-WCS" not in hdus
        core = WCS(hdus[0].header, hdus).wcs_pix2world(columns, rows, 0)[0]
    np.testing.assert_allclose((lon - core) * 3600 % 360, pair.pointing["shift_x"].value % 360 + 0 * rows, atol=1e-3)
    undo_file(output, overwrite=True)
    assert filecmp.cmp(source, output, shallow=False)


@pytest.mark.parametrize("lookup", [None, "wcsdvarr", "cpdis"])
@pytest.mark.parametrize("tables", [False, True])
def test_undo_restores_every_byte_and_the_rest_was_never_touched(pair, tmp_path, lookup, tables):
    source = spice_file(tmp_path / "a.fits", pair, table_of(pair, -1) if tables else None)
    once, twice, back = (tmp_path / f"{name}.fits" for name in ("once", "twice", "back"))
    apply_to_file(source, correction_of(pair), once, pointing=pair.pointing, lookup=lookup)
    apply_to_file(once, correction_of(pair), twice, pointing=pair.pointing, lookup=lookup)
    with fits.open(source) as before, fits.open(once, checksum=True) as after:
        for one, two in zip(before, after, strict=False):
            assert one.header.get("DATASUM") == two.header.get("DATASUM")
        for untouched in range(1, len(before)):
            assert repr(before[untouched].header) == repr(after[untouched].header)
        assert after["SUNALIGN-POINTING"].data["shift_x"] == pytest.approx(pair.pointing["shift_x"].value)
    undo_file(twice, back)
    assert filecmp.cmp(once, back, shallow=False)
    undo_file(back, overwrite=True)
    assert filecmp.cmp(source, back, shallow=False)


def test_lookups_as_spice_has_them_supersede_those_of_the_file(pair, tmp_path):
    source = spice_file(tmp_path / "a.fits", pair, [0.5 * t for t in table_of(pair)])
    output = tmp_path / "b.fits"
    apply_to_file(source, correction_of(pair), output, pointing=pair.pointing, lookup="wcsdvarr")
    with fits.open(output) as hdus:
        header = hdus[0].header
        assert [header[f"DW{k}.EXTVER"] for k in (1, 2)] == [3, 4]
        assert [header[f"CWDIS{k}"].strip() for k in (1, 2)] == ["Lookup", "Lookup"]
        assert header["CWERR1"] == pytest.approx(np.abs(pair.pointing["shift_x"].value).max())
        # Subtracted, as the tool that is published with SPICE's files does.
        np.testing.assert_allclose(hdus["WCSDVARR", 3].data, -pair.pointing["shift_x"].value)
        np.testing.assert_allclose(hdus["WCSDVARR", 1].data, 0.5 * pair.pointing["shift_x"].value)


def test_what_does_not_fit_is_refused(pair, tmp_path):
    source = spice_file(tmp_path / "a.fits", pair)
    output = tmp_path / "b.fits"
    with pytest.raises(CorrectionError, match="has 5 rows, but HDU 0 has 24 columns"):
        apply_to_file(source, correction_of(pair), output, pointing=pair.pointing[:5])
    with pytest.raises(CorrectionError, match="'lookup' is 'wcsdvarr'"):
        apply_to_file(source, correction_of(pair), output, pointing=pair.pointing, lookup="sip")
    with pytest.raises(CorrectionError, match="no pointing to write"):
        apply_to_file(source, correction_of(pair), output, lookup="cpdis")
    assert not output.exists()


# Read


@pytest.mark.parametrize("lookup", [None, "wcsdvarr", "cpdis"])
def test_what_was_written_is_read_again(pair, tmp_path, lookup):
    source, output = spice_file(tmp_path / "a.fits", pair), tmp_path / "b.fits"
    assert read_pointing(source) is None
    apply_to_file(source, correction_of(pair), output, pointing=pair.pointing, lookup=lookup)
    found = read_pointing(output)
    for axis in "xy":
        np.testing.assert_allclose(found[f"shift_{axis}"].value, pair.pointing[f"shift_{axis}"].value, atol=1e-9)


def test_tables_of_a_file_are_read_with_their_own_pixels(pair, tmp_path):
    values = np.array([1.0, 3.0, 2.0])
    path = spice_file(tmp_path / "a.fits", pair, [values, 0 * values])
    with fits.open(path, mode="update") as hdus:
        # Given at columns 1, 11 and 21.
        hdus["WCSDVARR", 1].header["CDELT1"] = 10
    found = read_pointing(path)
    assert found["shift_x"].value[[0, 5, 10, 20, 23]] == pytest.approx([-1, -2, -3, -2, -2])
    assert found.meta["kind"] == "WCSDVARR"


def test_a_table_that_is_missing_or_no_column_of_numbers_is_told(pair, tmp_path):
    path = spice_file(tmp_path / "a.fits", pair, table_of(pair))
    with fits.open(path) as hdus:
        del hdus[-1]
        hdus.writeto(tmp_path / "b.fits")
    with pytest.raises(AlignmentError, match="names the table WCSDVARR 2, which is not in the file"):
        read_pointing(tmp_path / "b.fits")
    two = spice_file(tmp_path / "c.fits", pair, [np.ones((3, NX)), np.ones((3, NX))])
    with pytest.raises(AlignmentError, match="has the shape"):
        read_pointing(two)


# Aligned


@pytest.fixture(scope="module")
def larger():
    return raster(n_steps=40, n_slit=300)


@pytest.fixture
def tabled(larger, tmp_path):
    """A file whose tables are right if they are subtracted, but half as large as they should be."""
    return spice_file_of(tmp_path / "tabled.fits", larger, -0.5)


def spice_file_of(path, pair, factor):
    header = fits.Header({k: v for k, v in pair.target.meta.items() if k != "keycomments"})
    image = fits.PrimaryHDU(pair.target.data, header)
    hdus = fits.HDUList([image])
    for k, values in enumerate(table_of(pair, factor), start=1):
        image.header[f"CWDIS{k}"], image.header[f"CWERR{k}"] = "Lookup", np.abs(values).max()
        image.header.append(fits.Card.fromstring(f"DW{k}     = 'EXTVER: {k}'".ljust(80)), end=True)
        hdus.append(fits.ImageHDU(np.asarray(values, float), name="WCSDVARR", ver=k))
    hdus.writeto(path)
    return path


def aligned(path, pair, fit=("shift", "drift"), **options):
    return sunalign.align(path, pair.reference, fit=fit, **{"on_doubt": "ignore"} | options)


def test_the_sign_and_size_of_a_files_tables_are_tested(tabled, larger):
    result = aligned(tabled, larger)
    (row,) = result.drift.templates
    assert row["name"] == "file"
    assert row["gain"] == pytest.approx(2, abs=0.15)
    assert row["helps"]
    assert "its gain is fitted" in result.assumptions["pointing of the columns"]
    off = result.pointing["shift_y"] - larger.pointing["shift_y"]
    assert np.sqrt(np.mean(off.value**2)) < 0.3


def test_tables_that_are_neglected_are_told_and_those_that_are_applied_too(tabled, larger):
    with pytest.warns(SunalignUserWarning, match=r"pointing tables \(CWDIS1, CWDIS2\) that are not applied"):
        neglected = aligned(tabled, larger, fit="shift")
    assert "WCSDVARR 1 and 2" in neglected.assumptions["pointing of the columns"]
    assert neglected.assumptions["pointing of the columns"].endswith("neglected")
    assert neglected.pointing is None
    applied = aligned(tabled, larger, fit="shift", pointing="file")
    assert applied.assumptions["pointing of the columns"].endswith("applied")
    assert applied.score > neglected.score
    with pytest.warns(SunalignUserWarning, match="Give the path of the file and put 'drift' into fit"):
        as_map = aligned(read_map(tabled), larger, fit="shift")
    assert "CWDIS1 along x (WCSDVARR 1, up to" in as_map.assumptions["pointing of the columns"]
    ignored = aligned(tabled, larger, pointing="ignore")
    assert len(ignored.drift.templates) == 0


def test_every_hdu_is_kept_by_align_and_by_undo(tabled, larger, tmp_path):
    output = tmp_path / "out.fits"
    result = aligned(tabled, larger, corrector="fits", output=output, lookup="wcsdvarr")
    assert result.aligned == output
    with fits.open(tabled) as before, fits.open(output) as after:
        for k in (1, 2):
            assert before[k].data.tobytes() == after[k].data.tobytes()
            assert repr(before[k].header) == repr(after[k].header)
    undo_file(output, overwrite=True)
    assert filecmp.cmp(tabled, output, shallow=False)


def test_the_command_line_writes_the_table_and_applies_it_elsewhere(larger, tmp_path, capsys):
    target, reference = tmp_path / "t.fits", tmp_path / "r.fits"
    larger.target.save(target)
    larger.reference.save(reference)
    table, out, record = (tmp_path / name for name in ("p.ecsv", "out.fits", "c.json"))
    code = main(
        ["align", str(target), str(reference), "--fit", "shift,drift", "--pointing", str(table), "-o", str(out),
         "--lookup", "cpdis", "--json", str(record), "-q"]
    )  # fmt: skip
    assert code == 0
    said = capsys.readouterr().out
    assert "drift    The columns move by" in said
    # Not "in result.pointing": a command has no result.
    assert "result.pointing" not in said
    assert "out.fits and " in " ".join(said.split())
    written = QTable.read(table)
    off = written["shift_y"] - larger.pointing["shift_y"]
    assert np.sqrt(np.mean(off.value**2)) < 0.3
    assert written["shift_y_error"].unit == u.arcsec
    again = load_pointing(record)
    np.testing.assert_allclose(again["shift_x"].value, written["shift_x"].value, atol=1e-9)
    assert main(["apply", str(record), str(target), "-o", str(tmp_path / "other.fits")]) == 0
    np.testing.assert_allclose(
        read_pointing(tmp_path / "other.fits")["shift_x"].value, written["shift_x"].value, atol=1e-9
    )
    assert json.loads(record.read_text())["extra"]["drift"]["refused"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pointing", "p.ecsv"], "add drift to --fit"),
        (["--fit", "shift,drift", "--lookup", "cpdis"], "add -o OUT"),
        (["--fit", "shift,drift", "--pointing", "p.txt"], "is a table such as out.ecsv"),
    ],
)
def test_options_that_make_no_sense_together(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["align", "t.fits", "r.fits", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def latitude_first(path, pair):
    """The same raster with its slit along the first axis and its steps along the second."""
    swapped = str.maketrans("12", "21")
    header = fits.Header()
    for key, value in pair.target.meta.items():
        if key == "keycomments" or key.startswith("naxis"):
            continue
        indexed = key[:5] in ("ctype", "cunit", "crval", "crpix", "cdelt") or key[:2] == "pc"
        header[key.translate(swapped) if indexed else key] = value
    fits.PrimaryHDU(pair.target.data.T.copy(), header).writeto(path)
    return path


def test_a_raster_with_latitude_first_gets_its_table(larger, tmp_path):
    path, output = latitude_first(tmp_path / "lf.fits", larger), tmp_path / "out.fits"
    found = aligned(path, larger, corrector="fits", output=output)
    written = read_pointing(output)
    assert np.sqrt(np.mean((written["shift_y"] - larger.pointing["shift_y"]).value ** 2)) < 0.3
    np.testing.assert_allclose(written["shift_x"].value, found.pointing["shift_x"].value, atol=1e-9)
    undo_file(output, overwrite=True)
    assert filecmp.cmp(path, output, shallow=False)


def test_lookups_of_a_raster_with_latitude_first_are_refused_before_the_fit(larger, tmp_path):
    path = latitude_first(tmp_path / "lf.fits", larger)
    with pytest.raises(AlignmentError, match=r"has latitude along its first axis.*Leave 'lookup' out"):
        aligned(path, larger, corrector="fits", lookup="cpdis", output=tmp_path / "out.fits")
    with pytest.raises(CorrectionError, match="HDU 0 has latitude along its first axis"):
        apply_to_file(path, correction_of(larger), tmp_path / "o.fits", pointing=larger.pointing, lookup="cpdis")
