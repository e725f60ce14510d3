"""One date and its time scale."""

import datetime

from astropy.time import Time

from sunalign.geometry.date_forms import is_time_axis, read_date, time_scale

NOON = Time("2024-10-17T12:00:00")


def test_scales_and_single_dates():
    assert [is_time_axis(name) for name in ("TIME", "utc", "TT(BIPM)", "TAI-LOG", "WAVE", "HPLN-TAN")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip
    assert time_scale({"TIMESYS": "TAI"}, "TIME") == "tai"
    assert time_scale({"timesys": "TAI"}, "UTC") == "utc"
    assert time_scale({"TIMESYS": "nonsense"}) == "utc"
    assert read_date(NOON).isot == NOON.tai.isot
    assert read_date(datetime.datetime(2024, 10, 17, 12)).isot == NOON.isot
    assert read_date(None) is None
    assert read_date(["2024-10-17"]) is None


def test_offsets_from_utc_in_every_form():
    for text in (
        "2024-10-17T14:00:00+02:00", "2024-10-17 14:00:00+0200", "2024-10-17T14:00:00.000 +02", "20241017T140000+0200",
        "2024-10-17T06:30:00-05:30", "17-Oct-24 14:00:00+02:00", "2024-10-17T12:00:00Z", "2024-10-17T12:00:00-00:00",
    ):  # fmt: skip
        for scale in ("utc", "tai"):
            time = read_date(text, scale)
            assert time is not None, text
            assert time.scale == "utc"
            assert abs((time - NOON).sec) < 1e-6
    zone = datetime.timezone(datetime.timedelta(hours=2))
    assert abs((read_date(datetime.datetime(2024, 10, 17, 14, tzinfo=zone)) - NOON).sec) < 1e-6


def test_what_looks_like_an_offset_is_none():
    assert read_date("2024-10-17T12:00:00+14:30") is None
    assert read_date("2024-10-17T12:00:00+02:60") is None
    assert read_date("2024-10-17+02:00") is None
    assert read_date("2024-10-17").isot == "2024-10-17T00:00:00.000"
