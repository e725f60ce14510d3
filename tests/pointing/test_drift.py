"""A drift of the pointing inside a raster: found, with errors, and not where there is none."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

import astropy.units as u
from astropy.table import QTable

import sunalign
from sunalign import simulate
from sunalign.abc import Metric
from sunalign.exceptions import AlignmentError, SunalignUserWarning
from sunalign.images import to_image
from sunalign.metrics import NCC
from sunalign.pointing import Template, sine, step, table_template
from sunalign.testing.helpers import small_map, smooth_image

AXES = ("shift_x", "shift_y")
FIT = ("shift", "scale", "drift")
ORBIT = simulate.Orbit(dsun=0.45 * u.AU, time="2024-10-17T00:00:00")


def raster(seed=3, n_steps=48, n_slit=400, **options):
    options = {"snr": 8.0, "cadence": 60 * u.s, "observer": ORBIT} | options
    return simulate.raster_pair(seed, n_steps=n_steps, n_slit=n_slit, **options)


def found_of(pair, fit=FIT, **options):
    return sunalign.align(pair.target, pair.reference, fit=fit, **{"on_doubt": "ignore"} | options)


def difference(result, pair):
    """Found less true, in arcsec, and the claimed errors, each of shape (2, n)."""
    return (
        np.array([(result.pointing[axis] - pair.pointing[axis]).to_value(u.arcsec) for axis in AXES]),
        np.array([result.pointing[f"{axis}_error"].to_value(u.arcsec) for axis in AXES]),
    )


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


@pytest.fixture(scope="module")
def drifting():
    pair = raster(drift=5 * u.arcsec)
    return pair, found_of(pair)


@pytest.fixture(scope="module")
def jumping():
    return raster(jumps=[(20, 10 * u.arcsec, -4 * u.arcsec)])


def housekeeping(pair, factor=1.0):
    after = pair.pointing["step"] >= 20
    return QTable({"time": pair.times, "x": factor * 10 * after * u.arcsec, "y": factor * -4 * after * u.arcsec})


def test_the_drift_is_recovered_with_an_error_for_every_step(drifting):
    pair, result = drifting
    off, error = difference(result, pair)
    assert rms(off) < 0.15
    assert 0.5 < rms(off / error) < 2
    assert (abs(result.pointing["time"] - pair.times) < 1 * u.ms).all()
    assert result.drift.no_drift < 1e-3
    assert result.success


def test_shift_and_scale_are_right_when_the_drift_is_in_the_fit(drifting):
    pair, result = drifting
    for name in AXES:
        off = (getattr(result.correction, name) - getattr(pair.error, name)).to_value(u.arcsec)
        assert abs(off) < 5 * result.correction.errors[name]
        assert abs(off) < 0.15


def test_the_drift_neither_shifts_nor_stretches(drifting):
    columns = np.arange(48) - 23.5
    for axis in AXES:
        values = drifting[1].pointing[axis].to_value(u.arcsec)
        assert abs(values.mean()) < 1e-9
        assert abs(values @ columns) < 1e-6


def test_the_score_is_that_with_the_columns_displaced(drifting):
    pair, result = drifting
    assert result.score > found_of(pair, ("shift", "scale")).score + 0.005
    assert result.problem.score(result.x) == pytest.approx(result.score)


def test_a_raster_without_drift_gets_none():
    pair = raster(mismatch=0.75)
    without, with_it = found_of(pair, ("shift", "scale")), found_of(pair)
    assert with_it.drift.freedom < 2
    for name in without.free:
        before, after = (result.correction for result in (without, with_it))
        assert abs(after.parameters[name] - before.parameters[name]) < 0.2 * before.errors[name]
        assert after.errors[name] < 1.1 * before.errors[name]


def test_single_columns_that_jitter_are_found():
    pair = raster(jitter=1 * u.arcsec)
    result = found_of(pair)
    off, error = difference(result, pair)
    assert result.drift.jitter > 0.3 * u.arcsec
    assert rms(off) < 0.4
    assert 0.3 < rms(off / error) < 1.5


# Templates


@pytest.mark.parametrize("factor", [1.0, -0.5])
def test_the_gain_of_a_table_is_fitted_whatever_its_sign(jumping, factor):
    result = found_of(jumping, pointing=housekeeping(jumping, factor))
    (row,) = result.drift.templates
    assert row["gain"] * factor == pytest.approx(1, abs=0.05)
    assert abs(row["gain"] * factor - 1) < 5 * row["error"] * abs(factor)
    assert row["helps"]
    assert row["held_out"] > 10
    off, _ = difference(result, jumping)
    assert rms(off) < 0.2


def test_a_step_at_a_time_is_found_along_both_axes(jumping):
    # Columns are in the order of growing x, which is against time.
    when = jumping.times[jumping.pointing["step"] == 20][0] - 30 * u.s
    result = found_of(jumping, pointing=step(when, "off-loading"))
    gains = {row["name"]: row["gain"] for row in result.drift.templates}
    assert gains["off-loading x"] == pytest.approx(10, abs=0.5)
    assert gains["off-loading y"] == pytest.approx(-4, abs=0.5)


def test_a_template_that_is_wrong_does_not_help():
    pair = raster(seed=5)
    wave = sine(11 * u.min, pair.times[0], "wave")
    result = found_of(pair, pointing=wave)
    assert len(result.drift.templates) == 4
    assert not result.drift.templates["helps"].all()
    for row in result.drift.templates:
        assert abs(row["gain"]) < 5 * row["error"]


def test_a_known_pointing_is_applied_as_it_is(jumping):
    result = found_of(jumping, ("shift", "scale"), pointing=jumping.pointing)
    assert "applied" in result.assumptions["pointing of the columns"]
    np.testing.assert_allclose(result.pointing["shift_x"].value, jumping.pointing["shift_x"].value, atol=1e-9)
    plain = found_of(jumping, ("shift", "scale"))
    assert result.score > plain.score
    assert abs(result.correction.shift_x - jumping.error.shift_x) < 0.15 * u.arcsec


def test_templates_between_their_times_are_linear_and_beyond_them_constant():
    pair = raster(n_steps=8, n_slit=40)
    times = pair.times
    first, last = times.min(), times.max()
    table = QTable({"time": [first + 60 * u.s, last - 60 * u.s], "x": [1, 3] * u.arcsec, "y": [0, 0] * u.arcsec})
    shape = table_template(table).shape(to_image(pair.target))
    along = np.clip((times - first).to_value(u.min) - 1, 0, 5) / 5
    np.testing.assert_allclose(shape[0], 1 + 2 * along, atol=1e-6)


# Options


def test_the_drift_may_be_as_slow_as_the_caller_says(drifting):
    pair, free = drifting
    slow = found_of(pair, drift_knots=1)
    assert slow.drift.freedom < free.drift.freedom
    span = (pair.times.max() - pair.times.min()).to(u.min)
    same = found_of(pair, drift_time=span / 8)
    again = found_of(pair, drift_knots=8)
    np.testing.assert_allclose(same.pointing["shift_x"].value, again.pointing["shift_x"].value, atol=1e-9)


def test_a_strong_prior_holds_the_drift_back(drifting):
    pair, free = drifting
    held = found_of(pair, drift_prior=0.001 * u.arcsec)
    assert held.drift.refused
    assert "would not notice one of 0.001 arcsec" in held.drift.message
    assert held.success
    assert (held.pointing["shift_x"] == 0).all()
    assert np.isnan(held.pointing["shift_x_error"]).all()
    tight = found_of(pair, drift_prior=0.3 * u.arcsec)
    assert rms(tight.pointing["shift_x"].value) < rms(free.pointing["shift_x"].value)


@pytest.mark.parametrize("seed", [0, 12])  # The one ends where nothing is compared, the other with a singular matrix.
def test_images_with_nothing_in_common_get_no_drift(seed):
    error = simulate.PointingError(shift_x=5 * u.arcsec)
    pair = simulate.raster_pair(seed, error=error, n_steps=48, n_slit=120, snr=0.05)
    with pytest.warns(SunalignUserWarning):
        result = sunalign.align(
            pair.target, pair.reference, fit=("shift", "drift"), drift_knots=4, max_shift=20 * u.arcsec
        )
    assert not result.success
    assert result.drift.refused
    assert "nothing in common" in result.drift.message
    assert (result.pointing["shift_x"] == 0).all()
    assert np.isnan(result.pointing["shift_x_error"]).all()


def test_data_that_say_nothing_get_no_drift():
    blank, refused = simulate.Scene(contrast=0, limb_brightening=0), 0
    # What chance makes of nothing is another thing on every machine.
    for seed in (10, 11, 13, 15):
        pair = raster(seed=seed, n_steps=12, n_slit=100, snr=0.3, target_scene=blank)
        without, result = (found_of(pair, fit, max_shift=20 * u.arcsec) for fit in ("shift", ("shift", "drift")))
        assert result.success == without.success
        assert not result.success
        if result.drift.refused:
            refused += 1
            assert "would not notice one of 4.4 arcsec" in result.drift.message
            assert result.correction == without.correction
    assert refused >= 3


@pytest.mark.parametrize(
    "fit", [("shift", "drift"), ("shift", "scale", "rotation", "drift"), ("shift_y", "drift"), ("scale", "drift")]
)
def test_works_with_any_affine_parameters(fit):
    error = simulate.PointingError()
    pair = raster(drift=5 * u.arcsec, error=error, n_steps=32, n_slit=300)
    result = found_of(pair, fit)
    off, _ = difference(result, pair)
    assert rms(off) < 0.4


@pytest.mark.parametrize("builder", ["synthetic-raster", "carrington"])
def test_works_with_other_reference_builders(builder):
    pair = raster(drift=5 * u.arcsec, n_steps=32, n_slit=300)
    options = {"max_time_difference": 1 * u.hour} if builder == "synthetic-raster" else {}
    result = sunalign.align(
        pair.target, [pair.reference], fit=FIT, reference_builder=builder, on_doubt="ignore", **options
    )
    off, _ = difference(result, pair)
    assert rms(off) < 0.4


@dataclass(frozen=True, kw_only=True)
class Another(Metric):
    """Twenty times NCC, which is another metric for all that the framework knows."""

    def score(self, reference, target, mask):
        return 20 * NCC().score(reference, target, mask)

    def normal_equations(self, reference, jacobian, target, mask):
        found = NCC().normal_equations(reference, jacobian, target, mask)
        return found._replace(score=20 * found.score, gradient=7 * found.gradient, hessian=7 * found.hessian)


def test_works_with_any_metric_that_has_normal_equations(drifting):
    pair, result = drifting
    other = found_of(pair, metric=Another())
    off, _ = difference(other, pair)
    assert rms(off) < 0.2
    np.testing.assert_allclose(other.pointing["shift_y"].value, result.pointing["shift_y"].value, atol=0.1)


# What is refused


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("offers no normal equations, from which a drift", {"metric": "mutual-information"}),
        ("On the reference's grid", {"working_grid": "reference"}),
        ("'drift_time' and 'drift_knots' say the same", {"drift_time": 5 * u.min, "drift_knots": 3}),
        ("'drift_time' is a time above 0", {"drift_time": 5 * u.arcsec}),
        ("'drift_knots' is a number", {"drift_knots": 0}),
        ("'drift_prior' is an angle above 0", {"drift_prior": 2.0}),
        ("'pointing' is a QTable", {"pointing": 3.0}),
        ("'pointing' is a QTable", {"pointing": "fiel"}),
        ("a column 'time'", {"pointing": QTable({"x": [1, 2] * u.arcsec, "y": [1, 2] * u.arcsec})}),
        ("columns 'x' and 'y'", {"pointing": QTable({"column": [0, 1], "x": [1, 2] * u.arcsec})}),
        ("is an angle with a unit", {"pointing": QTable({"column": [0, 1], "x": [1, 2], "y": [1, 2]})}),
        ("has 1 finite rows", {"pointing": QTable({"column": [0], "x": [1] * u.arcsec, "y": [1] * u.arcsec})}),
        ("no more than a shift and a scale", {"pointing": Template("line", np.arange(9.0), np.ones((2, 9)))}),
        ("not in a GenericMap; give the path", {"pointing": "file"}),
    ],
)
def test_what_makes_no_sense_is_told(message, options):
    pair = raster(n_steps=12, n_slit=60)
    with pytest.raises(AlignmentError, match=message):
        found_of(pair, **options)


def test_a_time_is_needed_for_what_is_a_function_of_time():
    image = small_map(smooth_image((40, 40), seed=5))
    for options in ({"drift_time": 5 * u.min}, {"pointing": step("2024-10-17T00:00:00")}):
        with pytest.raises(AlignmentError, match="time"):
            sunalign.align(image, image, fit=FIT, **options)


def test_too_few_columns_are_told():
    pair = raster(n_steps=4, n_slit=200)
    with pytest.raises(AlignmentError, match="has data in 4 columns, and a drift needs 6"):
        found_of(pair, ("shift", "drift"))


# What is told


def test_the_result_says_it_in_words_and_in_json(drifting):
    result = drifting[1]
    assert "effective degrees of freedom" in result.summary()
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["drift"]["table"]["shift_x"] == result.pointing["shift_x"].to_value(u.arcsec).tolist()
    assert plain["drift"]["freedom"] > 2


def test_a_figure_shows_it(drifting):
    fig = drifting[1].plot_pointing()
    assert len(fig.axes) == 5  # two curves, two residuals and their colour bar
    assert "Minutes after" in fig.axes[1].get_xlabel()
    np.testing.assert_allclose(
        np.sort(fig.axes[0].lines[1].get_ydata()), np.sort(drifting[1].pointing["shift_x"].value), atol=1e-12
    )


@pytest.mark.slow
def test_the_report_has_it(drifting, tmp_path):
    page = drifting[1].report(tmp_path / "report.html").read_text()
    assert "Pointing of the columns with 1-sigma errors" in page


def test_without_a_drift_there_is_no_figure():
    result = found_of(raster(n_steps=12, n_slit=100), "shift")
    assert result.pointing is None
    with pytest.raises(AlignmentError, match="put 'drift' into fit"):
        result.plot_pointing()


# What it is worth, on rasters like those of SPICE


@pytest.mark.slow
def test_errors_hold_and_are_as_small_as_promised():
    """Off, and off over claimed, for a drift of 5 arcsec: at S/N 8, and with structure that only the raster shows."""
    for options, most in (({}, 0.1), ({"mismatch": 0.75}, 0.8)):
        offs, ratios = [], []
        for seed in range(8):
            pair = raster(seed, 96, 830, drift=5 * u.arcsec, **options)
            off, error = difference(found_of(pair), pair)
            offs.append(off)
            ratios.append(off / error)
        assert rms(offs) < most
        assert 0.7 < rms(ratios) < 1.4


@pytest.mark.slow
def test_a_drift_that_is_not_there_changes_nothing():
    moved, grown = [], []
    for seed in range(8):
        pair = raster(seed, 96, 830, mismatch=0.75)
        without, with_it = found_of(pair, ("shift", "scale")), found_of(pair)
        before, after = (np.array([r.correction.errors[n] for n in without.free]) for r in (without, with_it))
        moved.append((with_it.x - without.x) / before)
        grown.append(after / before)
        assert with_it.drift.freedom < 3
    assert rms(moved) < 0.2
    assert np.median(grown) < 1.1
