"""Optimizers: where the score is highest."""

from sunalign.optimizers._coarse_to_fine import CoarseToFine
from sunalign.optimizers._fft_search import FFTSearch
from sunalign.optimizers._grid_search import GridSearch
from sunalign.optimizers._hill_climb import HillClimb
from sunalign.optimizers._levenberg_marquardt import LevenbergMarquardt
from sunalign.optimizers._scipy import ScipyOptimizer

__all__ = ["CoarseToFine", "FFTSearch", "GridSearch", "HillClimb", "LevenbergMarquardt", "ScipyOptimizer"]
