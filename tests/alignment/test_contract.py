"""What plugins may do within their contract; what becomes of those that break it is in ``test_inputs``."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.optimize import OptimizeResult

import astropy.units as u

from sunpy.map import GenericMap

import sunalign
from sunalign.abc import Corrector, Optimizer, ReferenceBuilder
from sunalign.alignment.contract import maximize
from sunalign.correctors import WCSCorrector
from sunalign.exceptions import AlignmentError, CorrectionError, PluginError, SunalignUserWarning, WorkerError
from sunalign.images import to_image
from sunalign.model.reference import ImageReference
from sunalign.testing.helpers import small_map, small_problem, smooth_image

SCENE = smooth_image((80, 80), seed=5)
REFERENCE = small_map(SCENE)
TARGET = small_map(SCENE[16:-16, 20:-20], centre=(52.0, -37.0))  # 8 and -3 arcsec from where it belongs


def found(case, optimizer, *, rng=0, **options):
    with case.objective(**options) as objective:
        return maximize(optimizer, objective, case.space, np.random.default_rng(rng))


@pytest.fixture
def case():
    return small_problem()


# Optimizers


@dataclass(frozen=True, kw_only=True)
class Fixed(Optimizer):
    """Returns what it was given."""

    result: dict = field(default_factory=dict)

    def maximize(self, objective, space, *, rng):
        return OptimizeResult(self.result)


@dataclass(frozen=True, kw_only=True)
class Raises(Optimizer):
    """Raises what it was given."""

    error: Exception = field(default_factory=RuntimeError)

    def maximize(self, objective, space, *, rng):
        raise self.error


@dataclass(frozen=True, kw_only=True)
class Draws(Optimizer):
    """Tries points at random, for ever."""

    def maximize(self, objective, space, *, rng):
        while True:
            objective(rng.uniform(space.lower, space.upper))


@pytest.mark.parametrize("x", [[1, 2], (1.0, 2.0), np.array([1, 2], np.float32)])
@pytest.mark.parametrize("fun", [1, 0.5, np.float32(0.5), np.array(0.5)])
def test_numbers_may_come_in_any_type_and_go_on_as_floats(case, x, fun):
    result = found(case, Fixed(result={"x": x, "fun": fun, "success": True}))
    assert result.x.dtype == np.float64
    assert result.x.tolist() == [1, 2]
    assert type(result.fun) is float
    assert result.fun == fun
    assert result.message == ""


def test_what_an_optimizer_adds_is_kept(case):
    result = found(case, Fixed(result={"x": [0, 0], "fun": 0.1, "success": False, "message": "Tired.", "nit": 7}))
    assert (result.message, result.nit, result.success) == ("Tired.", 7, False)


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_a_point_on_the_bound_is_within_and_one_beyond_is_not(case, side):
    edge = getattr(case.space, side)
    assert found(case, Fixed(result={"x": edge, "fun": 0.1, "success": True})).x.tolist() == edge.tolist()
    with pytest.raises(PluginError, match="outside the bounds"):
        found(case, Fixed(result={"x": edge * (1 + 1e-9), "fun": 0.1, "success": True}))


@pytest.mark.parametrize("budget", [1, 7])
def test_a_spent_budget_gives_the_best_of_what_was_tried(case, budget):
    result = found(case, Draws(), rng=3, max_evaluations=budget)
    rng = np.random.default_rng(3)
    tried = [rng.uniform(case.space.lower, case.space.upper) for _ in range(budget)]
    scores = [case.problem.score(x) for x in tried]
    np.testing.assert_allclose(result.x, tried[int(np.argmax(scores))], atol=1e-8)
    assert result.fun == pytest.approx(max(scores))
    assert result.success is False
    assert f"max_evaluations={budget}" in result.message


@pytest.mark.parametrize(
    "error",
    [
        PluginError("Of another plugin."),
        AlignmentError("About the input."),
        WorkerError("Of a process."),
        SunalignUserWarning("Made an error by the user."),
    ],
)
def test_errors_that_are_clear_already_pass_as_they_are(case, error):
    with pytest.raises(type(error)) as caught:
        found(case, Raises(error=error))
    assert caught.value is error


@pytest.mark.parametrize("error", [KeyError("shift_z"), ZeroDivisionError("division by zero"), OSError("disk full")])
def test_other_errors_are_blamed_on_the_optimizer_with_their_cause(case, error):
    with pytest.raises(PluginError, match=f"optimizer 'Raises' failed: {type(error).__name__}") as caught:
        found(case, Raises(error=error))
    assert caught.value.__cause__ is error


def test_ctrl_c_is_no_fault_of_a_plugin(case):
    with pytest.raises(KeyboardInterrupt):
        found(case, Raises(error=KeyboardInterrupt()))


# Reference builders: whatever kind of reference they return, the answer is the same.


@dataclass(frozen=True, kw_only=True)
class Returns(ReferenceBuilder):
    """Builds what a function makes of the reference and the target."""

    make: object = None

    def build(self, references, target):
        return self.make(references[0], target)


@pytest.mark.parametrize(
    "make",
    [
        lambda reference, target: reference,
        lambda reference, target: to_image(reference),
        lambda reference, target: (reference.data, reference.meta),
        lambda reference, target: ImageReference.of(to_image(reference), target, margin=40 * u.arcsec.to(u.rad)),
    ],
    ids=["map", "image", "data and header", "reference"],
)
def test_a_builder_returns_an_image_of_any_kind_or_a_reference(make):
    result = sunalign.align(TARGET, REFERENCE, reference_builder=Returns(make=make), max_shift=30 * u.arcsec)
    np.testing.assert_allclose(result.correction.shift.to_value(u.arcsec), [8, -3], atol=0.05)


# Correctors


@dataclass(frozen=True, kw_only=True)
class OnlyShift(WCSCorrector):
    """Cannot express more than a shift."""

    parameters = frozenset({"shift_x", "shift_y"})


def test_a_fit_is_refused_for_what_is_free_or_starts_elsewhere_and_for_nothing_else():
    options = {"corrector": OnlyShift(), "max_shift": 30 * u.arcsec, "on_doubt": "ignore"}
    for start in (None, {"scale_x": 1.0, "shift_x": 5 * u.arcsec}):
        result = sunalign.align(TARGET, REFERENCE, fit="shift", start=start, **options)
        np.testing.assert_allclose(result.correction.shift.to_value(u.arcsec), [8, -3], atol=0.05)
    with pytest.raises(CorrectionError, match="cannot apply scale_x;"):
        sunalign.align(TARGET, REFERENCE, fit="shift", start={"scale_x": 1.01}, **options)
    with pytest.raises(CorrectionError, match="cannot apply rotation;"):
        sunalign.align(TARGET, REFERENCE, fit=("shift", "rotation"), **options)


@pytest.mark.parametrize("target", [TARGET, (TARGET.data, TARGET.meta)], ids=["map", "data and header"])
def test_how_it_was_corrected_is_written_into_the_copy_alone(target):
    result = sunalign.align(target, REFERENCE, max_shift=30 * u.arcsec)
    assert isinstance(result.aligned, type(target))
    header = result.aligned.meta if isinstance(result.aligned, GenericMap) else result.aligned[1]
    assert "sunalign" in str(header["history"] if "history" in header else header["HISTORY"])
    assert "history" not in TARGET.meta
    assert (TARGET.meta["crval1"], TARGET.meta["crval2"]) == (52.0, -37.0)


class Sub(GenericMap):
    """A map of somebody's own."""

    @classmethod
    def is_datasource_for(cls, data, header, **kwargs):
        return False


@dataclass(frozen=True, kw_only=True)
class Specialises(Corrector):
    """Returns a subclass of what it was given."""

    parameters = frozenset({"shift_x", "shift_y"})

    def apply(self, target, correction, *, provenance=None):
        done = WCSCorrector().apply(target, correction, provenance=provenance)
        return Sub(done.data, done.meta)


def test_a_corrector_may_return_a_subclass():
    assert type(sunalign.align(TARGET, REFERENCE, corrector=Specialises()).aligned) is Sub
