"""The rules of loose options."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from sunalign.abc import Metric, Optimizer
from sunalign.alignment.options import make_plugins
from sunalign.metrics import NCC
from sunalign.optimizers import FFTSearch, HillClimb


@dataclass(frozen=True, kw_only=True)
class Windowed(NCC):
    """A metric with an option of its own and one that hill-climb has too."""

    width: int = 3
    max_iter: int = 1

    def __post_init__(self):
        if self.width < 1:
            raise ValueError(f"'width' is at least 1; got {self.width}.")


class Loose(Optimizer):
    """Takes anything."""

    def __init__(self, **options):
        self.given = options

    def maximize(self, objective, space, *, rng):
        raise NotImplementedError


class Starred(Loose):
    def __init__(self, *options):
        self.given = options


def make(metric="ncc", optimizer="hill-climb", **options):
    made = make_plugins({Metric: metric, Optimizer: optimizer}, options)
    return made[Metric], made[Optimizer]


@pytest.mark.parametrize("choice", ["hill-climb", "hill_climb", HillClimb])
def test_option_of_a_name_or_a_class(choice):
    assert make(optimizer=choice, n_neighbors=60) == (NCC(), HillClimb(n_neighbors=60))


def test_an_instance_is_final():
    instance = HillClimb(n_neighbors=7)
    assert make(optimizer=instance)[1] is instance


def test_options_go_to_their_owners():
    metric, optimizer = make(metric=Windowed, width=5, n_neighbors=9)
    assert metric == Windowed(width=5)
    assert optimizer == HillClimb(n_neighbors=9)


def test_option_of_nobody_with_a_near_miss():
    with pytest.raises(TypeError) as caught:
        make(n_neighbours=60)
    message = str(caught.value)
    assert message.startswith("No chosen plugin has an option named 'n_neighbours'. Did you mean 'n_neighbors'?")
    assert "the metric NCC: none" in message
    assert "the optimizer HillClimb: n_neighbors, max_iter, " in message
    assert message.endswith(".")


def test_option_of_a_plugin_that_was_not_chosen():
    with pytest.raises(TypeError) as caught:
        make(optimizer="levenberg-marquardt", n_neighbors=60)
    assert "Did you mean" not in str(caught.value)


def test_option_of_two():
    with pytest.raises(TypeError) as caught:
        make(metric=Windowed, max_iter=5)
    assert str(caught.value) == (
        "The option 'max_iter' belongs to the metric Windowed and the optimizer HillClimb. "
        "Pass instances to say which is meant."
    )
    # As it says.
    metric, optimizer = make(metric=Windowed(max_iter=5), optimizer=HillClimb(max_iter=3))
    assert (metric.max_iter, optimizer.max_iter) == (5, 3)


def test_option_of_an_instance():
    with pytest.raises(TypeError) as caught:
        make(optimizer=HillClimb(), n_neighbors=60)
    assert str(caught.value) == (
        "The option 'n_neighbors' belongs to the optimizer HillClimb, which was passed as an instance; "
        "set it there: HillClimb(n_neighbors=...)."
    )


def test_option_of_an_instance_and_a_class_is_not_guessed():
    with pytest.raises(TypeError, match="belongs to the metric Windowed and the optimizer HillClimb"):
        make(metric=Windowed, optimizer=HillClimb(), max_iter=5)


@pytest.mark.parametrize("cls", [Loose, Starred])
def test_plugins_that_take_anything_are_refused(cls):
    with pytest.raises(TypeError, match=rf"{cls.__name__} must name every option; \*args and \*\*kwargs"):
        make(optimizer=cls, n_neighbors=60)
    with pytest.raises(TypeError, match="must name every option"):
        make(optimizer=cls)


def test_both_spellings_of_a_bad_value_fail_with_the_same_words():
    with pytest.raises(ValueError, match="width") as loose:
        make(metric=Windowed, width=0)
    with pytest.raises(ValueError, match="width") as direct:
        Windowed(width=0)
    assert str(loose.value) == str(direct.value)


def test_option_names_and_options():
    assert FFTSearch.option_names() == ("level", "n_scales", "n_rotations")
    assert FFTSearch(level=2.0).options() == {"level": 2.0, "n_scales": 1, "n_rotations": 1}
    assert NCC.option_names() == ()
    assert NCC().options() == {}


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (HillClimb, {"n_neighbors": 0}),
        (HillClimb, {"max_iter": 0}),
        (HillClimb, {"step_shift": 0.1}),
        (HillClimb, {"min_step_scale": 0.0}),
        (HillClimb, {"shrink_factor": 1.0}),
        (HillClimb, {"shrink_factor": {"shift": 0.5}}),
        (HillClimb, {"shrink_factor": {"shifts": 2.0}}),
        (HillClimb, {"atol": -1.0}),
        (FFTSearch, {"level": 0.0}),
        (FFTSearch, {"n_scales": 0}),
    ],
    ids=lambda value: str(value) if isinstance(value, Mapping) else value.__name__,
)
def test_bad_values_of_our_own_optimizers(cls, options):
    with pytest.raises(ValueError, match=next(iter(options))) as caught:
        cls(**options)
    assert str(caught.value).endswith(".")
