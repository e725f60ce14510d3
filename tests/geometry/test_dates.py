"""The reader of dates, held to sunpy's maps and astropy's times."""

import datetime
import pathlib
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astropy.units as u
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS

import sunpy.map
from ndcube import NDCube
from sunpy.data.test import get_dummy_map_from_header, rootdir

import sunalign
from sunalign.exceptions import AlignmentError, SunalignUserWarning
from sunalign.files.catalog import _entry
from sunalign.geometry.dates import read_dates
from sunalign.images import to_image
from sunalign.images.frames import open_frames
from sunalign.testing.helpers import small_map

#: But for those that are no images.
HEADERS = sorted(path for path in pathlib.Path(rootdir).rglob("*.header") if path.parent.name != "waveunit")

#: Where sunpy's reference date is none of the header's, or not the best of them.
OTHERWISE = {
    # sunpy's own `date` takes TIME-OBS into account, its `reference_date` is midnight.
    "lasco_c3.header": "2002-05-21T00:18:06.516",
    # The middle of the exposure, by the header's own T_OBS in TAI; sunpy takes DATE-OBS, its beginning.
    "mdi.fd_Ic.20101015_230100_TAI.data.header": "2010-10-15T23:00:26",
    "mdi.fd_M_96m_lev182.20101015_191200_TAI.data.header": "2010-10-15T19:14:56",
    # MAPTIME, which no image has.
    "adapt.header": None,
}


def seconds(a, b):
    return float((a - b).to_value(u.s))


@pytest.mark.parametrize("path", HEADERS, ids=lambda path: path.name)
def test_the_headers_that_sunpy_is_tested_with(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = get_dummy_map_from_header(path)
        expected = source.reference_date
    if path.name in OTHERWISE:
        expected = OTHERWISE[path.name] and Time(OTHERWISE[path.name])
    dates = read_dates(source.meta)
    assert not dates.problems
    if expected is None:
        assert dates.reference is None
    else:
        assert abs(seconds(dates.reference, expected)) < 1e-6


BASE = {
    "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CDELT1": 2.0, "CDELT2": 2.0,
    "CRPIX1": 4.5, "CRPIX2": 3.5, "CRVAL1": 10.0, "CRVAL2": -20.0, "HGLN_OBS": 0.0, "HGLT_OBS": 3.0,
    "DSUN_OBS": 1.5e11,
}  # fmt: skip
DATA = np.random.default_rng(1).normal(size=(6, 8))

NOON = Time("2024-10-17T12:00:00")
CARDS = {
    "DATE-AVG": {"DATE-AVG": "2024-10-17T12:00:00", "DATE-OBS": "2024-10-17T11:59:00"},
    "DATE-OBS": {"DATE-OBS": "2024-10-17T12:00:00", "DATE-END": "2024-10-17T12:02:00"},
    "IRIS": {"DATE_OBS": "2024-10-17T12:00:00.000", "STARTOBS": "2024-10-17T11:00:00"},
    "STARTOBS": {"STARTOBS": "2024-10-17T12:00:00"},
    "DATE-BEG": {"DATE-BEG": "2024-10-17T12:00:00", "DATE-END": "2024-10-17T12:02:00"},
    "two cards": {"DATE-OBS": "2024-10-17", "TIME-OBS": "12:00:00"},
    "two cards of SOHO": {"DATE_OBS": "2024/10/17", "TIME_OBS": "12:00:00.000"},
    "two digits of a year": {"DATE-OBS": "17-OCT-24", "TIME-OBS": "12:00:00"},
    "two digits of a year and the time": {"DATE-OBS": "17-Oct-24 12:00:00.000"},
    "four digits of a year and the time": {"DATE-OBS": "17-OCT-2024T12:00:00"},
    "SDO": {"T_OBS": "2024.10.17_12:00:37_TAI", "DATE-OBS": "2024-10-17T11:59:59"},
    "Z": {"T_OBS": "2024-10-17T12:00:00.00Z"},
    "IDL": {"DATE_D$OBS": "2024-10-17T12:00:00"},
    "MJD": {"MJD-AVG": 60600.5},
    "TAI": {"DATE-OBS": "2024-10-17T12:00:37", "TIMESYS": "TAI"},
    "TT": {"DATE-AVG": "2024-10-17T12:01:09.184", "TIMESYS": "TT"},
    "TDT": {"DATE-AVG": "2024-10-17T12:01:09.184", "TIMESYS": "TDT"},
    "GPS": {"DATE-AVG": "2024-10-17T12:00:18", "TIMESYS": "GPS"},
    "TDB": {"DATE-AVG": NOON.tdb.isot, "TIMESYS": "TDB"},
    "MJD in TAI": {"MJD-OBS": NOON.tai.mjd, "TIMESYS": "TAI"},
    "ahead of UTC": {"DATE-OBS": "2024-10-17T14:00:00+02:00", "DATE-END": "2024-10-17T14:02:00+0200"},
    "behind UTC": {"DATE-AVG": "2024-10-17 06:30:00.000 -05:30", "DATE-OBS": "2024-10-17T11:59:00Z"},
    "on another day": {"DATE-BEG": "2024-10-18T00:30:00+1230", "TIMESYS": "UTC"},
    "offset beside the day": {"DATE_OBS": "2024/10/17", "TIME_OBS": "13:00:00+01"},
    "offset in T_OBS": {"T_OBS": "2024-10-17T12:00:00+00:00", "DATE-OBS": "2024-10-17T11:59:00"},
    # wcslib reads the clock alone.
    "offset and MJD": {"DATE-OBS": "2024-10-17T14:00:00+02:00", "MJD-OBS": 60600 + 14 / 24},
    "Hinode": {"DATE_OBS": "2024-10-17T12:00:00", "TIMESYS": "UTC (TBR)"},
}


@pytest.mark.parametrize("name", CARDS)
def test_every_door_has_the_same_date(name, tmp_path):
    header = BASE | CARDS[name]
    path = tmp_path / "image.fits"
    if "IDL" not in name:  # no FITS file has such a card
        fits.PrimaryHDU(DATA, fits.Header(header)).writeto(path)
    else:
        fits.PrimaryHDU(DATA, fits.Header(BASE | {"DATE-OBS": header["DATE_D$OBS"]})).writeto(path)
    with warnings.catch_warnings():
        # What astropy makes of the dates in the cube's WCS does not matter: its header is in the metadata.
        warnings.simplefilter("ignore")
        cube = NDCube(DATA, wcs=WCS(BASE), meta=header)
    sources = {
        "map": sunpy.map.Map(DATA, header),
        "header": (DATA, header),
        "lower case": (DATA, {key.lower(): value for key, value in header.items()}),
        "cube": cube,
        "path": path,
    }
    for kind, source in sources.items():
        image = to_image(source)
        assert abs(seconds(image.date, NOON)) < 1e-3, kind
        assert image.times.is_instant
        assert abs(seconds(image.times.at(0.0), NOON)) < 1e-3, kind
        assert abs(seconds(image.observer.obstime, NOON)) < 1e-3, kind
        assert abs(seconds(to_image(image.to_map()).date, NOON)) < 1e-2, kind
    (frame,) = open_frames([path])
    assert abs(seconds(frame.date, NOON)) < 1e-3
    assert abs(seconds(_entry(str(path), 0, 0).date, NOON)) < 1e-3


@given(
    st.datetimes(datetime.datetime(1961, 1, 1), datetime.datetime(2049, 1, 1)),
    st.sampled_from(["utc", "tai", "tt", "tdb", "tcg", "tcb"]),
    st.sampled_from(["DATE-AVG", "DATE-OBS", "DATE_OBS", "DATE-BEG", "T_OBS"]),
)
def test_any_date_in_any_scale(when, scale, card):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dubious years
        expected = Time(when, scale=scale)
        found = read_dates({card: expected.isot, "TIMESYS": scale.upper()})
        assert not found.problems
        assert found.reference.scale == scale
        assert abs(seconds(found.reference, expected)) < 1e-3
        # What is written for others to read is in UTC.
        cards = found.cards()
        assert abs(seconds(Time(cards["DATE-AVG"], scale="utc"), expected)) < 1e-3


@pytest.mark.parametrize(
    ("cards", "words", "found"),
    [
        ({"DATE-OBS": "17/10/94"}, ["DATE-OBS", "day/month/19yy"], "1994-10-17"),
        ({"DATE-OBS": "2024-10-17"}, ["DATE-OBS", "no time of day"], "2024-10-17"),
        ({"DATE-AVG": "?", "DATE-OBS": "2024-10-17T12:00:00"},
         ["DATE-AVG = '?'", "DATE-OBS = '2024-10-17T12:00:00' is used"], "2024-10-17T12:00:00"),
        ({"DATE-END": "?", "DATE-OBS": "2024-10-17T12:00:00"}, ["DATE-END = '?'"], "2024-10-17T12:00:00"),
        ({"DATE-OBS": "17/10/94", "DATE-BEG": "1994-10-17T12:00:00"}, ["DATE-OBS", "19yy", "DATE-BEG = '1994-10-17T12"],
         "1994-10-17T12:00:00"),
        ({"DATE-AVG": "2024-10-18T12:00:00", "DATE-BEG": "2024-10-17T12:00:00", "DATE-END": "2024-10-17T13:00:00"},
         ["DATE-AVG", "after its DATE-END", "DATE-AVG is used"], "2024-10-18T12:00:00"),
        ({"DATE-AVG": "2024-10-16T12:00:00", "DATE-BEG": "2024-10-17T12:00:00", "DATE-END": "2024-10-17T13:00:00"},
         ["DATE-AVG", "before its DATE-BEG"], "2024-10-16T12:00:00"),
        ({"DATE-BEG": "2024-10-17T12:00:00", "DATE-END": "2024-10-17T11:00:00"},
         ["DATE-END", "before its DATE-BEG", "DATE-BEG = '2024-10-17T12:00:00' is used"], "2024-10-17T12:00:00"),
        ({"DATE_OBS": "2024-10-17T12:00:00", "DATE_END": "2024-10-17T11:00:00"},
         ["DATE_END", "before its DATE_OBS"], "2024-10-17T12:00:00"),
        ({"DATE-OBS": "2024-10-17T12:00:00", "TIMESYS": "LOCAL"}, ["TIMESYS = 'LOCAL'", "UTC is assumed"],
         "2024-10-17T12:00:00"),
        ({"DATE-OBS": "2024-10-17T12:00:00", "MJD-OBS": 60600.51},
         ["MJD-OBS = 60600.51", "not the time of its DATE-OBS = '2024-10-17T12:00:00'; DATE-OBS is used"],
         "2024-10-17T12:00:00"),
        ({"DATE-AVG": "2024-10-20T12:00:00", "DATE-OBS": "2024-10-17T12:00:00"},
         ["DATE-AVG = '2024-10-20T12:00:00'", "days from its DATE-OBS", "DATE-AVG is used"], "2024-10-20T12:00:00"),
        ({"DATE-AVG": "2024-10-17T12:00:00", "DATE_OBS": "2024-10-20T12:00:00", "DATE-BEG": "2024-10-17T11:59:00"},
         ["days from its DATE_OBS", "DATE-AVG is used"], "2024-10-17T12:00:00"),
        ({"DATE-AVG": "2024-10-17T12:00:00", "MJD-AVG": 60601.5}, ["MJD-AVG = 60601.5", "its DATE-AVG", "DATE-AVG is"],
         "2024-10-17T12:00:00"),
        ({"DATE-BEG": "2024-10-17T12:00:00", "MJD-BEG": 60600.4}, ["MJD-BEG = 60600.4", "its DATE-BEG", "DATE-BEG is"],
         "2024-10-17T12:00:00"),
        ({"DATE-OBS": "2024-10-17T12:00:00", "DATE-END": "2024-10-17T12:10:00", "MJD-END": 60600.6},
         ["MJD-END = 60600.6", "its DATE-END", "DATE-END is used"], "2024-10-17T12:00:00"),
        ({"DATE-AVG": "2024-10-17T12:00:00", "DATE-OBS": "2024-10-17T11:59:00", "MJD-OBS": 60600.4},
         ["MJD-OBS = 60600.4", "its DATE-OBS = '2024-10-17T11:59:00'; DATE-AVG = '2024-10-17T12:00:00' is used"],
         "2024-10-17T12:00:00"),
        ({"DATE-OBS": "2024-10-17T12:00:00", "DATE_OBS": "2024-10-17T12:01:00"},
         ["DATE_OBS = '2024-10-17T12:01:00'", "its DATE-OBS", "DATE-OBS is used"], "2024-10-17T12:00:00"),
        # The suffix says UTC, TIMESYS says of the other card that it is TAI.
        ({"DATE-OBS": "2024-10-17T12:00:00Z", "MJD-OBS": 60600.5, "TIMESYS": "TAI"},
         ["DATE-OBS = '2024-10-17T12:00:00Z'", "contradicts TIMESYS = 'TAI'; UTC is assumed"], "2024-10-17T12:00:00"),
        ({"DATE-OBS": "2024-10-17T14:00:00+02:00", "TIMESYS": "TT"},
         ["DATE-OBS = '2024-10-17T14:00:00+02:00'", "contradicts TIMESYS = 'TT'; UTC is assumed"],
         "2024-10-17T12:00:00"),
        ({"DATE-BEG": "2024-10-17T14:00:00+02:00", "DATE-END": "2024-10-17T14:01:00+02:00", "TIMESYS": "TAI"},
         ["DATE-BEG = '2024-10-17T14:00:00+02:00' and DATE-END = ", "contradicts"], "2024-10-17T12:00:00"),
        ({"DATE-OBS": "2024-10-17", "TIME-OBS": "14:00:00+0200", "TIMESYS": "GPS"},
         ["TIME-OBS = '14:00:00+0200'", "contradicts TIMESYS = 'GPS'"], "2024-10-17T12:00:00"),
        ({"DATE-OBS": "2024-10-17T14:00:00+02:00", "MJD-OBS": 60600.55}, ["MJD-OBS = 60600.55", "DATE-OBS is used"],
         "2024-10-17T12:00:00"),
        ({"DATE-AVG": "2024-10-17T14:00:00+25:00", "DATE-BEG": "?", "DATE-OBS": "2024-10-17T12:00:00"},
         ["DATE-AVG = '2024-10-17T14:00:00+25:00' and DATE-BEG = '?', which cannot be read as dates; DATE-OBS = "],
         "2024-10-17T12:00:00"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["map", "header"])
def test_what_is_wrong_with_a_date_is_told_once_with_its_card(kind, cards, words, found):
    header = BASE | cards
    image = to_image(sunpy.map.Map(DATA, header) if kind == "map" else (DATA, header))
    with pytest.warns(SunalignUserWarning) as caught:
        date = image.date
    (message,) = (str(warning.message) for warning in caught)
    for word in words:
        assert word in message
    assert message.startswith(f"{image.name} has ")
    assert message.endswith(".")
    # Crops and binnings have been told.
    assert image.crop(slice(0, 4), slice(0, 4)).binned(2, 2).date is date
    assert image.observer is not None
    assert abs(seconds(date, Time(found))) < 1e-6


UNREADABLE = [
    {"DATE-OBS": "rubbish"},
    {"DATE-OBS": "now"},
    {"DATE-OBS": "17/10/24"},
    {"DATE-OBS": "2024-13-45T00:00:00"},
    {"DATE-OBS": "2924-10-17T00:00:00"},
    {"DATE-OBS": "2024-10-17T14:00:00+15:00"},
    {"MJD-OBS": 1e9},
    {"DATE-AVG": "rubbish", "DATE-OBS": "?", "DATE-END": "?"},
]


@pytest.mark.parametrize("cards", UNREADABLE, ids=str)
@pytest.mark.parametrize("kind", ["map", "header", "cube", "path"])
@pytest.mark.parametrize("role", ["target", "reference"])
def test_a_date_that_cannot_be_read_is_told_once_with_what_is_assumed(role, kind, cards, tmp_path):
    other = small_map()
    dateless = {key: value for key, value in other.meta.items() if key not in ("date-obs", "mjd-obs", "keycomments")}
    data, header = np.roll(other.data, 1, axis=1), {**dateless, **cards}
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(data, fits.Header(header)).writeto(path)
    source = {
        "map": lambda: sunpy.map.Map(data, header),
        "header": lambda: (data, header),
        "cube": lambda: NDCube(data, wcs=WCS(dateless), meta=header),
        "path": lambda: path,
    }[kind]()
    pair = (source, other) if role == "target" else (other, source)
    with pytest.warns(SunalignUserWarning) as caught:
        result = sunalign.align(*pair, fit="shift")
    (message,) = (str(warning.message) for warning in caught)
    for card, value in cards.items():
        assert f"{card} = {value!r}" in message
    assert "which cannot be read as" in message
    assert f"are taken to be simultaneous. Mend {next(iter(cards))} in its header if that is wrong." in message
    assert "taken to be simultaneous" in result.assumptions["dates"]


@pytest.mark.parametrize("cards", UNREADABLE[:1], ids=str)
def test_a_frame_with_a_date_that_cannot_be_read_is_refused_by_its_card(cards, tmp_path):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(DATA, fits.Header(BASE | cards)).writeto(path)
    for source in (path, sunpy.map.Map(path)):
        with pytest.raises(AlignmentError, match="has DATE-OBS = 'rubbish', which cannot be read as a date, so it can"):
            open_frames([source])
        with pytest.raises(AlignmentError, match=r"Frame 0 has DATE-OBS = 'rubbish', .*; mend DATE-OBS in its header"):
            sunalign.align_sequence([source, source])


def test_a_leap_second_between_two_clocks_is_none_of_their_difference():
    assert read_dates({"DATE-OBS": "2017-01-01T01:00:00+02:00"}).reference.isot == "2016-12-31T23:00:00.000"


@given(
    st.datetimes(datetime.datetime(1973, 1, 1), datetime.datetime(2049, 1, 1)),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))),
    st.sampled_from(["T", " "]),
    st.sampled_from([":", ""]),
    st.sampled_from(["DATE-AVG", "DATE-OBS", "DATE_OBS", "DATE-BEG", "DATE-END", "T_OBS", "STARTOBS", "ENDOBS"]),
)
def test_any_offset_in_any_card(when, zone, between, colon, card):
    there = when.replace(tzinfo=datetime.UTC).astimezone(zone)
    offset = there.strftime("%z")
    text = f"{there.replace(tzinfo=None).isoformat(between, 'microseconds')}{offset[:3]}{colon}{offset[3:]}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dubious years
        found = read_dates({card: text})
        assert not found.problems
        assert found.reference.scale == "utc"
        assert abs(seconds(found.reference, Time(when))) < 1e-6


@pytest.mark.parametrize("cards", [{}, {"DATE-OBS": "2024-10-17T12:00:00"}])
def test_sunpy_stops_at_an_offset_and_we_do_not(cards):
    source = sunpy.map.Map(DATA, BASE | {"DATE-AVG": "2024-10-17T14:00:00+02:00"} | cards)
    # If sunpy learns to read them, `readable_map` has less to do.
    with pytest.raises(ValueError, match=r"unconverted data remains|not match"):
        _ = source.reference_date
    image = to_image(source)
    assert abs(seconds(image.date, NOON)) < 1e-6
    assert abs(seconds(image.observer.obstime, NOON)) < 1e-6
    assert source.meta["date-avg"] == "2024-10-17T14:00:00+02:00"


#: Pairs of cards that say the same thing.
TWINS = [(f"DATE-{when}", f"MJD-{when}") for when in ("AVG", "OBS", "BEG", "END")]


@given(
    st.datetimes(datetime.datetime(1973, 1, 1), datetime.datetime(2049, 1, 1)),
    st.sampled_from(["utc", "tai", "tt", "tdb"]),
    st.sampled_from(TWINS),
    st.integers(4, 9),
    st.floats(10, 1e5) | st.floats(-1e5, -10),
)
def test_a_number_of_days_is_held_against_the_date_beside_it(when, scale, twins, decimals, apart):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dubious years
        time = Time(when, scale=scale)
        cards = {twins[0]: time.isot, "TIMESYS": scale.upper()}
        right, wrong = (round((time + t * u.s).mjd, decimals) for t in (0, apart))
        assert not read_dates(cards | {twins[1]: right}).problems
        found = read_dates(cards | {twins[1]: wrong})
        (problem,) = found.problems
        assert all(f"{name} = " in problem for name in twins)
        assert problem.endswith(f"{twins[0]} is used")
        assert abs(seconds(found.reference, time)) < 1e-3


@pytest.mark.parametrize(
    "cards",
    [
        {"DATE-OBS": "2024-10-17", "TIME-OBS": "12:00:00", "MJD-OBS": 60600.0},  # as wcslib makes it of the day
        {"DATE-OBS": "2024-10-17", "DATE_OBS": "2024-10-17T12:00:00"},
        {"DATE-OBS": "2024-10-17T12:00:00", "DATE_OBS": "2024-10-17T12:00:00.714"},
        {"DATE-OBS": "2024-10-17T12:00:00", "DATE-BEG": "2024-10-17T12:00:00", "MJD-AVG": 60600.5007},
    ],
)
def test_dates_that_do_not_contradict_each_other(cards):
    assert not [problem for problem in read_dates(cards).problems if "not the time" in problem]


@pytest.mark.parametrize("cards", [{"DATE-AVG": "?", "DATE-OBS": "2024-05-01T00:00:00"}, {"TIMESYS": "LOCAL"}])
def test_a_map_that_sunpy_cannot_date_is_aligned_and_keeps_its_cards(cards):
    reference = small_map()
    bad = sunpy.map.Map(np.roll(reference.data, 1, axis=1), {**reference.meta, **cards})
    with pytest.warns(SunalignUserWarning, match=f"has {next(iter(cards))} = "):
        result = sunalign.align(bad, reference, fit="shift")
    assert result.correction.shift_x.to_value(u.arcsec) == pytest.approx(-4, abs=0.1)
    for key, value in cards.items():
        assert result.aligned.meta[key] == value


def test_no_date_at_all_is_told_by_what_needs_it():
    reference = small_map()
    header = {key: value for key, value in reference.meta.items() if key not in ("date-obs", "mjd-obs", "keycomments")}
    target = (np.roll(reference.data, 1, axis=1), header)
    with pytest.warns(SunalignUserWarning, match="array has no date; .* simultaneous. Add DATE-OBS"):
        sunalign.align(target, reference, fit="shift")


def test_dates_are_read_once_an_image(monkeypatch):
    import sunalign.geometry.date_forms as module
    from sunalign.geometry.dates import _dates

    calls = []

    def counted(*args, **kwargs):
        calls.append(args)
        return parse(*args, **kwargs)

    parse = module.parse_time
    monkeypatch.setattr(module, "parse_time", counted)
    _dates.cache_clear()
    module._parsed.cache_clear()
    reference = small_map()
    target = small_map(np.roll(reference.data, 1, axis=1), header={"date-obs": "2024-05-01T00:10:00"})
    sunalign.align(target, reference, fit="shift")
    # One card and one header each.
    assert len(calls) == 2
    sunalign.align(target, reference, fit="shift")
    assert len(calls) == 2


def test_a_class_of_maps_of_somebody_else_is_believed():
    class MyMap(sunpy.map.GenericMap):
        @property
        def reference_date(self):
            return Time(self.meta["myclock"], format="unix")

    reference = small_map()
    own = MyMap(reference.data, {**reference.meta, "myclock": NOON.unix})
    assert abs(seconds(to_image(own).date, NOON)) < 1e-3
