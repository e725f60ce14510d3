"""One slit position: aligned along and across the slit, and against time where it was exposed again and again."""

import filecmp
import warnings

import numpy as np
import pytest

import astropy.units as u
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

from ndcube import NDCube
from sunpy.map import GenericMap

import sunalign
from sunalign import simulate
from sunalign.alignment.slit import read_slit
from sunalign.exceptions import AlignmentError
from sunalign.files.io import undo_file

ORBIT = simulate.Orbit(dsun=0.45 * u.AU, time="2024-10-17T00:00:00")


def stare(seed=2, n=24, **options):
    usual = {"drift": 4 * u.arcsec, "reference_shape": (200, 160), "n_slit": 500, "step": 4 * u.arcsec}
    return simulate.raster_pair(seed, n_steps=n, observer=ORBIT, still=True, **usual | {"cadence": 60 * u.s} | options)


@pytest.fixture(scope="module")
def pair():
    return stare()


@pytest.fixture(scope="module")
def result(pair):
    return sunalign.align(pair.target, pair.reference, fit=("shift", "scale", "drift"), on_doubt="ignore")


def off(result, pair):
    return np.array(
        [(result.pointing[f"shift_{axis}"] - pair.pointing[f"shift_{axis}"]).to_value(u.arcsec) for axis in "xy"]
    )


def test_the_simulated_slit_stays_where_it_is():
    still = stare(drift=None, snr=None, n_slit=60, n=6, cadence=None)
    columns = still.truth.data
    assert still.target.meta["cdelt1"] == 0
    np.testing.assert_allclose(columns, np.broadcast_to(columns[:, :1], columns.shape), rtol=1e-6)


def test_the_shift_is_found_along_and_across_the_slit(pair, result):
    assert abs(result.correction.shift_x - pair.error.shift_x) < 0.5 * u.arcsec
    assert abs(result.correction.shift_y - pair.error.shift_y) < 0.5 * u.arcsec
    for name in ("shift_x", "shift_y"):
        assert 0 < result.correction.errors[name] < 2


def test_the_pointing_is_one_against_time(pair, result):
    assert len(result.pointing) == 24
    assert (abs(result.pointing["time"] - pair.times) < 1 * u.ms).all()
    assert np.sqrt(np.mean(off(result, pair) ** 2)) < 0.25
    # A steady drift is one too: no scale can stand in for it here.
    line = np.polyfit(np.arange(24), pair.pointing["shift_y"].value, 1)[0]
    assert np.polyfit(np.arange(24), result.pointing["shift_y"].value, 1)[0] == pytest.approx(line, abs=0.02)


def test_what_cannot_be_determined_is_named(pair, result):
    assert "scale_x" in result.assumptions["not determined"]
    assert result.assumptions["slit positions"] == "one, 24 exposures"
    assert "scale_x" not in result.free
    with pytest.raises(AlignmentError, match="has one slit position, from which scale_x cannot be determined"):
        sunalign.align(pair.target, pair.reference, fit="scale_x")


def test_the_corrected_map_has_the_right_coordinates_and_a_raster_axis_without_extent(pair, result):
    assert isinstance(result.aligned, GenericMap)
    meta, truth = result.aligned.meta, pair.truth.meta
    assert meta["cdelt1"] == 0
    for k in (1, 2):
        assert abs(meta[f"crval{k}"] - truth[f"crval{k}"]) * 3600 < 0.5
        assert meta[f"pc2_{k}"] == pytest.approx(truth[f"pc2_{k}"], abs=1e-3)
    assert meta["cdelt2"] == pytest.approx(truth["cdelt2"], rel=5e-3)
    assert "shift_x" in str(meta["history"])
    assert pair.target.meta["crval1"] != meta["crval1"]


@pytest.mark.parametrize("convention", ["pc", "cd"])
def test_headers_of_any_convention_and_bare_arrays(result, convention):
    other = stare(convention=convention, unit=u.arcsec)
    found = sunalign.align(
        (other.target.data, dict(other.target.meta)),
        other.reference,
        fit=("shift", "scale", "drift"),
        on_doubt="ignore",
    )
    np.testing.assert_allclose(found.pointing["shift_x"].value, result.pointing["shift_x"].value, atol=1e-3)
    data, header = found.aligned
    assert data is other.target.data
    assert header["crval1"] == pytest.approx(other.truth.meta["crval1"], abs=0.5)


def test_a_file_is_read_too(pair, tmp_path):
    path = tmp_path / "sit.fits"
    meta = fits.Header({k: v for k, v in pair.target.meta.items() if k != "keycomments"})
    fits.PrimaryHDU(pair.target.data, meta).writeto(path)
    found = sunalign.align(path, pair.reference, fit="shift", corrector="wcs", on_doubt="ignore")
    assert isinstance(found.aligned, GenericMap)
    assert found.target.name == "sit.fits"
    assert abs(found.correction.shift_y - pair.error.shift_y) < 0.6 * u.arcsec


def test_a_file_is_corrected_and_restored(pair, tmp_path):
    source, output = tmp_path / "sit.fits", tmp_path / "out.fits"
    meta = fits.Header({k: v for k, v in pair.target.meta.items() if k != "keycomments"})
    fits.PrimaryHDU(pair.target.data, meta).writeto(source)
    found = sunalign.align(
        source, pair.reference, fit=("shift", "drift"), corrector="fits", output=output, on_doubt="ignore"
    )
    assert found.aligned == output
    header = fits.getheader(output)
    for k in (1, 2):
        assert abs(header[f"CRVAL{k}"] - pair.truth.meta[f"crval{k}"]) * 3600 < 0.6
    assert header["CDELT1"] == 0
    assert len(fits.getdata(output, "SUNALIGN-POINTING")) == 24
    undo_file(output, overwrite=True)
    assert filecmp.cmp(source, output, shallow=False)


def cube_of(pair, n=None):
    """The same exposures as SPICE files have them: (time, wavelength, slit, 1), time along an axis of its own."""
    meta = pair.target.meta
    header = fits.Header(
        {"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CTYPE3": "WAVE", "CTYPE4": "UTC", "CUNIT1": "deg",
         "CUNIT2": "deg", "CUNIT3": "nm", "CUNIT4": "s", "CRPIX1": 1.0, "CRPIX2": meta["crpix2"], "CRPIX3": 1.0,
         "CRPIX4": 1.0, "CRVAL1": meta["crval1"], "CRVAL2": meta["crval2"], "CRVAL3": 97.7,
         "CRVAL4": float((pair.times[0] - Time(meta["dateref"])).to_value(u.s)), "CDELT1": meta["cdelt2"],
         "CDELT2": meta["cdelt2"], "CDELT3": 0.01, "CDELT4": 1.0, "PC4_4": -60.0, "DATEREF": meta["dateref"],
         "DATE-OBS": meta["date-obs"], "DATE-AVG": meta["date-avg"], "RSUN_REF": meta["rsun_ref"],
         "DSUN_OBS": meta["dsun_obs"], "HGLN_OBS": meta["hgln_obs"], "HGLT_OBS": meta["hglt_obs"],
         "PC1_1": meta["pc1_1"], "PC1_2": meta["pc1_2"], "PC2_1": meta["pc2_1"], "PC2_2": meta["pc2_2"]}
    )  # fmt: skip
    data = np.stack([pair.target.data, 3 * pair.target.data]).transpose(2, 0, 1)[..., None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return NDCube(data, WCS(header), meta={**header, "STUDYTYP": "Sit-and-stare"})


def test_a_cube_with_time_along_an_axis_of_its_own(pair, result):
    cube = cube_of(pair)
    found = sunalign.align(cube, pair.reference, fit=("shift", "scale_y", "drift"), on_doubt="ignore")
    assert isinstance(found.aligned, NDCube)
    assert found.aligned.data is cube.data
    assert np.sqrt(np.mean(off(found, pair) ** 2)) < 0.25
    assert abs(found.correction.shift_x - pair.error.shift_x) < 0.5 * u.arcsec
    new, old = found.aligned.wcs.wcs.crval, cube.wcs.wcs.crval
    assert (new[1] - old[1]) * 3600 == pytest.approx(pair.error.shift_y.value, abs=0.5)


def test_a_single_exposure_is_aligned_as_a_line(pair):
    one = simulate.raster_pair(2, n_steps=1, n_slit=500, cadence=60 * u.s, observer=ORBIT, reference_shape=(200, 160))
    found = sunalign.align(one.target, one.reference, fit=("shift", "scale", "drift"), on_doubt="ignore")
    assert found.pointing is None
    assert "drift (a single exposure" in found.assumptions["not determined"]
    assert abs(found.correction.shift_x - one.error.shift_x) < 0.6 * u.arcsec
    assert abs(found.correction.shift_y - one.error.shift_y) < 0.6 * u.arcsec


def test_a_single_slit_position_of_a_cube(pair):
    cube = cube_of(pair)[3:4]
    found = sunalign.align(cube, pair.reference, fit="shift", on_doubt="ignore")
    true = pair.error.shift_y + pair.pointing["shift_y"][3]
    assert abs(found.correction.shift_y - true) < 1 * u.arcsec
    assert found.assumptions["slit positions"] == "one, 1 exposure"


def test_an_image_is_no_slit(pair):
    assert read_slit(pair.reference) is None
    raster = simulate.raster_pair(2, n_steps=12, n_slit=60)
    assert read_slit(raster.target) is None
    assert read_slit("no-such-file.fits") is None
    assert read_slit(3) is None


def test_masks_and_limits_are_of_the_exposures(pair):
    mask = np.zeros(pair.target.data.shape, bool)
    mask[:250] = True
    found = sunalign.align(pair.target, pair.reference, fit=("shift", "drift"), target_mask=mask, on_doubt="ignore")
    assert np.isnan(found.target.data[:250]).all()
    assert abs(found.correction.shift_y - pair.error.shift_y) < 1 * u.arcsec


def sliced_file(path, pair, columns, cdelt=0.0):
    """Exposures in an array of four axes as (1, wavelength, slit, exposures), twice as bright in every next plane."""
    meta = {k: v for k, v in pair.target.meta.items() if k not in ("keycomments", "naxis1", "naxis2")}
    number = {"3": "4"}  # time gives way to wavelength
    time = {k: v for k, v in meta.items() if k[-1] == "3" or k.startswith("pc3_") or k == "wcsaxes"}
    header = fits.Header({k: v for k, v in meta.items() if k not in time})
    for key, value in time.items():
        if key.startswith("pc3_"):
            header[f"PC4_{number.get(key[-1], key[-1])}"] = value
        elif key != "wcsaxes" and not key.startswith("pc"):
            header[f"{key[:-1]}4"] = value
    header.update(CTYPE3="WAVE", CUNIT3="nm", CRPIX3=1.0, CRVAL3=97.7, CDELT3=0.01, CDELT1=cdelt)
    header["CRPIX1"] -= columns.start
    data = pair.target.data[:, columns]
    fits.PrimaryHDU(np.stack([data, 3 * data])[None], header).writeto(path)
    return path


def test_a_file_of_four_axes_is_read_as_that_of_two(pair, result, tmp_path):
    path = sliced_file(tmp_path / "sit.fits", pair, slice(0, 24))
    found = sunalign.align(path, pair.reference, fit=("shift", "scale", "drift"), on_doubt="ignore")
    np.testing.assert_allclose(found.pointing["shift_x"].value, result.pointing["shift_x"].value, atol=0.02)
    assert (abs(found.pointing["time"] - pair.times) < 1 * u.ms).all()


@pytest.mark.parametrize("cdelt", [0.0, 4 / 3600])
def test_a_file_of_one_slit_position_is_aligned(pair, tmp_path, cdelt):
    path = sliced_file(tmp_path / "one.fits", pair, slice(10, 11), cdelt)
    if cdelt:
        # The exposure's own place and the direction of its slit: the raster axis now leads somewhere.
        fits.setval(path, "CRPIX1", value=1.0)
        fits.setval(path, "PC1_2", value=fits.getval(path, "PC1_2") * fits.getval(path, "CDELT2") / cdelt)
    found = sunalign.align(path, pair.reference, fit="shift", on_doubt="ignore")
    assert found.assumptions["slit positions"] == "one, 1 exposure"
    assert abs(found.correction.shift_y - pair.error.shift_y - pair.pointing["shift_y"][10]) < 1 * u.arcsec


def test_a_column_of_a_cube_whose_time_is_only_in_its_header(pair):
    raster = simulate.raster_pair(2, n_steps=12, n_slit=300, cadence=60 * u.s, observer=ORBIT)
    cube = NDCube(raster.target.data, raster.target.wcs, meta=dict(raster.target.meta))
    found = sunalign.align(cube[:, 5:6], raster.reference, fit="shift", on_doubt="ignore")
    assert found.assumptions["slit positions"] == "one, 1 exposure"
    assert read_slit(cube[:, 5:6]).times.origin == "the date of the cube"


def test_a_file_of_exposures_along_an_axis_of_their_own_is_the_cube_of_it(pair, tmp_path):
    cube = cube_of(pair)
    path = tmp_path / "exposures.fits"
    fits.PrimaryHDU(cube.data, fits.Header({**cube.meta})).writeto(path)
    of_file, of_cube = read_slit(path), read_slit(cube)
    np.testing.assert_array_equal(of_file.exposures.data, of_cube.exposures.data)
    np.testing.assert_allclose(of_file.times.seconds, of_cube.times.seconds)
    assert of_file.exposures.name == "exposures.fits"
    np.testing.assert_allclose(of_file.exposures.grid.wcs.wcs.crval, of_cube.exposures.grid.wcs.wcs.crval)
