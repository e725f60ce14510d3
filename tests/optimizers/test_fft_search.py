"""Every shift at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sunalign.exceptions import AlignmentError
from sunalign.metrics import MutualInformation
from sunalign.optimizers import FFTSearch
from sunalign.optimizers._fft_search import grid_of
from sunalign.testing.helpers import run, small_problem


@given(st.floats(-70, 70), st.floats(-70, 70))
def test_finds_any_shift_within_the_bounds(shift_x, shift_y):
    # Up to eighteen pixels, far beyond what a local search sees.
    case = small_problem(truth={"shift_x": shift_x, "shift_y": shift_y}, max_shift=76.0, noise=5.0)
    objective = case.objective()
    found = run(FFTSearch(), objective)
    assert found.success
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.3
    assert objective.nfev <= 3


def test_grid_of_scales_and_rotations():
    truth = {"shift_x": 30.0, "shift_y": -22.0, "scale_x": 1.1, "rotation": 2.5}
    case = small_problem(fit=("shift", "scale_x", "rotation"), truth=truth, max_shift=60.0)
    found = run(FFTSearch(n_scales=4, n_rotations=5), case.objective())
    # Between 0.8 and 1.25 there is 1.1, between -5 and 5 there is 2.5.
    assert found.x[2] == pytest.approx(1.1)
    assert found.x[3] == pytest.approx(2.5)
    assert found.nit == 5 * 5  # with the start among the scales
    assert np.abs((found.x - case.truth) / case.space.step)[:2].max() < 0.3


def test_grid_begins_at_the_start():
    space = small_problem(fit=("shift", "scale")).space
    points = grid_of(space, 3, 1)
    np.testing.assert_array_equal(points[0], space.start)
    assert len(points) == 16  # three between the bounds and the start, twice
    assert len(grid_of(space, 1, 7)) == 1


def test_coarser_pixels_are_quicker_and_rougher():
    case = small_problem(truth={"shift_x": 20.0, "shift_y": 12.0}, shape=(96, 80))
    found = run(FFTSearch(level=4.0), case.objective())
    assert np.abs((found.x - case.truth) / case.space.step).max() < 2


def test_no_overlap_is_no_success():
    case = small_problem(start={"shift_x": 900.0}, max_shift=8.0)
    found = run(FFTSearch(), case.objective())
    assert not found.success
    assert "enough overlap" in found.message


def test_a_metric_without_a_surface_is_refused():
    case = small_problem(MutualInformation())
    with pytest.raises(AlignmentError, match="MutualInformation offers no shift surface, which 'fft-search' needs"):
        run(FFTSearch(), case.objective())


@pytest.mark.parametrize("options", [{"level": 0}, {"n_scales": 0}, {"n_rotations": 0}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FFTSearch(**options)
