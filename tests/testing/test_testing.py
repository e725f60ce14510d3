"""Every law of the kit is broken by a plugin that was made wrong on purpose."""

import importlib
import random
import sys
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from scipy.optimize import OptimizeResult

import astropy.units as u
from astropy.wcs import WCS

import sunpy.map
from sunpy.map import GenericMap

import sunalign
from sunalign import registry
from sunalign.abc import Metric, Optimizer, ReferenceBuilder
from sunalign.correction import PARAMETERS, Correction
from sunalign.correctors import WCSCorrector
from sunalign.images import to_image
from sunalign.metrics import NCC
from sunalign.model.budget import BudgetSpent
from sunalign.model.reference import ImageReference
from sunalign.model.reference_contract import Reference
from sunalign.optimizers import HillClimb, LevenbergMarquardt
from sunalign.reference_builders import ImageBuilder
from sunalign.testing import check_plugin, checks_for, helpers, parametrize_with_checks, strategies

plugin = dataclass(frozen=True, kw_only=True)

#: Check name to the plugins that break it; filled by the decorator below.
WRONG = {}


def breaks(*names):
    def register(cls):
        for name in names:
            WRONG.setdefault(name, []).append(cls)
        return cls

    return register


# Every plugin.


@breaks("check_options_are_keywords")
@dataclass(frozen=True)
class Positional(NCC):
    width: int = 3


@breaks("check_options_are_keywords", "check_options_are_stored_as_given")
class Varargs(NCC):
    def __init__(self, **options):
        pass


@breaks("check_options_have_defaults")
@plugin
class Required(NCC):
    width: int


@breaks("check_options_are_stored_as_given")
@plugin
class Doubling(NCC):
    width: int = 3

    def __post_init__(self):
        object.__setattr__(self, "width", 2 * self.width)


@breaks("check_options_do_not_change")
@dataclass(kw_only=True, eq=True)
class Thawed(Metric):
    width: int = 3

    def score(self, reference, target, mask):
        return NCC().score(reference, target, mask)


@breaks("check_option_names_are_free")
@plugin
class Greedy(NCC):
    max_shift: float = 3.0


@breaks("check_option_names_are_free")
@plugin
class GreedyForResult(NCC):
    return_result: bool = True


@breaks("check_repr_makes_an_equal_plugin")
@plugin
class Mumbling(NCC):
    width: int = 3

    def __repr__(self):
        return "<Mumbling>"


@breaks("check_repr_makes_an_equal_plugin")
@plugin
class Secretive(NCC):
    width: u.Quantity = field(default=3 * u.arcsec, repr=False)


@breaks("check_pickle_gives_an_equal_plugin")
class Incomparable(Metric):
    def score(self, reference, target, mask):
        return 0.0


@breaks("check_pickle_gives_an_equal_plugin")
@plugin
class Unpicklable(NCC):
    transform: object = lambda x: x


# Metrics.


@breaks("check_score_is_a_float")
@plugin
class Complexion(NCC):
    def score(self, reference, target, mask):
        return np.array(super().score(reference, target, mask))


@breaks("check_score_is_a_float")
@plugin
class Pessimist(NCC):
    def score(self, reference, target, mask):
        return np.nan


@breaks("check_masked_values_do_not_matter", "check_all_masked_is_neutral")
@plugin
class Maskless(NCC):
    def score(self, reference, target, mask):
        return super().score(np.nan_to_num(reference), np.nan_to_num(target), np.zeros_like(mask))


@breaks("check_all_masked_is_neutral")
@plugin
class Infinite(NCC):
    def score(self, reference, target, mask):
        return -np.inf if mask.all() else super().score(reference, target, mask)


@breaks("check_image_matches_itself_best", "check_better_match_scores_higher")
@plugin
class Distance(NCC):
    def score(self, reference, target, mask):
        return -super().score(reference, target, mask)


@breaks("check_inputs_are_not_changed")
@plugin
class Scribbler(NCC):
    def score(self, reference, target, mask):
        target -= 1
        return super().score(reference, target, mask)


@breaks("check_inputs_are_not_changed")
@plugin
class StealthyScribbler(NCC):
    def score(self, reference, target, mask):
        if target.flags.writeable:
            target[mask] = 0
        return super().score(reference, target, mask)


@breaks("check_score_repeats")
@plugin
class Moody(NCC):
    calls: ClassVar[list] = []

    def score(self, reference, target, mask):
        self.calls.append(1)
        return super().score(reference, target, mask) - 1e-9 * len(self.calls)


@breaks("check_number_format_does_not_matter")
@plugin
class BytesOnly(NCC):
    def score(self, reference, target, mask):
        return super().score(reference, target.view(target.dtype.newbyteorder("=")), mask)


@breaks("check_flipped_together_is_the_same")
@plugin
class Leaning(NCC):
    def score(self, reference, target, mask):
        tilt = np.linspace(0, 1, reference.shape[0])[:, None] * np.nan_to_num(reference)
        return super().score(reference + tilt, target, mask)


@breaks("check_moved_together_is_the_same")
@plugin
class Centred(NCC):
    def score(self, reference, target, mask):
        ny, nx = mask.shape
        y, x = np.mgrid[:ny, :nx]
        weight = np.exp(-((y - (ny - 1) / 2) ** 2 + (x - (nx - 1) / 2) ** 2) / 100)
        return super().score(reference * weight, target * weight, mask)


@breaks("check_degenerate_images_are_survived")
@plugin
class Dividing(NCC):
    def score(self, reference, target, mask):
        r, t = reference[~mask].astype(float), target[~mask].astype(float)
        r, t = r - r.mean(), t - t.mean()
        return float(r @ t / np.sqrt(r @ r * (t @ t)))


@breaks("check_shift_surface_equals_brute_force")
@plugin
class Backwards(NCC):
    def shift_surface(self, *args):
        surface = super().shift_surface(*args)
        return surface._replace(scores=surface.scores[::-1, ::-1])


@breaks("check_shift_surface_equals_brute_force")
@plugin
class Hopeful(NCC):
    def shift_surface(self, *args):
        return super().shift_surface(*args[:-1], 0.0)


@breaks("check_shift_surface_equals_brute_force")
@plugin
class Misnumbered(NCC):
    def shift_surface(self, *args):
        surface = super().shift_surface(*args)
        return surface._replace(dx=surface.dx + 1)


@breaks("check_normal_equations_point_uphill")
@plugin
class Downhill(NCC):
    def normal_equations(self, *args):
        equations = super().normal_equations(*args)
        return equations._replace(gradient=-equations.gradient)


@breaks("check_normal_equations_point_uphill")
@plugin
class Unbalanced(NCC):
    def normal_equations(self, *args):
        equations = super().normal_equations(*args)
        return equations._replace(n_pixels=equations.n_pixels // 2)


@breaks("check_block_scores_add_up")
@plugin
class Embezzling(NCC):
    def block_scores(self, *args):
        return 0.5 * super().block_scores(*args)


@breaks("check_block_scores_add_up")
@plugin
class Undecided(NCC):
    def significance(self, score, other, n_pixels):
        return abs(super().significance(score, other, n_pixels))


# Optimizers. All but the last lines of each are a careful search.


def good(objective, space, rng):
    return LevenbergMarquardt().maximize(objective, space, rng=rng)


@breaks("check_result_is_complete")
@plugin
class Laconic(Optimizer):
    def maximize(self, objective, space, *, rng):
        found = good(objective, space, rng)
        return OptimizeResult(x=found.x, fun=found.fun)


@breaks("check_result_is_complete")
@plugin
class TupleMaker(Optimizer):
    def maximize(self, objective, space, *, rng):
        found = good(objective, space, rng)
        return found.x, found.fun


@breaks("check_x_is_inside_the_bounds")
@plugin
class Escaping(Optimizer):
    def maximize(self, objective, space, *, rng):
        found = good(objective, space, rng)
        found.x = found.x + 1e-3 * np.where(found.x >= space.upper, space.step, 0)
        return found


@breaks("check_trials_are_inside_the_bounds")
@plugin
class Trespassing(Optimizer):
    def maximize(self, objective, space, *, rng):
        objective(space.upper + space.step)
        return good(objective, space, rng)


@breaks("check_fun_is_the_score_at_x")
@plugin
class Minimizer(Optimizer):
    def maximize(self, objective, space, *, rng):
        found = good(objective, space, rng)
        found.fun = -found.fun
        return found


@breaks("check_never_worse_than_the_start", "check_finds_the_top_of_a_smooth_hill")
@plugin
class Wandering(Optimizer):
    def maximize(self, objective, space, *, rng):
        x = space.lower + 0.3 * (space.upper - space.lower)
        return OptimizeResult(x=x, fun=objective(x), success=True, message="There.", nit=1)


@breaks("check_same_rng_same_answer")
@plugin
class Dicing(Optimizer):
    def maximize(self, objective, space, *, rng):
        x = space.clip(space.start + np.random.default_rng().normal(size=len(space)) * space.step)
        return OptimizeResult(x=x, fun=objective(x), success=True, message="There.", nit=1)


@breaks("check_global_random_state_is_untouched")
@plugin
class Seeding(Optimizer):
    def maximize(self, objective, space, *, rng):
        np.random.seed(0)  # noqa: NPY002
        return good(objective, space, rng)


@breaks("check_global_random_state_is_untouched")
@plugin
class Shuffling(Optimizer):
    def maximize(self, objective, space, *, rng):
        random.random()
        return good(objective, space, rng)


@breaks("check_inputs_are_not_changed")
@plugin
class ScribblingOptimizer(Optimizer):
    def maximize(self, objective, space, *, rng):
        objective.problem.target.data[0] += 1
        return good(objective, space, rng)


@breaks("check_survives_scores_that_are_missing")
@plugin
class Trusting(Optimizer):
    def maximize(self, objective, space, *, rng):
        points = rng.uniform(space.lower, space.upper, (20, len(space)))
        weights = objective.many(points)
        x = weights @ points / weights.sum()
        return OptimizeResult(x=x, fun=objective(x), success=True, message="The mean.", nit=1)


@breaks("check_survives_a_flat_objective")
@plugin
class Normalising(Optimizer):
    def maximize(self, objective, space, *, rng):
        points = rng.uniform(space.lower, space.upper, (20, len(space)))
        scores = objective.many(points)
        with np.errstate(all="ignore"):
            weights = (scores - scores.min()) / np.ptp(scores)
            x = weights @ points / weights.sum()
        return OptimizeResult(x=x, fun=objective(x), success=True, message="The mean.", nit=1)


@breaks("check_budget_is_respected")
@plugin
class Spendthrift(Optimizer):
    def maximize(self, objective, space, *, rng):
        scores = [objective.problem.score(x) for x in rng.uniform(space.lower, space.upper, (20, len(space)))]
        found = good(objective, space, rng)
        return OptimizeResult(found, peek=max(scores))


@breaks("check_budget_is_respected")
@plugin
class Endless(Optimizer):
    def maximize(self, objective, space, *, rng):
        best = space.start
        while True:
            x = rng.uniform(space.lower, space.upper)
            try:
                if objective(x) > 0.999:
                    return OptimizeResult(x=x, fun=objective(x), success=True, message="There.", nit=1)
            except Exception:  # noqa: BLE001
                best = x
        return best


@breaks("check_budget_ends_in_the_best_so_far")
@plugin
class Forgetful(Optimizer):
    def maximize(self, objective, space, *, rng):
        top = objective(space.start), space.start
        worst = top
        try:
            for x in rng.uniform(space.lower, space.upper, (50, len(space))):
                worst = min(worst, (objective(x), x), key=lambda pair: pair[0])
        except BudgetSpent:
            return OptimizeResult(x=worst[1], fun=worst[0], success=False, message="Spent.", nit=1)
        return OptimizeResult(x=top[1], fun=top[0], success=True, message="There.", nit=1)


# Reference builders.


class Wrapped(Reference):
    """An image whose samples are spoilt by a function of them and of the arguments."""

    def __init__(self, references, target, spoil):
        self.inner = ImageReference.of(to_image(references[0]), target)
        self.spoil = spoil
        self.pixel_size = self.inner.pixel_size

    def sample(self, x, y, columns=None):
        return self.spoil(self.inner.sample(x, y, columns), x, y)


def add_slope(values, x, y):
    return values + 2.0 * x


def fill(values, x, y):
    return np.nan_to_num(values)


def no_gap(values, x, y):
    bad = ~np.isfinite(values)
    inside = (x > -5) & (x < 50) & (y > -5) & (y < 50)
    return np.where(bad & inside, 100.0, values)


def rank(values, x, y):
    return values + 0.1 * np.arange(np.size(x)).reshape(np.shape(x))


def flattened(values, x, y):
    return np.ravel(values)


@breaks("check_reference_can_be_sampled")
@plugin
class Flattening(ReferenceBuilder):
    def build(self, references, target):
        return Wrapped(references, target, flattened)


@breaks("check_built_from_itself_is_itself")
@plugin
class Sloping(ReferenceBuilder):
    def build(self, references, target):
        return Wrapped(references, target, add_slope)


@breaks("check_built_from_itself_is_itself")
@plugin
class OnePixelOff(ReferenceBuilder):
    def build(self, references, target):
        return references[0].shift_reference_coord(4 * u.arcsec, 0 * u.arcsec)


@breaks("check_outside_coverage_is_nan")
@plugin
class ZeroFilling(ReferenceBuilder):
    def build(self, references, target):
        return Wrapped(references, target, fill)


class ByTheFirstColumn(Wrapped):
    def sample(self, x, y, columns=None):
        # As if a grid were always spanned by its first row and column.
        x, y = np.broadcast_arrays(x, y)
        return super().sample(x, y if y.ndim < 2 else np.broadcast_to(y[:, :1], y.shape), columns)


@breaks("check_displaced_columns_are_sampled_beside")
@plugin
class Spanning(ReferenceBuilder):
    def build(self, references, target):
        return ByTheFirstColumn(references, target, unspoilt)


@breaks("check_missing_pixels_are_nan")
@plugin
class Inventing(ReferenceBuilder):
    def build(self, references, target):
        return Wrapped(references, target, no_gap)


@breaks("check_every_point_is_its_own")
@plugin
class Ranking(ReferenceBuilder):
    def build(self, references, target):
        return Wrapped(references, target, rank)


class HalfGradient(Wrapped):
    def sample_with_gradient(self, x, y, columns=None):
        value, by_x, by_y = super().sample_with_gradient(x, y, columns)
        return value, by_y, by_x


def unspoilt(values, x, y):
    return values


@breaks("check_gradient_is_the_derivative")
@plugin
class Swapping(ReferenceBuilder):
    def build(self, references, target):
        return HalfGradient(references, target, unspoilt)


@breaks("check_pixel_size_is_known")
@plugin
class InArcsec(ReferenceBuilder):
    def build(self, references, target):
        reference = Wrapped(references, target, unspoilt)
        reference.pixel_size = 4.0
        return reference


@breaks("check_build_repeats")
@plugin
class Noisy(ReferenceBuilder):
    def build(self, references, target):
        image = references[0]
        return GenericMap(image.data + np.random.default_rng().normal(size=image.data.shape), image.meta)


@breaks("check_inputs_are_not_changed")
@plugin
class Relabelling(ReferenceBuilder):
    def build(self, references, target):
        references[0].meta["seen"] = True
        return references[0]


@breaks("check_reference_travels_to_workers")
@plugin
class Closing(ReferenceBuilder):
    def build(self, references, target):
        return Wrapped(references, target, lambda values, x, y: values)


# Correctors.


class Spoilt(WCSCorrector):
    """A good corrector of maps whose result is spoilt."""

    def apply(self, target, correction, *, provenance=None):
        return self.spoil(super().apply(target, correction, provenance=provenance), target)

    def spoil(self, corrected, target):
        raise NotImplementedError


@breaks("check_parameters_are_known")
class Unheard(WCSCorrector):
    parameters = frozenset({"shift_x", "shear"})


@breaks("check_zero_correction_changes_nothing", "check_inverse_restores_the_coordinates")
class Nudging(Spoilt):
    def spoil(self, corrected, target):
        if isinstance(corrected, GenericMap):
            corrected.meta["crval1"] += 0.1
        return corrected


@breaks("check_coordinates_are_those_asked_for")
class ShiftOnly(WCSCorrector):
    def apply(self, target, correction, *, provenance=None):
        return super().apply(target, Correction(shift=correction.shift, pivot=correction.pivot))


@breaks("check_reference_coordinate_moves_by_the_shift")
class WrongWay(WCSCorrector):
    def apply(self, target, correction, *, provenance=None):
        return super().apply(target, correction.inverse(), provenance=provenance)


@breaks("check_inverse_restores_the_coordinates")
class OneWay(WCSCorrector):
    def apply(self, target, correction, *, provenance=None):
        return super().apply(target, correction if correction.shift_x >= 0 else Correction(), provenance=provenance)


@breaks("check_type_is_kept")
class ToArray(Spoilt):
    def spoil(self, corrected, target):
        return (corrected.data, corrected.wcs) if isinstance(corrected, GenericMap) else corrected


@breaks("check_data_are_not_resampled")
class Resampling(Spoilt):
    def spoil(self, corrected, target):
        return (
            corrected._new_instance(corrected.data * 1.0, corrected.meta)
            if isinstance(corrected, GenericMap)
            else corrected
        )


@breaks("check_mask_uncertainty_and_unit_are_kept")
class Losing(Spoilt):
    def spoil(self, corrected, target):
        return sunpy.map.Map(corrected.data, corrected.meta) if isinstance(corrected, GenericMap) else corrected


@breaks("check_other_metadata_are_kept")
class Tidying(Spoilt):
    def spoil(self, corrected, target):
        if isinstance(corrected, GenericMap):
            del corrected.meta["observer-note"]
        return corrected


@breaks("check_history_is_written")
class Silent(Spoilt):
    def spoil(self, corrected, target):
        if isinstance(corrected, GenericMap):
            corrected.meta["history"] = target.meta.get("history", "")
        return corrected


@breaks("check_history_is_written")
class Overwriting(Spoilt):
    def spoil(self, corrected, target):
        if isinstance(corrected, GenericMap):
            corrected.meta["history"] = "corrected, and nothing before that counts any more"
        return corrected


@breaks("check_history_is_written")
class Unasked(WCSCorrector):
    """Says that something was corrected, and not how that was found."""

    def apply(self, target, correction, *, provenance=None):
        return super().apply(target, correction)


@breaks("check_accepts_what_it_can_correct")
class Grasping(WCSCorrector):
    @classmethod
    def accepts(cls, target):
        return True


@breaks("check_target_is_not_changed")
class InPlace(Spoilt):
    def spoil(self, corrected, target):
        if isinstance(target, GenericMap):
            target.meta.update(corrected.meta)
        return corrected


@breaks("check_refuses_what_it_cannot_express")
class Careless(WCSCorrector):
    parameters = frozenset({"shift_x", "shift_y"})

    def apply(self, target, correction, *, provenance=None):
        return super().apply(target, Correction(shift=correction.shift, pivot=correction.pivot))


# In a whole alignment.


@breaks("check_alignment_finds_a_known_shift", "check_alignment_with_defects")
@plugin
class Lazy(Optimizer):
    def maximize(self, objective, space, *, rng):
        return OptimizeResult(x=space.start, fun=objective(space.start), success=True, message="Done.", nit=0)


PAIRS = [(name, cls) for name, classes in sorted(WRONG.items()) for cls in classes]


@pytest.mark.parametrize(("name", "cls"), PAIRS, ids=[f"{cls.__name__}-{name}" for name, cls in PAIRS])
def test_wrong_plugin_breaks_the_law(name, cls):
    wrong = cls(width=3) if cls is Required else cls()
    (check,) = (check for check in checks_for(wrong) if check.__name__ == name)
    with pytest.raises((AssertionError, TypeError)) as caught:
        check(wrong)
    assert str(caught.value).endswith(".")


def all_checks():
    return {
        check.__name__ for good in (NCC(), HillClimb(), ImageBuilder(), WCSCorrector()) for check in checks_for(good)
    }


def test_every_law_has_its_wrong_plugin():
    # The one on entry points needs some; it has a test of its own.
    assert all_checks() == {*WRONG, "check_advertised_name_loads_it"}


def test_every_law_is_told_in_words():
    for good in (NCC(), HillClimb(), ImageBuilder(), WCSCorrector()):
        for check in checks_for(good):
            assert check.__doc__.splitlines()[0].strip(), check.__name__


def test_advertised_name_that_loads_something_else(monkeypatch):
    (check,) = (check for check in checks_for(NCC()) if check.__name__ == "check_advertised_name_loads_it")
    # An older copy of the class stayed behind in the public place.
    impostor = type("NCC", (NCC,), {"__module__": "sunalign.metrics._ncc"})
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint("ncc", "sunalign.metrics:NCC", group)])
    monkeypatch.setattr("sunalign.metrics.NCC", impostor)
    registry.clear_cache()
    try:
        with pytest.raises(AssertionError, match="'ncc' is not NCC"):
            check(NCC())
    finally:
        monkeypatch.undo()
        registry.clear_cache()
    check(NCC())


# The kit itself.


def test_check_plugin_passes_a_good_one_and_lists_all_that_is_wrong():
    check_plugin(NCC())
    with pytest.raises(ExceptionGroup, match=r"Distance\(\) breaks \d+ of \d+ laws") as caught:
        check_plugin(Distance(), expected_failures={"check_better_match_scores_higher": "it is a distance"})
    notes = [note for error in caught.value.exceptions for note in error.__notes__]
    assert any("check_image_matches_itself_best" in note for note in notes)
    assert not any("check_better_match_scores_higher" in note for note in notes)


def test_a_class_is_refused():
    with pytest.raises(TypeError, match="the class NCC; make an instance"):
        list(checks_for(NCC))
    with pytest.raises(TypeError, match="got int"):
        list(checks_for(3))


def test_ids_and_expected_failures():
    mark = parametrize_with_checks(
        [HillClimb(n_neighbors=5), Distance()], expected_failures={"check_better_match_scores_higher": "a distance"}
    ).mark
    names, params = mark.args
    assert names == ("plugin", "check")
    ids = [param.id for param in params]
    assert "HillClimb(n_neighbors=5)-check_x_is_inside_the_bounds" in ids
    assert "Distance()-check_score_is_a_float" in ids
    assert len(set(ids)) == len(ids)
    marked = [param for param in params if param.marks]
    assert [param.id for param in marked] == ["Distance()-check_better_match_scores_higher"]
    assert marked[0].marks[0].kwargs == {"reason": "a distance", "strict": True}


def test_expected_failures_by_plugin():
    mark = parametrize_with_checks(
        [NCC(), Distance()],
        expected_failures=lambda plugin: {"check_score_repeats": "why"} if isinstance(plugin, Distance) else {},
    ).mark
    assert [param.id for param in mark.args[1] if param.marks] == ["Distance()-check_score_repeats"]


def test_misspelt_expected_failure():
    with pytest.raises(ValueError, match="Did you mean 'check_score_is_a_float'"):
        parametrize_with_checks([NCC()], expected_failures={"check_score_is_float": "why"})


def test_kit_needs_no_hypothesis(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.setattr(sunalign, "testing", sunalign.testing)
    for name in [name for name in sys.modules if name.startswith("sunalign.testing")]:
        monkeypatch.delitem(sys.modules, name)
    importlib.import_module("sunalign.testing").check_plugin(NCC())
    with pytest.raises(ImportError, match="hypothesis"):
        importlib.import_module("sunalign.testing.strategies")


# Helpers.


@pytest.mark.parametrize("fit", ["shift_x", "shift", ("shift", "rotation"), ("shift", "scale", "rotation")])
def test_truth_of_a_small_problem_scores_highest(fit):
    case = helpers.small_problem(fit=fit)
    top = case.problem.score(case.truth)
    assert top > 0.9999999
    for step in np.diag(case.space.step):
        assert case.problem.score(case.truth + step) < top
        assert case.problem.score(case.truth - step) < top


def test_small_problem_takes_truth_start_and_metric():
    metric = Distance()
    case = helpers.small_problem(metric, truth={"shift_x": -3.0}, start={"shift_y": 2.0}, max_shift=10.0)
    assert case.problem.metric is metric
    assert case.truth.tolist() == [-3.0, -4.4]
    assert case.space.start.tolist() == [0.0, 2.0]
    assert case.space.upper.tolist() == [10.0, 12.0]


def test_run_ends_in_the_best_when_the_budget_is_spent():
    case = helpers.small_problem()
    found = helpers.run(HillClimb(), case.objective(max_evaluations=5))
    assert not found.success
    assert found.fun == case.problem.score(found.x)


def test_small_images_are_images():
    with helpers.small_file(scale=(4.0, 2.0), roll=10) as path:
        for image in (
            helpers.small_map(scale=(4.0, 2.0), roll=10),
            helpers.small_cube(scale=(4.0, 2.0), roll=10),
            path,
        ):
            grid = to_image(image).grid
            assert np.allclose(np.degrees(grid.pixel_size) * 3600, (4.0, 2.0), rtol=1e-6)
    assert not path.exists()


# Strategies.


@given(drawn=strategies.images())
def test_drawn_images_hide_their_nan_under_the_mask(drawn):
    data, mask = drawn
    assert data.shape == mask.shape
    assert mask.dtype == bool
    assert np.isfinite(data[~mask].astype(float)).all()


@pytest.mark.parametrize(
    "feature",
    [
        lambda data, mask: data.dtype == ">f8",
        lambda data, mask: data.dtype == "<f4",
        lambda data, mask: data.dtype.kind in "iu",
        lambda data, mask: data.shape[1] == 1 and data.shape[0] > 1,
        lambda data, mask: data.dtype.kind == "f" and np.isnan(data).any(),
        lambda data, mask: data.size > 9 and mask.all(axis=1).any() and not mask.all(),
        lambda data, mask: (
            data.size > 9 and np.nanmin(np.where(mask, np.nan, data)) == np.nanmax(np.where(mask, np.nan, data))
            if not mask.all()
            else False
        ),
        lambda data, mask: not mask.any(),
    ],
    ids=["big-endian", "float32", "integer", "one column", "NaN", "masked row", "constant", "no mask"],
)
def test_images_of_every_kind_are_drawn(feature):
    data, mask = find(
        strategies.images(), lambda drawn: feature(*drawn), settings=settings(max_examples=2000, database=None)
    )
    assert feature(data, mask)


@given(pair=strategies.masked_pairs())
def test_drawn_pairs_are_on_one_grid(pair):
    reference, target, mask = pair
    assert reference.shape == target.shape == mask.shape
    valid = ~mask
    assert np.isfinite(reference[valid].astype(float)).all()
    assert np.isfinite(target[valid].astype(float)).all()


@given(correction=strategies.corrections(), shift=strategies.corrections(parameters=("shift_x", "shift_y")))
def test_drawn_corrections_can_be_undone(correction, shift):
    assert np.allclose((correction.inverse().sky_matrix @ correction.sky_matrix), np.eye(3), atol=1e-12)
    assert shift.moved <= {"shift_x", "shift_y"}


@given(space=strategies.search_spaces())
def test_drawn_spaces_are_consistent(space):
    assert 1 <= len(space) <= 5
    assert list(space.names) == [name for name in PARAMETERS if name in space.names]
    assert np.all(space.lower < space.upper)
    assert np.array_equal(space.clip(space.start), space.start)
    assert np.all(space.step > 0)
    assert all(low > 0 for low, name in zip(space.lower, space.names, strict=True) if name.startswith("scale"))


@given(image=strategies.solar_maps())
def test_drawn_maps_are_maps(image):
    read = to_image(image)
    assert read.observer is not None
    x, y = read.grid.centre
    world = image.wcs.pixel_to_world(x, y)
    tx, ty = read.grid.angles(x, y)
    assert np.allclose([world.Tx.to_value(u.rad), world.Ty.to_value(u.rad)], [tx, ty], atol=1e-9)


@pytest.mark.parametrize("convention", ["PC", "CD", "CROTA"])
@settings(max_examples=8)
@given(data=st.data())
def test_pixel_axes_are_square_in_every_convention(convention, data):
    image = data.draw(strategies.solar_maps(conventions=(convention,)))
    grid = to_image(image).grid
    linear = grid.jacobian(*grid.centre)
    columns = linear / np.hypot(*linear)
    # CRPIX may be far off the array, where a gnomonic grid is not quite square any more.
    assert np.allclose(columns.T @ columns, np.eye(2), atol=1e-4)
    assert any(key.startswith(convention.lower()) for key in image.meta)


@given(cube=strategies.cubes())
def test_drawn_cubes_are_cubes(cube):
    image = to_image(cube)
    assert image.data.shape == cube.data.shape[1:]
    assert isinstance(cube.wcs, WCS)
    assert cube.wcs.world_axis_physical_types[2] == "em.wl"
