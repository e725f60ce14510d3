"""Running median and spread, and the table that the next year starts from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astropy.units as u
from astropy.table import QTable
from astropy.time import Time

import sunalign
from sunalign import simulate
from sunalign.alignment.start import parameters_at
from sunalign.archive import fit_trend
from sunalign.archive._trend import deviations, running_band
from sunalign.exceptions import AlignmentError
from sunalign.files.io import save_correction

START = Time("2024-01-01T00:00:00")


def results(n=200, bad=0, seed=0):
    """Shifts that drift by 10 arcsec a year in x, with errors of 0.5 arcsec and some that are far off."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.uniform(0, 365, n))
    x = 3 + 10 * days / 365 + rng.normal(0, 0.5, n)
    x[rng.choice(n, bad, replace=False)] += 40
    table = QTable({"state": ["done"] * n, "date": START + days * u.day})
    for name, values, unit in (
        ("shift_x", x, u.arcsec),
        ("shift_y", rng.normal(-2, 0.5, n), u.arcsec),
        ("scale_x", np.ones(n), None),
        ("scale_y", np.ones(n), None),
        ("rotation", np.zeros(n), u.deg),
    ):
        error = np.full(n, 0.1 if name.startswith("shift") else np.nan)
        table[name], table[f"{name}_error"] = (v if unit is None else v * unit for v in (values, error))
    return table


@pytest.mark.parametrize("bad", [0, 20])
def test_the_trend_follows_the_drift_and_not_the_outliers(bad):
    trend = fit_trend(results(bad=bad))
    days = (trend["time"] - START).to_value(u.day)
    # A median of 21 with errors of 0.5 is good to some 0.15, twice that at the ends.
    np.testing.assert_allclose(trend["shift_x"].to_value(u.arcsec), 3 + 10 * days / 365, atol=0.75)
    assert np.median(np.abs(trend["shift_x"].to_value(u.arcsec) - 3 - 10 * days / 365)) < 0.2
    np.testing.assert_allclose(np.median(trend["shift_x_spread"].to_value(u.arcsec)), 0.5, atol=0.15)
    # What was not fitted has no trend.
    assert trend.colnames == ["time", "shift_x", "shift_x_spread", "shift_y", "shift_y_spread"]


@pytest.mark.parametrize("outliers", [0, 1])
def test_a_season_is_followed_where_there_are_ten_in_a_year(outliers):
    rng = np.random.default_rng(2)
    away, within = [], []
    for _ in range(100):
        month = np.delete(np.arange(12.0), rng.choice(12, 2, replace=False))
        true = 10 + 4.5 * np.cos(2 * np.pi * month / 12)
        values = true + rng.normal(0, 0.4, 10)
        values[rng.choice(10, outliers, replace=False)] += 30
        band = running_band(month, values)
        away.append(np.abs(band.median - true))
        within.append(np.abs(band.median - true) < 2 * band.spread)
    # A line through seven months is off by 0.8 in the median, and by 3.5 at the turns.
    assert np.median(away) < 0.5
    assert outliers or np.quantile(away, 0.95) < 1.2
    # What it says of itself is no less than how far off it is.
    assert np.mean(within) > 0.85


def test_doubtful_ones_and_those_without_a_date_do_not_count():
    table = results(40)
    expected = fit_trend(table[:30])
    table["state"][30:35] = "fail"
    table["shift_x"][30:] = 1e4 * u.arcsec
    table["date"][35:] = np.ma.masked
    assert str(fit_trend(table)["shift_x"]) == str(expected["shift_x"])
    with pytest.raises(AlignmentError, match=r"A trend needs 5 tasks that are done and have a date; there are 4"):
        fit_trend(table[:4])


@given(
    st.lists(st.tuples(st.floats(0, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=60),
    st.floats(-100, 100),
    st.floats(0.01, 100),
)
def test_the_band_moves_and_stretches_with_the_data(points, shift, factor):
    x, y = np.array(points).T
    band = running_band(x, y)
    assert (np.diff(band.x) >= 0).all()
    assert (band.spread >= 0).all()
    assert (band.median >= y.min()).all()
    assert (band.median <= y.max()).all()
    moved = running_band(x, factor * y + shift)
    np.testing.assert_allclose(moved.median, factor * band.median + shift, atol=1e-6 * (1 + abs(shift) + factor * 1e3))
    np.testing.assert_allclose(moved.spread, factor * band.spread, atol=1e-6 * (1 + abs(shift) + factor * 1e3))


def test_the_order_of_the_points_does_not_matter():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(size=(2, 50))
    order = rng.permutation(50)
    one, two = running_band(x, y), running_band(x[order], y[order])
    np.testing.assert_array_equal(one.median, two.median)


def test_deviation_is_in_standard_deviations_of_the_good():
    table = results(300, bad=6)
    x = (table["date"] - START).to_value(u.day)
    y = table["shift_x"].to_value(u.arcsec)
    far = deviations(x, y, np.ones(300, bool))
    off = np.abs(y - 3 - 10 * x / 365) > 20
    assert far[off].min() > 40
    assert np.quantile(far[~off], 0.68) == pytest.approx(1.0, abs=0.25)
    assert np.isnan(deviations(x[:4], y[:4], np.ones(4, bool))).all()


# As a start.


def test_a_table_is_read_off_at_a_time():
    table = QTable(
        {
            "time": START + [2, 0, 1] * u.day,
            "shift_x": [5, 1, 3] * u.arcsec,
            "scale_x": [1.03, 1.01, np.nan],
            "rotation": [30, 0, 0] * u.arcmin,
        }
    )
    at = parameters_at(table, START + 1.5 * u.day)
    assert at["shift_x"].to_value(u.arcsec) == pytest.approx(4)
    # Between the two rows that have it.
    assert at["scale_x"] == pytest.approx(1.025)
    assert at["rotation"].to_value(u.deg) == pytest.approx(0.25)
    assert "shift_y" not in at
    for day, expected in ((-10, 1), (10, 5)):
        assert parameters_at(table, START + day * u.day)["shift_x"].to_value(u.arcsec) == expected


@pytest.fixture(scope="module")
def pair():
    error = simulate.PointingError(shift_x=20 * u.arcsec, shift_y=-9 * u.arcsec)
    return simulate.image_pair(seed=1, shape=(64, 64), error=error, rng=5)


def test_a_search_begins_where_the_table_says(pair, tmp_path):
    table = QTable({"time": START + [0, 1000] * u.day, "shift_x": [18, 18] * u.arcsec, "shift_y": [-8, -8] * u.arcsec})
    table.write(tmp_path / "trend.ecsv", format="ascii.ecsv")
    for start in (table, tmp_path / "trend.ecsv", str(tmp_path / "trend.ecsv")):
        result = sunalign.align(pair.target, pair.reference, start=start, max_shift=6 * u.arcsec)
        np.testing.assert_allclose(result.space.start, [18, -8])
        assert result.success
        np.testing.assert_allclose(result.x, [20, -9], atol=0.5)
    save_correction(tmp_path / "c.json", result.correction)
    again = sunalign.align(pair.target, pair.reference, start=tmp_path / "c.json", max_shift=6 * u.arcsec)
    np.testing.assert_allclose(again.space.start, result.x, atol=1e-6)


def test_starts_that_are_none(pair, tmp_path):
    def align(start):
        return sunalign.align(pair.target, pair.reference, start=start)

    (tmp_path / "text.ecsv").write_text("No table.")
    day = {"time": START + [0] * u.day}
    for start, words in [
        (tmp_path / "nowhere.ecsv", "There is no file .*nowhere.ecsv to start from"),
        (tmp_path / "text.ecsv", "cannot be read as a table to start from"),
        (QTable({"shift_x": [1] * u.arcsec}), "has a column 'time' of times"),
        (QTable(day), "this one has 1 rows of time"),
        (
            QTable({**day, "shift_x": [1.0]}),
            "column shift_x of a table to start from is in arcsec; this one is in no unit",
        ),
    ]:
        with pytest.raises(AlignmentError, match=words):
            align(start)
    from astropy.io import fits

    from sunalign.testing.helpers import small_header

    undated = {k: v for k, v in small_header((64, 64)).items() if not k.upper().startswith(("DATE", "MJD"))}
    with pytest.raises(AlignmentError, match="has no date; give a Correction"):
        sunalign.align(
            (pair.target.data, fits.Header(undated)), pair.reference, start=QTable({**day, "shift_x": [1] * u.arcsec})
        )
