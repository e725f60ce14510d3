"""Height as a free parameter."""

import numpy as np
import pytest

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.abc import ReferenceBuilder
from sunalign.exceptions import AlignmentError, SunalignUserWarning
from sunalign.reference_builders import ImageBuilder

START = "2024-10-17T00:00:00"
META = {"rsun_ref": 6.957e8}  # As headers have it, whatever the emission's height.


@pytest.fixture(scope="module")
def sides():
    """Two views, 20 degrees apart, of a Sun that shines 20 Mm above the photosphere."""
    sun = simulate.Scene(seed=2, resolution=0.15 * u.deg, rsun=(695.7 + 20) * u.Mm)
    here, there = (simulate.observer(1 * u.AU, lon * u.deg, time=START) for lon in (0, 20))
    target = simulate.imager(
        sun, observer=here, shape=(120, 260), center=(150 * u.arcsec, 0 * u.arcsec), scale=4 * u.arcsec, meta=META
    )
    reference = simulate.imager(
        sun, observer=there, shape=(250, 460), center=(0 * u.arcsec, 0 * u.arcsec), scale=4 * u.arcsec, meta=META
    )
    return target, reference


def test_the_height_is_found(sides):
    with pytest.warns(SunalignUserWarning, match="parallax"):
        result = sunalign.align(*sides, fit=("shift", "height"))
    assert result.extra["height"].to_value(u.Mm) == pytest.approx(20, abs=2)
    assert abs(result.correction.shift_x) < 1 * u.arcsec
    assert result.free == ("shift_x", "shift_y")
    assert result.plugins["reference builder"]["options"]["height"] == result.extra["height"]
    assert "Mm" in result.assumptions["fitted height"]


def test_its_search_keeps_the_budget_and_counts_all_of_it(sides):
    with pytest.warns(SunalignUserWarning, match="parallax"):
        result = sunalign.align(*sides, fit=("shift", "height"), max_evaluations=30, on_doubt="ignore")
    assert result.nfev <= 30
    assert not result.success
    assert "max_evaluations" in result.message
    with pytest.warns(SunalignUserWarning, match="parallax"):
        whole = sunalign.align(*sides, fit=("shift", "height"), on_doubt="ignore")
    assert whole.nfev > 40
    assert whole.nfev > len(whole.history)


def test_its_search_is_shown_on_one_bar(sides):
    bars = []

    class Bar:
        def __init__(self, **_):
            bars.append(0)

        def update(self, n):
            bars[-1] += n

        def set_postfix(self, **_):
            pass

        def close(self):
            pass

    with pytest.warns(SunalignUserWarning, match="parallax"):
        result = sunalign.align(*sides, fit=("shift", "height"), progress=Bar)
    assert bars == [result.nfev]


def test_a_builder_need_not_be_a_dataclass(sides):
    class Plain(ReferenceBuilder):
        def __init__(self, *, height=0 * u.Mm):
            self.height = height

        def build(self, references, target):
            return ImageBuilder(height=self.height).build(references, target)

    with pytest.warns(SunalignUserWarning, match="parallax"):
        result = sunalign.align(*sides, fit=("shift", "height"), reference_builder=Plain())
    assert result.extra["height"].to_value(u.Mm) == pytest.approx(20, abs=2)


def test_its_bounds_are_kept(sides):
    with pytest.warns(SunalignUserWarning, match="parallax"):
        result = sunalign.align(
            *sides, fit=("shift", "height"), bounds={"height": (0 * u.Mm, 8 * u.Mm)}, on_doubt="ignore"
        )
    assert 7 < result.extra["height"].to_value(u.Mm) <= 8


def test_bounds_without_the_height_are_refused(sides):
    with pytest.raises(AlignmentError, match="'height', which is not free"):
        sunalign.align(*sides, fit="shift", bounds={"height": (0 * u.Mm, 8 * u.Mm)})


def test_one_side_tells_no_height(sides):
    target, _ = sides
    with pytest.raises(AlignmentError, match="at least 1 deg is needed"):
        sunalign.align(target, target, fit=("shift", "height"))


@pytest.mark.parametrize("bounds", [(0, 8), (8 * u.Mm, 2 * u.Mm), 5 * u.Mm, (1 * u.s, 2 * u.s)])
def test_bad_bounds_are_refused(sides, bounds):
    with pytest.raises(AlignmentError, match="bounds of height"):
        sunalign.align(*sides, fit=("shift", "height"), bounds={"height": bounds})


# Against a scan of heights by hand, which knows nothing of the search.


def score_at(target, reference, height):
    with pytest.warns(SunalignUserWarning, match="parallax"):
        return sunalign.align(target, reference, height=height * u.Mm, on_doubt="ignore").score


def test_no_height_of_a_scan_scores_better(sides):
    with pytest.warns(SunalignUserWarning, match="parallax"):
        result = sunalign.align(*sides, fit=("shift", "height"))
    scan = np.array([14.0, 17.0, 20.0, 23.0, 26.0])
    scores = [score_at(*sides, height) for height in scan]
    assert result.score >= max(scores) - 1e-5
    curvature, slope, _ = np.polyfit(scan, scores, 2)
    assert result.extra["height"].to_value(u.Mm) == pytest.approx(-slope / (2 * curvature), abs=1)
    # The rest of the answer is the one that this height alone would have given.
    with pytest.warns(SunalignUserWarning, match="parallax"):
        again = sunalign.align(*sides, height=result.extra["height"])
    assert abs(again.correction.shift_x - result.correction.shift_x) < 0.02 * u.arcsec


@pytest.mark.parametrize("height", [0, 8])
def test_the_height_is_that_of_the_light(height):
    sun = simulate.Scene(seed=5, resolution=0.15 * u.deg, rsun=(695.7 + height) * u.Mm)
    here, there = (simulate.observer(1 * u.AU, lon * u.deg, time=START) for lon in (0, -25))
    options = {"shape": (150, 240), "scale": 4 * u.arcsec, "meta": META}
    target = simulate.imager(sun, observer=here, center=(-200 * u.arcsec, 0 * u.arcsec), **options)
    reference = simulate.imager(
        sun, observer=there, center=(0 * u.arcsec, 0 * u.arcsec), **options | {"shape": (300, 460)}
    )
    with pytest.warns(SunalignUserWarning, match="parallax"):
        result = sunalign.align(target, reference, fit=("shift", "height"), on_doubt="ignore")
    assert result.extra["height"].to_value(u.Mm) == pytest.approx(height, abs=1.5)
    assert abs(result.correction.shift_x) < 1 * u.arcsec


def test_unknown_observers_are_named(sides):
    target, reference = sides
    keys = ("dsun_obs", "hgln_obs", "hglt_obs")
    nobody = (target.data, {key: value for key, value in target.meta.items() if key not in keys})
    with pytest.raises(AlignmentError, match="both observers are known"):
        sunalign.align(nobody, reference, fit=("shift", "height"))


class Flat(ReferenceBuilder):
    """Knows no height."""

    def build(self, references, target):
        return references[0]


def test_a_builder_without_height_is_named(sides):
    with pytest.raises(AlignmentError, match=r"Flat.* has no height to fit"):
        sunalign.align(*sides, fit=("shift", "height"), reference_builder=Flat())
