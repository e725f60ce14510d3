"""Bad sequences: each kind has its own sentence. ``CASES`` is read by test_messages.py too."""

import numpy as np
import pytest

import astropy.units as u
from astropy.io import fits
from astropy.wcs import WCS

import sunpy.map
from ndcube import NDCube

import sunalign
from sunalign.exceptions import AlignmentDoubtError, AlignmentError, CoverageError, ImageError, SunalignUserWarning
from sunalign.testing.helpers import small_cube, small_header, small_map, small_sequence, smooth_image

MAPS, _ = small_sequence(6)


def align(frames=MAPS, reference=None, **options):
    return sunalign.align_sequence(frames, reference, **options)


def with_cards(frame, **cards):
    return sunpy.map.Map(frame.data, frame.meta.copy() | {key.replace("_", "-"): v for key, v in cards.items()})


def undated(**cards):
    header = {k: v for k, v in small_header((48, 40)).items() if k not in ("date-obs", "mjd-obs")}
    return (smooth_image(), header | {key.replace("_", "-"): v for key, v in cards.items()})


def files(folder, n=4, broken=()):
    paths = []
    for k, frame in enumerate(MAPS[:n]):
        paths.append(folder / f"frame{k}.fits")
        fits.PrimaryHDU(
            frame.data, fits.Header({k.upper(): v for k, v in frame.meta.items() if k != "keycomments"})
        ).writeto(paths[-1])
        if k in broken:
            paths[-1].write_bytes(paths[-1].read_bytes()[:9000])
    return paths


def apart():
    return [m.shift_reference_coord(500 * k * u.arcsec, 0 * u.arcsec) for k, m in enumerate(MAPS)]


def unrelated():
    return [sunpy.map.Map(np.random.default_rng(k).normal(size=m.data.shape) + 100, m.meta) for k, m in enumerate(MAPS)]


def black():
    return [sunpy.map.Map(np.zeros_like(m.data), m.meta) for m in MAPS]


def far_reference():
    return small_map(smooth_image((80, 80)), centre=(5000.0, 0.0))


#: What to do in a folder of one's own, the class of the error, and words in it.
CASES = {
    "sequence: one frame": (lambda _: align(MAPS[:1]), AlignmentError, "two frames or more"),
    "sequence: a map": (lambda _: align(MAPS[0]), AlignmentError, "two frames or more"),
    "sequence: nothing": (lambda _: align([]), AlignmentError, "none were given"),
    "sequence: a number": (lambda _: align(3), AlignmentError, "got int"),
    "sequence: no overlap": (lambda _: align(apart()), AlignmentError, "No two neighbours overlap"),
    "sequence: nothing in common": (lambda _: align(unrelated()), AlignmentError, "no structure in common"),
    "sequence: two observers": (
        lambda _: align([*MAPS[:3], with_cards(MAPS[3], telescop="other")]),
        AlignmentError,
        "two observers, small .* and other",
    ),
    "sequence: same date": (
        lambda _: align([MAPS[0], with_cards(MAPS[1], date_obs=MAPS[0].meta["date-obs"], mjd_obs=60431.0)]),
        AlignmentError,
        "have the same date",
    ),
    "sequence: no date": (lambda _: align([undated(), undated()]), AlignmentError, "has no date"),
    "sequence: a date that cannot be read": (
        lambda _: align([undated(date_obs="2024-10-17T12:00:00+99:00", date_end="?"), undated()]),
        AlignmentError,
        r"Frame 0 has DATE-OBS = '2024-10-17T12:00:00\+99:00' and DATE-END = '\?', which cannot be read as dates",
    ),
    "sequence: all black": (lambda _: align(black()), AlignmentError, "black or saturated"),
    "sequence: a cube without time": (lambda _: align(small_cube()), AlignmentError, "no axis for time"),
    "sequence: a reference elsewhere": (
        lambda _: align(reference=far_reference()),
        CoverageError,
        "No reference covers any",
    ),
    "sequence: a missing file": (
        lambda folder: align([*files(folder), folder / "nowhere.fits"]),
        ImageError,
        "There is no file",
    ),
    "sequence: a pattern": (
        lambda folder: align([*files(folder), folder / "frame*.fits"]),
        ImageError,
        "that is a pattern, which is not expanded here",
    ),
    "sequence: nothing but a pattern": (
        lambda folder: align(str(folder / "frame*.fits")),
        AlignmentError,
        "Frames are a list of paths",
    ),
    "sequence: a directory": (lambda folder: align(folder), AlignmentError, "Frames are a list of paths"),
    "sequence: all truncated": (
        lambda folder: align(files(folder, broken=range(4))),
        AlignmentError,
        "can be read, and two or more are needed",
    ),
    "sequence: output of maps": (lambda folder: align(output=folder), AlignmentError, "frames that are paths"),
    "sequence: output over the frames": (
        lambda folder: align(files(folder), output=folder),
        AlignmentError,
        "is a frame itself",
    ),
    "sequence: method": (lambda _: align(method="chain"), ValueError, "'auto', 'pairs' or 'template'"),
    "sequence: drift": (lambda _: align(drift=True), ValueError, "'auto', 'keep' or 'remove'"),
    "sequence: max_lag": (lambda _: align(max_lag=0), ValueError, "1 or more"),
    "sequence: anchor_every": (lambda _: align(anchor_every=1.5), ValueError, "1 or more"),
    "sequence: anchors of nothing": (lambda _: align(anchor_every=3), ValueError, "reference, and none was given"),
    "sequence: one limit": (lambda _: align(target_limits=5), AlignmentError, "'target_limits' is .lower, upper."),
    "sequence: limits upside down": (lambda _: align(target_limits=(9, 0)), AlignmentError, "lower < upper"),
    "sequence: drift as a parameter": (lambda _: align(fit=("shift", "drift")), AlignmentError, "no parameter 'drift'"),
    "sequence: max_shift": (lambda _: align(max_shift=3), TypeError, "an angle such as"),
    "sequence: no such keyword": (lambda _: align(banana=3), TypeError, "option named 'banana'"),
    "sequence: a misspelt keyword": (lambda _: align(max_shft=3 * u.arcsec), TypeError, "mean 'max_shift'"),
    "sequence: a misspelt rotation": (
        lambda _: align(solar_rotaton="none"),
        TypeError,
        "mean 'solar_rotation'",
    ),
    "sequence: target_mask": (
        lambda _: align(target_mask=np.zeros((3, 3), bool)),
        AlignmentError,
        "'target_mask' is a boolean array",
    ),
    "sequence: doubt as an error": (
        lambda _: align([*MAPS[:5], sunpy.map.Map(np.zeros_like(MAPS[5].data), MAPS[5].meta)], on_doubt="raise"),
        AlignmentDoubtError,
        "Of 6 frames 1 was",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_in_plain_words(name, tmp_path):
    act, cls, words = CASES[name]
    with pytest.raises(cls, match=words):
        act(tmp_path)


def test_a_gap_in_the_middle_leaves_the_larger_part():
    maps, _ = small_sequence(9)
    far = [m.shift_reference_coord(2000 * u.arcsec, 0 * u.arcsec) for m in maps[6:]]
    with pytest.warns(SunalignUserWarning, match="Of 9 frames 3 were not placed"):
        result = align([*maps[:6], *far])
    assert result.table["doubtful"].tolist() == [False] * 6 + [True] * 3


def test_a_truncated_file_is_named_and_kept_out(tmp_path):
    paths = files(tmp_path, n=6, broken=[2])
    with pytest.warns(SunalignUserWarning, match=r"frame2.fits \(It cannot be read \(frame2.fits is truncated"):
        result = align(paths, output=tmp_path / "out")
    assert not result.success
    assert result.aligned[2] is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"frame{k}.fits" for k in (0, 1, 3, 4, 5)]
    assert np.isfinite(result.table["shift_x"].value).tolist() == [k != 2 for k in range(6)]


def test_a_file_that_is_none_is_named_and_kept_out(tmp_path):
    paths = files(tmp_path, n=5)
    paths[3].write_text("no FITS file")
    with pytest.warns(SunalignUserWarning, match=r"frame3.fits \(It cannot be used: .* is not a FITS file"):
        result = align(paths)
    assert result.table["doubtful"].tolist() == [k == 3 for k in range(5)]


def test_files_of_one_name_and_date_are_told_by_their_directories(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with pytest.raises(AlignmentError, match=r"one/frame0.fits and .*two/frame0.fits have the same date"):
        align([*files(tmp_path / "one", n=1), *files(tmp_path / "two", n=1)])


def test_an_answer_beyond_max_shift_is_doubted():
    maps, truth = small_sequence(12, jitter=1.5)
    jumps = np.abs(np.diff(truth.to_value(u.arcsec), axis=0)).max()
    with pytest.warns(SunalignUserWarning, match="more than twice max_shift"):
        assert not align(maps, max_shift=0.4 * jumps * u.arcsec, drift="remove").success
    assert align(maps, max_shift=0.55 * jumps * u.arcsec, drift="remove").success


def test_a_cube_whose_time_is_the_slits_is_no_sequence():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit = ["HPLN-TAN", "HPLT-TAN"], ["arcsec", "arcsec"]
    wcs.wcs.cdelt = [4, 4]
    wcs.wcs.set()
    with pytest.raises(AlignmentError, match="no axis for time"):
        align(NDCube(smooth_image(), wcs=wcs))
