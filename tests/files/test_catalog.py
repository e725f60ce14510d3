"""Images that go with a raster, found by name or header."""

import os
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astropy.units as u
from astropy.io import fits
from astropy.time import Time

import sunalign
from sunalign import simulate
from sunalign.exceptions import AlignmentError, CoverageError
from sunalign.files import catalog
from sunalign.files.catalog import _from_name, _longest_gap, find_images

DAY = "2024-10-17T"
NAMES = {
    "solo_L2_eui-fsi174-image_20241017T014055208_V02.fits": ("fsi174", "01:40:55.208"),
    "solo_L1_eui-hrieuv174-image_20241017T014055_V01.fits": ("hrieuv174", "01:40:55.000"),
    "aia.lev1_euv_12s.2024-10-17T014057Z.171.image_lev1.fits": ("aia171", "01:40:57.000"),
    "aia_lev1_171a_2024_10_17t01_40_57_35z_image_lev1.fits": ("aia171", "01:40:57.350"),
    "AIA20241017_014057_0171.fits": ("aia171", "01:40:57.000"),
    "hmi.M_720s.20241017_014800_TAI.1.magnetogram.fits": ("hmim", "01:47:23.000"),
    "hmi_m_45s_2024_10_17_01_42_00_tai_magnetogram.fits": ("hmim", "01:41:23.000"),
    "swap_lv1_20241017_014055.fits": ("swap1", "01:40:55.000"),
}


def fsi(time, version=2, detector="fsi174"):
    stamp = re.sub(r"[-:.]", "", Time(time).isot)
    return f"solo_L2_eui-{detector}-image_{stamp}_V{version:02d}.fits"


@pytest.fixture
def folder(tmp_path):
    """FSI images every ten minutes from 00:05 to 03:05, in two sub-directories; files of which only names are read."""
    for k in range(19):
        below = tmp_path / f"{k % 2}" / "deep"
        below.mkdir(parents=True, exist_ok=True)
        (below / fsi(Time(DAY + "00:05") + k * 10 * u.min)).touch()
    return tmp_path


def stamps(paths):
    return [re.search(r"T(\d{4})", path.name).group(1) for path in paths]


@pytest.mark.parametrize("name", NAMES)
def test_names_tell_detector_and_time(name, tmp_path):
    detector, clock = NAMES[name]
    entry = _from_name(tmp_path / name)
    assert entry.detector == detector
    assert entry.date.utc.isot == DAY + clock


def test_other_names_tell_nothing(tmp_path):
    for name in ("image.fits", "solo_L2_spice-n-ras_20241017T000050_V03.fits", "aia_20241399_999999_0171.fits"):
        assert _from_name(tmp_path / name) is None


def test_a_span_with_a_neighbour_on_either_side_in_order(folder):
    found = find_images(folder, DAY + "00:50", DAY + "01:21", detector="FSI")
    assert stamps(found) == ["0045", "0055", "0105", "0115", "0125"]
    assert stamps(find_images(str(folder), DAY + "01:01", DAY + "01:02")) == ["0055", "0105"]


def test_the_latest_version_of_each(folder):
    old = fsi(DAY + "01:05", version=1)
    new = fsi(DAY + "01:15", version=3)
    for name in (old, new):
        (folder / name).touch()
    found = [path.name for path in find_images(folder, DAY + "01:00", DAY + "01:20")]
    assert old not in found
    assert new in found
    assert fsi(DAY + "01:15") not in found


def test_a_span_that_is_not_covered_is_refused_with_the_nearest(folder):
    with pytest.raises(CoverageError, match=r"gap of 115\.0 min from .*03:05.* nearest images are .*T025500.*T030500"):
        find_images(folder, DAY + "02:00", DAY + "05:00")
    with pytest.raises(CoverageError, match="no image near it"):
        find_images(folder, "2024-10-18T00:00", "2024-10-18T01:00")
    with pytest.raises(CoverageError, match=r"gap of 10\.0 min .* and 5 min are allowed"):
        find_images(folder, DAY + "01:00", DAY + "02:00", max_gap=5 * u.min)
    for path in folder.rglob("*T011500*"):
        path.unlink()
    with pytest.raises(CoverageError, match=r"gap of 20\.0 min from 2024-10-17T01:05:00.*T010500.* and .*T012500"):
        find_images(folder, DAY + "00:30", DAY + "02:00", max_gap=12 * u.min)
    assert len(find_images(folder, DAY + "00:30", DAY + "02:00")) == 10


def test_detectors_there_are_named(folder, tmp_path_factory):
    (folder / fsi(DAY + "01:00", detector="hrieuv174")).touch()
    with pytest.raises(CoverageError, match="has no image of 'aia'; detectors there: fsi174, hrieuv174"):
        find_images(folder, DAY + "01:00", DAY + "02:00", detector="aia")
    with pytest.raises(CoverageError, match="no FITS image with a date"):
        find_images(tmp_path_factory.mktemp("empty"), DAY + "01:00", DAY + "02:00")


def test_headers_are_read_where_names_say_nothing_and_once(tmp_path, monkeypatch):
    blank = simulate.Scene(contrast=0, limb_brightening=0)
    for k in range(3):
        simulate.imager(blank, shape=(4, 4), time=Time(DAY + "01:00") + k * 5 * u.min).save(tmp_path / f"{9 - k}.fits")
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  =")
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "undated.fits")
    found = find_images(tmp_path, DAY + "01:00", DAY + "01:10", detector="imager")
    assert [path.name for path in found] == ["9.fits", "8.fits", "7.fits"]

    def forbidden(path):
        raise AssertionError(f"{path} was read again.")

    monkeypatch.setattr(catalog, "_from_header", forbidden)
    assert find_images(tmp_path, DAY + "01:00", DAY + "01:10", detector="imager") == found
    os.utime(tmp_path / "9.fits", (1, 1))
    with pytest.raises(AssertionError, match="read again"):
        find_images(tmp_path, DAY + "01:00", DAY + "01:10")


def test_arguments_are_checked(folder):
    with pytest.raises(AlignmentError, match="There is no directory"):
        find_images(folder / "nowhere", DAY + "01:00", DAY + "02:00")
    with pytest.raises(AlignmentError, match="is after 'end'"):
        find_images(folder, DAY + "02:00", DAY + "01:00")
    with pytest.raises(TypeError, match=r"20 \* u\.min"):
        find_images(folder, DAY + "01:00", DAY + "02:00", max_gap=20)


@given(st.lists(st.floats(-100, 200), min_size=1, max_size=10, unique=True), st.floats(0, 100))
def test_longest_gap_is_what_it_says(dates, span):
    dates = sorted(dates)
    gap, at = _longest_gap(dates, span)
    # Nothing lies inside the gap, and it touches the span.
    assert not any(at < t < at + gap for t in dates)
    assert at <= span
    assert at + gap >= 0
    # From every moment of the span the nearest image on one side is no further away.
    for moment in np.linspace(0, span, 7):
        assert min(abs(t - moment) for t in dates) <= gap + 1e-9 or gap == 0


def test_a_query_names_what_to_fetch_and_fetches_nothing():
    pytest.importorskip("sunpy.net.attrs", reason="needs sunpy[net]", exc_type=ImportError)
    pair = simulate.raster_pair(n_steps=16, n_slit=64, cadence=60 * u.s)
    text = str(sunalign.fido_query(pair.target, detector="fsi304"))
    assert "EUI" in text
    assert "304" in text


def test_a_query_without_the_network_part_of_sunpy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sunpy.net", None)
    with pytest.raises(ImportError, match=r"pip install 'sunpy\[net\]'"):
        sunalign.fido_query(None)
