"""Cubes with an axis for time, sequences of cubes, and the cube that is made on request."""

import warnings

import numpy as np
import pytest

import astropy.units as u
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning

from ndcube import NDCube, NDCubeSequence

import sunalign
from sunalign.exceptions import AlignmentError
from sunalign.testing.helpers import small_sequence

MAPS, TRUTH = small_sequence(6, cadence=2 * u.s)


def left_over(result):
    found = np.stack([result.table["shift_x"].value, result.table["shift_y"].value], axis=1) - TRUTH.value
    return found - found.mean(axis=0)


def time_cube():
    meta = MAPS[0].meta
    wcs = WCS(naxis=3)
    wcs.wcs.ctype, wcs.wcs.cunit = ["HPLN-TAN", "HPLT-TAN", "UTC"], ["arcsec", "arcsec", "s"]
    wcs.wcs.crpix = [meta["crpix1"], meta["crpix2"], 1]
    wcs.wcs.crval = [meta["crval1"], meta["crval2"], 0]
    wcs.wcs.cdelt = [meta["cdelt1"], meta["cdelt2"], 2]
    wcs.wcs.dateref, wcs.wcs.dateobs = "2024-05-01T00:00:00", "2024-05-01T00:00:00"
    wcs.wcs.mjdref = 60431.0, 0.0
    wcs.wcs.aux.dsun_obs, wcs.wcs.aux.hgln_obs, wcs.wcs.aux.hglt_obs = 1.496e11, 0.0, 0.0
    wcs.wcs.aux.rsun_ref = 6.957e8
    wcs.wcs.set()
    return NDCube(np.array([frame.data for frame in MAPS]), wcs=wcs, meta={"telescop": "small"})


def test_a_cube_with_a_time_axis_gives_a_list_of_frames():
    result = sunalign.align_sequence(time_cube(), drift="remove")
    assert isinstance(result.aligned, list)
    assert np.abs(left_over(result)).max() < 0.2
    assert np.allclose((result.table["date"] - Time("2024-05-01")).sec, 2 * np.arange(6), atol=1e-3)
    for k, frame in enumerate(result.aligned):
        world = frame.wcs.low_level_wcs.pixel_to_world_values(10, 20)
        before = time_cube()[k].wcs.low_level_wcs.pixel_to_world_values(10, 20)
        assert (world[0] - before[0]) * 3600 == pytest.approx(result.table["shift_x"][k].value, abs=1e-2)


@pytest.mark.parametrize("card", ["DATE-OBS", "DATE-BEG", "DATE_OBS", "STARTOBS", "DATEREF"])
@pytest.mark.parametrize("ctype", ["TIME", "UTC", "Time"])
def test_a_time_axis_counts_from_the_zero_that_its_header_has(card, ctype):
    meta = MAPS[0].meta
    header = fits.Header({"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CTYPE3": ctype, "CUNIT3": "s", "CDELT3": 2.0})
    header.update({"CRPIX3": 1.0, "CRVAL3": 1.0, card: "2024-05-01T00:00:00"})
    for axis in "12":
        header.update({f"{key}{axis}": meta[f"{key}{axis}".lower()] for key in ("CUNIT", "CRPIX", "CRVAL", "CDELT")})
    header.update({key.upper(): meta[key] for key in ("dsun_obs", "hgln_obs", "hglt_obs", "rsun_ref")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        cube = NDCube(time_cube().data, wcs=WCS(header), meta=dict(header))
    result = sunalign.align_sequence(cube, drift="remove")
    assert np.allclose((result.table["date"] - Time("2024-05-01")).sec, 1 + 2 * np.arange(6), atol=1e-3)
    assert np.abs(left_over(result)).max() < 0.2


def test_a_time_axis_without_a_zero_is_no_date():
    cube = time_cube()
    wcs = cube.wcs.low_level_wcs.deepcopy()
    wcs.wcs.dateref, wcs.wcs.dateobs, wcs.wcs.mjdref = "", "", (0.0, 0.0)
    wcs.wcs.mjdobs = np.nan
    with pytest.raises(AlignmentError, match="Frame 0 has no date"):
        sunalign.align_sequence(NDCube(cube.data, wcs=wcs, meta={}))


def test_the_time_may_be_an_extra_coordinate():
    wcs = time_cube().wcs.low_level_wcs.deepcopy()
    wcs.wcs.ctype, wcs.wcs.cunit = ["HPLN-TAN", "HPLT-TAN", "WAVE"], ["deg", "deg", "m"]
    wcs.wcs.set()
    cube = NDCube(time_cube().data, wcs=wcs, meta={"telescop": "small"})
    dates = Time("2024-05-01") + 2 * np.arange(6) * u.s
    cube.extra_coords.add("time", 0, dates)
    result = sunalign.align_sequence(cube, drift="remove")
    assert np.abs(left_over(result)).max() < 0.2
    assert np.allclose((result.table["date"] - dates).sec, 0, atol=1e-3)


def test_a_sequence_of_cubes_comes_back_as_one():
    cubes = NDCubeSequence([NDCube(m.data, wcs=m.wcs, meta=dict(m.meta)) for m in MAPS])
    aligned, result = cubes.align_to(drift="remove", return_result=True)
    assert isinstance(aligned, NDCubeSequence)
    assert np.abs(left_over(result)).max() < 0.2
    assert aligned[0].data is cubes[0].data


class Rasters(NDCubeSequence):
    """A kind of sequence that is made in a way of its own."""

    def __init__(self, cubes, owner, **options):
        super().__init__(cubes, **options)
        self.owner = owner


def test_a_sequence_of_a_kind_of_its_own_stays_one():
    cubes = []
    for k, frame in enumerate(MAPS):
        mask = np.zeros(frame.data.shape, bool)
        mask[3, k] = True
        error = StdDevUncertainty(np.full(frame.data.shape, 2.0))
        meta = dict(frame.meta)
        cubes.append(NDCube(frame.data, wcs=frame.wcs, meta=meta, mask=mask, uncertainty=error, unit=u.DN))
    given = Rasters(cubes, "me", meta={"title": "six"}, common_axis=0)
    result = sunalign.align_sequence(given, drift="remove")
    aligned = result.aligned
    assert type(aligned) is Rasters
    assert (aligned.owner, aligned.meta, aligned._common_axis) == ("me", {"title": "six"}, 0)
    assert np.abs(left_over(result)).max() < 0.2
    for k, (old, new) in enumerate(zip(cubes, aligned.data, strict=True)):
        assert new.data is old.data
        assert new.unit == u.DN
        assert np.array_equal(new.mask, old.mask)
        assert np.array_equal(new.uncertainty.array, old.uncertainty.array)
        moved = new.wcs.low_level_wcs.wcs.crval - old.wcs.low_level_wcs.wcs.crval
        assert moved[0] * 3600 == pytest.approx(result.table["shift_x"][k].value, abs=1e-6)
    assert given.data[0] is cubes[0]
    assert np.array_equal(given[0].wcs.low_level_wcs.wcs.crval, cubes[0].wcs.low_level_wcs.wcs.crval)


def test_spectral_cubes_are_aligned_and_anchored_by_the_line_that_is_chosen():
    rng = np.random.default_rng(4)
    cubes = []
    for frame in MAPS:
        wcs = WCS(naxis=3)
        wcs.wcs.ctype, wcs.wcs.cunit = ["HPLN-TAN", "HPLT-TAN", "WAVE"], ["arcsec", "arcsec", "nm"]
        wcs.wcs.crpix = [frame.meta["crpix1"], frame.meta["crpix2"], 1]
        wcs.wcs.crval = [frame.meta["crval1"], frame.meta["crval2"], 100]
        wcs.wcs.cdelt = [frame.meta["cdelt1"], frame.meta["cdelt2"], 0.1]
        wcs.wcs.aux.dsun_obs, wcs.wcs.aux.hgln_obs, wcs.wcs.aux.hglt_obs = 1.496e11, 0.0, 0.0
        wcs.wcs.set()
        # Only one of the planes shows the Sun.
        planes = [rng.normal(0, 300, frame.data.shape) for _ in range(2)] + [frame.data]
        cubes.append(NDCube(np.array(planes), wcs=wcs, meta=dict(frame.meta)))
    chosen = {"wavelength": (100.19, 100.21) * u.nm, "solar_rotation": "none"}
    result = sunalign.align_sequence(NDCubeSequence(cubes), MAPS[0], **chosen)
    assert result.success
    assert isinstance(result.aligned, NDCubeSequence)
    assert np.abs(left_over(result)).max() < 0.2
    assert abs(result.table["shift_x"][0].value) < 0.2, "the reference is the first frame"
    assert result.anchors["used"].all()


def test_one_cube_is_resampled_on_the_first_frame():
    result = sunalign.align_sequence(MAPS, drift="remove")
    cube = result.to_cube()
    assert cube.data.shape == (6, 64, 72)
    assert np.array_equal(cube.data[0], MAPS[0].data)
    inner = cube.data[:, 12:-12, 12:-12]
    before = np.array([frame.data for frame in MAPS])[:, 12:-12, 12:-12]
    assert np.std(np.diff(inner, axis=0)) < 0.4 * np.std(np.diff(before, axis=0))
    assert cube.axis_world_coords("time", wcs=cube.extra_coords)[0][3] == MAPS[3].date


def test_files_are_no_cube(tmp_path):
    paths = []
    for k, frame in enumerate(MAPS[:3]):
        paths.append(tmp_path / f"{k}.fits")
        frame.save(paths[-1])
    with pytest.raises(AlignmentError, match="stay in files"):
        sunalign.align_sequence(paths).to_cube()
