"""Metrics: how alike two images are."""

from sunalign.metrics._gradient_correlation import GradientCorrelation
from sunalign.metrics._mutual_information import MutualInformation
from sunalign.metrics._ncc import NCC
from sunalign.metrics._residual import Residual

__all__ = ["NCC", "GradientCorrelation", "MutualInformation", "Residual"]
