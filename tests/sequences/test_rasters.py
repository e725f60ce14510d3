"""Rasters that repeat each other, as files of several spectral windows."""

import numpy as np
import pytest

import astropy.units as u
from astropy.io import fits
from astropy.time import Time

import sunalign
from sunalign.cli import main
from sunalign.exceptions import AlignmentError, SunalignUserWarning
from sunalign.files.io import undo_file
from sunalign.images.cube_files import CubeFile
from sunalign.testing.helpers import small_map, small_sequence

WAVELENGTHS = {"C II": 133.5, "Si IV": 140.3}
MAPS, TRUTH = small_sequence(5, shape=(60, 48), noise=1.0, seed=8, cadence=2 * u.s)


def write(folder, maps=MAPS, **cards):
    """Rasters with one window a line, the first of which is noise, and cards that all share in the first HDU."""
    paths = []
    for k, frame in enumerate(maps):
        meta = frame.meta
        primary = fits.PrimaryHDU()
        primary.header.update({"TELESCOP": "small", "DATE-OBS": Time(frame.date).utc.isot, **cards})
        for i, name in enumerate(WAVELENGTHS):
            primary.header[f"TDESC{i + 1}"] = name
            primary.header[f"TWMIN{i + 1}"], primary.header[f"TWMAX{i + 1}"] = 1335.0 + 70 * i, 1335.5 + 70 * i
        for name in ("DSUN_OBS", "HGLN_OBS", "HGLT_OBS", "RSUN_REF"):
            if name.lower() in meta:
                primary.header[name] = meta[name.lower()]
        hdus = [primary]
        for i, name in enumerate(WAVELENGTHS):
            profile = np.array([0.5, 1.0, 0.5])[:, None, None]
            noise = np.random.default_rng([k, i]).normal(0, 500 * (1 - i), (3, *frame.data.shape))
            # (x, y, wavelength) as IRIS writes it: the slit moves along the first axis.
            cube = np.moveaxis(profile * frame.data * (1 + i) + noise, (0, 1, 2), (2, 1, 0)).astype(np.float32)
            window = fits.ImageHDU(cube, name=name)
            window.header.update(
                {"CTYPE1": "WAVE", "CUNIT1": "Angstrom", "CRPIX1": 1.0, "CRVAL1": 1335.0 + 70 * i, "CDELT1": 0.25,
                 "CTYPE2": "HPLT-TAN", "CUNIT2": "arcsec", "CRPIX2": meta["crpix2"], "CRVAL2": meta["crval2"],
                 "CDELT2": meta["cdelt2"], "CTYPE3": "HPLN-TAN", "CUNIT3": "arcsec", "CRPIX3": meta["crpix1"],
                 "CRVAL3": meta["crval1"], "CDELT3": meta["cdelt1"]}
            )  # fmt: skip
            hdus.append(window)
        paths.append(folder / f"raster{k}.fits")
        fits.HDUList(hdus).writeto(paths[-1])
    return paths


def left_over(result):
    found = np.stack([result.table["shift_x"].value, result.table["shift_y"].value], axis=1) - TRUTH.value
    return np.abs(found - found.mean(axis=0)).max()


@pytest.mark.parametrize(
    "choice", [{"hdu": 2}, {"hdu": "SI IV"}, {"line": "Si IV"}, {"wavelength": (140.5, 140.53) * u.nm}]
)
def test_rasters_are_aligned_by_the_window_that_is_chosen(tmp_path, choice):
    result = sunalign.align_sequence(write(tmp_path), drift="remove", **choice)
    assert result.success
    assert left_over(result) < 0.2, "arcsec, of pixels of 4"


def test_the_first_window_is_looked_at_unless_another_is_chosen(tmp_path):
    paths = write(tmp_path)
    first, other = (sunalign.align_sequence(paths, on_doubt="ignore", **choice) for choice in ({}, {"hdu": 2}))
    assert other.success
    assert not first.success, "in the first window is nothing but noise"


def test_all_windows_of_the_corrected_files_are_corrected(tmp_path):
    paths = write(tmp_path)
    result = sunalign.align_sequence(paths, drift="remove", hdu="SI IV", output=tmp_path / "out")
    for k, (old, new) in enumerate(zip(paths, result.aligned, strict=True)):
        for window in WAVELENGTHS:
            before, after = fits.getheader(old, window), fits.getheader(new, window)
            moved = after["CRVAL3"] - before["CRVAL3"], after["CRVAL2"] - before["CRVAL2"]
            assert moved[0] == pytest.approx(result.table["shift_x"][k].value, abs=1e-6)
            assert moved[1] == pytest.approx(result.table["shift_y"][k].value, abs=1e-6)
            assert np.array_equal(fits.getdata(old, window), fits.getdata(new, window))
        assert undo_file(new, tmp_path / "back.fits", overwrite=True).read_bytes() == old.read_bytes()


def test_workers_and_the_command_read_rasters_too(tmp_path, capsys):
    paths = write(tmp_path)
    alone, shared = (sunalign.align_sequence(paths, line="Si IV", n_jobs=n) for n in (1, 2))
    assert np.array_equal(alone.table["shift_x"], shared.table["shift_x"])
    out = tmp_path / "out"
    assert main(["sequence", *map(str, paths), "--set", "line=Si IV", "-o", str(out), "-q"]) == 0
    assert "Wrote 5 frames" in capsys.readouterr().out
    assert len(list(out.iterdir())) == 5


def test_rasters_are_anchored_by_a_reference(tmp_path):
    truth = TRUTH[2].to_value(u.arcsec)
    meta = MAPS[2].meta
    reference = small_map(MAPS[2].data, centre=(0.0, 0.0))
    header = reference.meta.copy() | {key: meta[key] for key in ("crpix1", "crpix2", "date-obs")}
    header |= {"crval1": meta["crval1"] + truth[0], "crval2": meta["crval2"] + truth[1]}
    header.pop("mjd-obs", None)
    reference = type(reference)(reference.data, header)
    result = sunalign.align_sequence(write(tmp_path), reference, hdu=2, solar_rotation="none")
    found = np.stack([result.table["shift_x"].value, result.table["shift_y"].value], axis=1)
    assert np.abs(found - TRUTH.value).max() < 0.5, "absolute, in arcsec"


def test_what_iris_has_no_value_for_is_not_looked_at(tmp_path):
    path = write(tmp_path, MAPS[:1], TELESCOP="IRIS")[0]
    with fits.open(path, mode="update") as hdus:
        hdus[2].data[3, 4, :] = -200
    image = CubeFile(path, hdu=2).image()
    assert np.isnan(image.data[4, 3])
    assert np.isfinite(image.data).sum() == image.data.size - 1


def test_a_raster_that_cannot_be_used_is_named(tmp_path):
    paths = write(tmp_path)
    with pytest.raises(AlignmentError, match=r"raster0.fits: It cannot be used: .*no line 'Fe XII'"):
        sunalign.align_sequence(paths, line="Fe XII")
    with pytest.raises(AlignmentError, match="has no window 'NONE'"):
        sunalign.align_sequence(paths, hdu="NONE")
    with fits.open(paths[1], mode="update") as hdus:
        del hdus[0].header["DATE-OBS"]
    with pytest.raises(AlignmentError, match=r"raster1.fits has no date"):
        sunalign.align_sequence(paths)


def test_a_raster_of_one_step_is_kept_out(tmp_path):
    paths = write(tmp_path)
    with fits.open(paths[1]) as hdus:
        for window in WAVELENGTHS:
            hdus[window].data = hdus[window].data[:1]
        hdus.writeto(paths[1], overwrite=True)
    with pytest.warns(SunalignUserWarning, match=r"raster1.fits \(It cannot be used: .* one slit position only"):
        result = sunalign.align_sequence(paths, hdu=2)
    assert result.table["doubtful"].tolist() == [False, True, False, False, False]


def test_rasters_of_spice_have_four_axes(tmp_path):
    paths = write(tmp_path)
    for path in paths:
        with fits.open(path) as hdus:
            old = hdus[2]
            # (time, wavelength, y, x); every step of the raster takes a second, from right to left.
            window = fits.PrimaryHDU(np.moveaxis(old.data, (2, 1, 0), (0, 1, 2))[None])
            date = hdus[0].header["DATE-OBS"]
            window.header.update({"TELESCOP": "SOLO", "INSTRUME": "SPICE", "DATE-OBS": date, "DATE-BEG": date})
            for new, was in ((1, 3), (2, 2), (3, 1)):
                for key in ("CTYPE", "CUNIT", "CRPIX", "CRVAL", "CDELT"):
                    window.header[f"{key}{new}"] = old.header[f"{key}{was}"]
            nx = old.data.shape[0]
            window.header.update({"CTYPE4": "TIME", "CUNIT4": "s", "CRPIX4": 1.0, "CRVAL4": nx / 2, "CDELT4": 1.0})
            window.header["PC4_1"] = -1.0
            for key in ("DSUN_OBS", "HGLN_OBS", "HGLT_OBS", "RSUN_REF"):
                window.header[key] = hdus[0].header[key]
        fits.HDUList([window]).writeto(path, overwrite=True)
    result = sunalign.align_sequence(paths, drift="remove", output=tmp_path / "out", solar_rotation="none")
    assert result.success
    assert left_over(result) < 0.2
    before, after = fits.getheader(paths[1]), fits.getheader(result.aligned[1])
    assert after["CRVAL1"] - before["CRVAL1"] == pytest.approx(result.table["shift_x"][1].value, abs=1e-6)
    assert after["PC4_1"] == -1.0
