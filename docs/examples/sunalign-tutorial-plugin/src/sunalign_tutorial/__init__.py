"""A metric and an optimizer for sunalign."""

from sunalign_tutorial.compass_search import CompassSearch
from sunalign_tutorial.rank_correlation import RankCorrelation

__all__ = ["CompassSearch", "RankCorrelation"]
