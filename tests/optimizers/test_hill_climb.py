"""The hill-climber of the original documents, its lattice, and its faults mended."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astropy.units as u

import sunalign
from sunalign import simulate
from sunalign.model.objective import Objective
from sunalign.model.search_space import Parameter, SearchSpace
from sunalign.optimizers import HillClimb
from sunalign.optimizers._hill_climb import lattice
from sunalign.testing.helpers import run, small_problem

LIMITS = st.lists(st.tuples(st.integers(-3, 0), st.integers(0, 3)), min_size=1, max_size=4)


class Landscape(Objective):
    """A function of the parameters instead of images."""

    def __init__(self, function, space, **options):
        super().__init__(Function(function, space.names), space, **options)


class Function:
    def __init__(self, function, names):
        self.score, self.names = (lambda x: float(function(np.asarray(x)))), names

    def parameters(self, x):
        return {
            **dict.fromkeys(("shift_x", "shift_y", "scale_x", "scale_y", "rotation"), 0.0),
            **dict(zip(self.names, x, strict=True)),
        }


def space_of(n=2, half=40.0, start=0.0, step=1.0):
    names = ("shift_x", "shift_y", "scale_x", "scale_y", "rotation")[:n]
    return SearchSpace(tuple(Parameter(name, -half, half, start, step) for name in names))


def tried(objective, iteration):
    table = objective.history
    rows = table["iteration"] == iteration
    return {
        tuple(float(getattr(row[name], "value", row[name])) for name in objective.space.names) for row in table[rows]
    }


# The lattice.


@given(LIMITS)
def test_lattice_is_every_offset_once_nearest_first(limits):
    lowest, highest = zip(*limits, strict=True)
    found = [tuple(map(int, offset)) for offset in lattice(lowest, highest)]
    everything = set(itertools.product(*(range(a, b + 1) for a, b in limits))) - {(0,) * len(limits)}
    assert len(found) == len(set(found))
    assert set(found) == everything
    distances = [sum(k * k for k in offset) for offset in found]
    assert distances == sorted(distances)


def test_lattice_is_made_as_it_is_asked_for():
    # Five dimensions of 2001 values each are 3e16 points.
    first = [tuple(map(int, o)) for o in itertools.islice(lattice([-1000] * 5, [1000] * 5), 30)]
    assert {tuple(sorted(map(abs, o))) for o in first[:10]} == {(0, 0, 0, 0, 1)}
    assert {tuple(sorted(map(abs, o))) for o in first[10:]} == {(0, 0, 0, 1, 1)}


def test_first_population_is_the_centre_and_its_nearest_neighbours():
    objective = Landscape(lambda x: -np.sum(x**2), space_of())
    run(HillClimb(n_neighbors=8, max_iter=1), objective)
    # The start is scored before the first iteration.
    assert tried(objective, 0) == {(0.0, 0.0)}
    assert {(x, y) for x in (-3, 0, 3) for y in (-3, 0, 3)} - {(0.0, 0.0)} <= tried(objective, 1)
    assert objective.nfev <= 10


def test_neighbours_are_as_many_as_asked_and_within_bounds():
    space = SearchSpace((Parameter("shift_x", -1, 2, 1.5, 1.0), Parameter("shift_y", -40, 40, 0, 1.0)))
    optimizer = HillClimb(n_neighbors=15)
    points = optimizer._population(space.start, np.array([1.0, 1.0]), space)
    assert points.shape == (16, 2)
    assert len({tuple(p) for p in points}) == 16
    assert points[:, 0].min() >= -1
    assert points[:, 0].max() <= 2


def test_a_corner_narrower_than_its_steps_runs_out_of_neighbours_at_once():
    # An unbounded walk over the lattice would look at six million offsets here.
    space = SearchSpace(tuple(Parameter(p.name, p.lower, p.upper, 0.0, 1.0) for p in space_of(5, half=0.5)))
    points = HillClimb(n_neighbors=1000)._population(space.start, np.full(5, 3.0), space)
    assert len(points) == 3**5


# The climb.


@given(st.floats(-15, 15), st.floats(-15, 15), st.integers(8, 40))
def test_finds_the_top_of_a_hill_to_a_fraction_of_its_smallest_step(x, y, n_neighbors):
    top = np.array([x, y])
    objective = Landscape(lambda p: np.exp(-np.sum((p - top) ** 2) / 200), space_of())
    found = run(HillClimb(n_neighbors=n_neighbors, max_iter=80), objective)
    assert found.success
    # A plateau is a thousandth of the score: half a pixel of this hill.
    assert np.abs(found.x - top).max() < 0.8
    assert found.fun == objective.best[1]


def test_shifts_found_are_not_whole_pixels():
    # The documents' code rounded every shift.
    case = small_problem(truth={"shift_x": 4 * 2.37, "shift_y": 4 * -1.71}, noise=1.0)
    found = run(HillClimb(min_step_shift=0.05, atol=1e-6, rtol=1e-6, max_iter=60), case.objective())
    assert np.abs((found.x - case.truth) / case.space.step).max() < 0.05


def test_returns_the_global_best_not_the_last_centre():
    # A hill with one lone spike that no later lattice meets again.
    def spiky(p):
        return 2.0 if np.allclose(p, [3.0, -3.0]) else np.exp(-np.sum((p - 20) ** 2) / 400)

    found = run(HillClimb(), Landscape(spiky, space_of()))
    assert found.fun == 2.0
    assert found.x.tolist() == [3.0, -3.0]


def test_the_step_uphill_is_longer_where_scores_are_low():
    strides = []
    for level in (0.0, 0.7, 0.9):
        # A tilted plane: after the first iteration the mean's displacement points along x.
        objective = Landscape(lambda p, level=level: level + 1e-4 * p[0], space_of(1))
        run(HillClimb(n_neighbors=2, max_iter=1), objective)
        # Scored beside the three of the lattice.
        beyond = max(x for (x,) in tried(objective, 1))
        strides.append(beyond)
    assert strides == pytest.approx([6.0, 3.0, 3.0])
    # Half a step, at the highest scores, lies between the lattice points.
    assert 1.5 in {round(x, 6) for (x,) in tried(objective, 1)}


def test_steps_shrink_on_a_plateau_to_their_minima_and_the_smallest_lattice_is_tried():
    objective = Landscape(lambda _: 0.5, space_of(1))
    found = run(HillClimb(n_neighbors=2, step_shift=4.0, min_step_shift=1.0), objective)
    assert found.success
    distances = {abs(x) for i in range(1, found.nit + 1) for (x,) in tried(objective, i)} - {0.0}
    assert distances == {4.0, 2.0, 1.0}


def test_shrink_factor_none_goes_to_the_minimum_at_once_and_each_kind_has_its_own():
    objective = Landscape(lambda _: 0.5, space_of(1))
    run(HillClimb(n_neighbors=2, step_shift=4.0, min_step_shift=1.0, shrink_factor=None), objective)
    assert {abs(x) for (x,) in itertools.chain(*(tried(objective, i) for i in range(30)))} == {0.0, 4.0, 1.0}
    optimizer = HillClimb(shrink_factor={"scale": None, "shift": 3.0})
    assert optimizer._factors() == {"shift": 3.0, "scale": None, "rotation": 2.0}


def test_the_first_score_after_a_desert_is_a_rise_not_a_plateau():
    assert HillClimb()._is_plateau([-np.inf] * 3)
    assert not HillClimb()._is_plateau([-np.inf, -np.inf, 0.4])
    assert not HillClimb()._is_plateau([0.4, 0.4])


def test_max_iter_ends_it_without_success():
    found = run(HillClimb(max_iter=2), Landscape(lambda p: p[0] / 100, space_of()))
    assert not found.success
    assert found.nit == 2
    assert "max_iter=2" in found.message


def test_a_step_of_zero_holds_a_parameter():
    truth = {"shift_x": 5.6, "shift_y": -4.4}
    case, free = (small_problem(fit=fit, truth=truth) for fit in (("shift", "scale"), "shift"))
    found = run(HillClimb(step_scale=0.0, max_iter=60), case.objective())
    assert found.x[2:].tolist() == [1.0, 1.0]
    alone = run(HillClimb(max_iter=60), free.objective())
    np.testing.assert_allclose(found.x[:2], alone.x, rtol=1e-12)
    nowhere = run(HillClimb(step_shift=0.0, step_scale=0.0), case.objective())
    assert nowhere.x.tolist() == case.space.start.tolist()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_neighbors": 0}, "'n_neighbors' is at least 1; got 0"),
        ({"max_iter": 0}, "'max_iter' is at least 1"),
        (
            {"step_shift": 0.1},
            "'step_shift' and 'min_step_shift' satisfy 0 < min_step <= step, or .*; got 0.1 and 0.25",
        ),
        ({"shrink_factor": 1.0}, "'shrink_factor' is above 1, or None; got 1.0"),
        ({"shrink_factor": {"roll": 2.0}}, "'shrink_factor' has keys among shift, scale, rotation; got roll"),
        ({"atol": -1.0}, "'atol' and 'rtol' are not negative"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        HillClimb(**options)


def test_finds_a_simulated_pointing_error():
    pair = simulate.raster_pair(seed=4, n_steps=32, n_slit=200)
    result = sunalign.align(
        pair.target, pair.reference, optimizer="hill-climb", n_neighbors=40, max_shift=60 * u.arcsec, on_doubt="ignore"
    )
    # Its smallest step is a quarter of a pixel of 4.44 arcsec.
    assert abs(result.correction.shift_x - pair.error.shift_x) < 1.1 * u.arcsec
    assert abs(result.correction.shift_y - pair.error.shift_y) < 1.1 * u.arcsec
