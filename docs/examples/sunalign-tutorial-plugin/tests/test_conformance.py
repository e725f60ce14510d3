"""The laws that every plugin of sunalign keeps."""

from sunalign_tutorial import CompassSearch, RankCorrelation

from sunalign.testing import parametrize_with_checks


@parametrize_with_checks(
    [RankCorrelation(), RankCorrelation(decimals=3), CompassSearch(), CompassSearch(first_step=2.0)]
)
def test_conforms(plugin, check):
    check(plugin)
