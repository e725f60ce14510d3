"""What is special to these two."""

import numpy as np
import pytest
from sunalign_tutorial import CompassSearch, RankCorrelation

import sunalign
from sunalign import registry
from sunalign.abc import Metric, Optimizer
from sunalign.testing.helpers import small_map, smooth_image


def test_both_are_found_by_name():
    assert registry.load(Metric, "rank-correlation") is RankCorrelation
    assert registry.load(Optimizer, "compass-search") is CompassSearch


def test_any_rising_relation_is_perfect():
    image = smooth_image(seed=1)
    assert RankCorrelation().score(image, np.exp(image / 10), np.zeros(image.shape, bool)) == pytest.approx(1)


def test_both_together_find_a_shift():
    wide = smooth_image((80, 80), seed=3)
    target = small_map(wide[16:64, 20:60], centre=(66.0, -44.0))
    result = sunalign.align(
        target, small_map(wide), metric="rank-correlation", optimizer="compass-search", halvings=8, on_doubt="ignore"
    )
    assert result.plugins["optimizer"]["options"]["halvings"] == 8
    assert abs(result.correction.shift_x.value + 6) < 0.5
    assert abs(result.correction.shift_y.value - 4) < 0.5


@pytest.mark.parametrize("options", [{"first_step": 0.0}, {"halvings": 0}])
def test_senseless_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        CompassSearch(**options)
