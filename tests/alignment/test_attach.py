"""``align_to`` on classes that are not ours."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest

import astropy.units as u
from astropy.nddata import NDData

from ndcube import NDCube
from ndcube.ndcube import NDCubeBase
from sunpy.map import GenericMap
from sunpy.map.sources import AIAMap

import sunalign
from sunalign.alignment.attach import TARGETS, align_to
from sunalign.exceptions import SunalignUserWarning
from sunalign.testing.helpers import small_cube, small_map, smooth_image

SCENE = smooth_image((80, 80), seed=5)
REFERENCE = small_map(SCENE)


@pytest.fixture
def detached():
    """Take the methods away for one test."""
    sunalign.detach()
    yield
    sunalign.attach()


def target(make=small_map):
    return make(SCENE[16:-16, 20:-20], centre=(52.0, -37.0))


class BeforeMap(GenericMap):
    """Made while the method is there; no source of sunpy's factory."""

    @classmethod
    def is_datasource_for(cls, data, header, **kwargs):
        return False


def test_its_keywords_are_those_of_align_for_help_and_completion():
    own, theirs = (dict(inspect.signature(function).parameters) for function in (align_to, sunalign.align))
    assert own.pop("self").kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert own.pop("return_result").default is False
    del theirs["target"]
    assert list(own) == list(theirs)
    for name, parameter in theirs.items():
        assert (own[name].kind, str(own[name].default)) == (parameter.kind, str(parameter.default)), name
        assert name in align_to.__doc__


def test_it_is_on_every_map_and_cube_and_nowhere_else():
    for cls in (GenericMap, AIAMap, BeforeMap, NDCubeBase, NDCube):
        assert cls.align_to is align_to
    assert not hasattr(NDData, "align_to")
    assert "align_to" in dir(target())


def test_subclasses_made_later_have_it_too(detached):
    class AfterCube(NDCube):
        pass

    assert not hasattr(AfterCube, "align_to")
    sunalign.attach()
    assert AfterCube.align_to is align_to


def test_attach_is_idempotent():
    before = [vars(cls)["align_to"] for cls in TARGETS]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sunalign.attach()
        sunalign.attach()
    assert [vars(cls)["align_to"] for cls in TARGETS] == before


def test_detach_leaves_no_trace():
    sunalign.detach()
    try:
        without = [set(dir(cls)) for cls in TARGETS]
        assert all("align_to" not in names for names in without)
        sunalign.detach()
        sunalign.attach()
        assert [set(dir(cls)) - names for cls, names in zip(TARGETS, without, strict=True)] == [{"align_to"}] * len(
            TARGETS
        )
        sunalign.detach()
        assert [set(dir(cls)) for cls in TARGETS] == without
    finally:
        sunalign.attach()


def test_upstream_has_not_taken_the_name(detached):
    # The day this fails, sunpy or ndcube has an align_to of its own: ours stays away, and the docs have to say so.
    for cls in (GenericMap, NDCubeBase, NDCube, AIAMap):
        assert not hasattr(cls, "align_to"), f"{cls.__module__}.{cls.__qualname__} has an align_to of its own."


def own(self):
    return "mine"


def test_never_overrides_and_warns_once():
    class Taken:
        align_to = own

    with pytest.warns(SunalignUserWarning, match=r"Taken has an align_to of its own.*sunalign\.align\(\)") as caught:
        sunalign.attach((Taken,))
    assert len(caught) == 1
    assert Taken.align_to is own
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sunalign.attach((Taken,))
    sunalign.detach((Taken,))
    assert Taken.align_to is own


def test_never_overrides_what_is_inherited():
    class Parent:
        align_to = own

    class Child(Parent):
        pass

    with pytest.warns(SunalignUserWarning, match="Child has an align_to of its own"):
        sunalign.attach((Child,))
    assert "align_to" not in vars(Child)


def test_a_subclass_with_its_own_keeps_it():
    class Own(NDCube):
        align_to = own

    cube = small_cube()
    assert Own(cube.data, cube.wcs).align_to() == "mine"


@pytest.mark.parametrize("make", [small_map, small_cube])
def test_instances_stay_clean(make):
    image = target(make)
    before = set(vars(image))
    image.align_to(REFERENCE, max_shift=30 * u.arcsec)
    new = {name for name in set(vars(image)) - before if "align" in name.lower()}
    assert not new
    assert "align_to" not in vars(image)


def test_copies_slices_and_submaps_have_it():
    image, cube = target(), target(small_cube)
    for other in (
        copy.deepcopy(image),
        pickle.loads(pickle.dumps(image)),
        image.submap([2, 2] * u.pix, top_right=[30, 30] * u.pix),
        image.resample([20, 24] * u.pix),
        copy.deepcopy(cube),
        cube[1],
    ):
        assert other.align_to.__func__ is align_to


@pytest.mark.parametrize("make", [small_map, small_cube])
def test_it_returns_the_image_or_both(make):
    image = target(make)
    aligned = image.align_to(REFERENCE, max_shift=30 * u.arcsec)
    assert type(aligned) is type(image)
    again, result = image.align_to(REFERENCE, max_shift=30 * u.arcsec, return_result=True)
    assert type(again) is type(image)
    assert np.allclose(result.correction.shift.to_value(u.arcsec), [8, -3], atol=0.2)
    assert again is result.aligned


def test_the_warning_of_doubt_points_at_the_callers_line():
    # Nothing but noise.
    image = small_map(np.random.default_rng(0).normal(100, 10, (48, 40)))
    with pytest.warns(SunalignUserWarning, match="is doubtful") as caught:
        sunalign.align(image, REFERENCE, max_shift=60 * u.arcsec)
    assert caught[0].filename == __file__
    with pytest.warns(SunalignUserWarning, match="is doubtful") as caught:
        image.align_to(REFERENCE, max_shift=60 * u.arcsec)
    assert caught[0].filename == __file__
