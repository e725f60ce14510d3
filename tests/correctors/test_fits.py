"""The fits corrector and the choice of a corrector; what it does to a file is in test_io.py."""

import numpy as np
import pytest

import astropy.units as u
from astropy.io import fits
from astropy.wcs import WCS

import sunpy.map
from ndcube import NDCube

from sunalign.correction import Correction
from sunalign.correctors import FITSCorrector, correct, corrector_for
from sunalign.exceptions import CorrectionError
from sunalign.files.io import undo_file

CORRECTION = Correction.from_parameters(3 * u.arcsec, scale_x=1.02, pivot=(100, -200) * u.arcsec)

HEADER = {
    "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRPIX1": 8.0, "CRPIX2": 6.0,
    "CRVAL1": 100.0, "CRVAL2": -200.0, "CDELT1": 2.0, "CDELT2": 3.0,
}  # fmt: skip


@pytest.fixture
def raster(tmp_path):
    path = tmp_path / "raster.v01.fits"
    fits.PrimaryHDU(np.zeros((12, 16), ">i2"), fits.Header(HEADER)).writeto(path)
    return path


def test_a_path_gives_the_path_of_a_new_file_beside_it(raster):
    before = raster.read_bytes()
    output = correct(raster, CORRECTION)
    assert output == raster.with_name("raster.v01_aligned.fits")
    assert raster.read_bytes() == before
    header = fits.getheader(output)
    assert header["CRVAL1"] == pytest.approx(103.0)
    assert header["CDELT1"] == pytest.approx(2.04)
    assert correct(str(raster), CORRECTION, corrector=FITSCorrector(overwrite=True)) == output


def test_output_that_exists_is_refused(raster):
    correct(raster, CORRECTION)
    with pytest.raises(FileExistsError, match=r"raster\.v01_aligned\.fits exists; .* overwrite=True"):
        correct(raster, CORRECTION)


def test_the_input_is_replaced_only_when_told(raster):
    before = raster.read_bytes()
    with pytest.raises(FileExistsError, match=r"raster\.v01\.fits exists"):
        correct(raster, CORRECTION, corrector=FITSCorrector(output=raster))
    assert raster.read_bytes() == before
    correct(raster, CORRECTION, corrector=FITSCorrector(output=raster, overwrite=True))
    assert fits.getheader(raster)["CRVAL1"] == pytest.approx(103.0)
    undo_file(raster, overwrite=True)
    assert raster.read_bytes() == before


def test_a_map_and_its_file_are_corrected_alike(raster):
    with fits.open(raster, mode="update") as hdus:
        hdus[0].header.update({"DATE-OBS": "2024-01-01T00:00:00", "DSUN_OBS": 1.4e11, "HGLN_OBS": 0, "HGLT_OBS": 1})
    one = correct(sunpy.map.Map(raster), CORRECTION)
    two = sunpy.map.Map(correct(raster, CORRECTION))
    assert np.allclose(one.wcs.pixel_scale_matrix, two.wcs.pixel_scale_matrix, rtol=1e-12)
    assert np.allclose(one.wcs.wcs.crval, two.wcs.wcs.crval, rtol=1e-12)


def test_options_are_checked():
    with pytest.raises(ValueError, match="'tolerance'"):
        FITSCorrector(tolerance=0)
    assert FITSCorrector(hdus=["A", 1]).hdus == ("A", 1)
    assert set(FITSCorrector().options()) == {"hdus", "hdu", "output", "overwrite", "tolerance", "lookup"}
    assert hash(FITSCorrector(hdus=["A"])) == hash(FITSCorrector(hdus=("A",)))
    with pytest.raises(CorrectionError, match="'fits' corrector takes the path of a FITS file; got ndarray"):
        FITSCorrector().apply(np.zeros((3, 4)), CORRECTION)


def test_the_corrector_goes_by_the_type(raster):
    wcs = WCS(fits.Header(HEADER))
    assert corrector_for(raster) == corrector_for(str(raster)) == "fits"
    assert corrector_for(NDCube(np.zeros((12, 16)), wcs)) == "ndcube"
    assert corrector_for((np.zeros((12, 16)), wcs)) == "wcs"
    assert isinstance(correct(NDCube(np.zeros((12, 16)), wcs), CORRECTION), NDCube)
    with pytest.raises(CorrectionError, match="'wcs' corrector takes"):
        correct(3, CORRECTION)
