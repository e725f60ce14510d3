"""Which corrector a target gets when the caller names none."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import numpy as np
import pytest

import astropy.units as u

from ndcube import NDCube

import sunalign
from sunalign import registry
from sunalign.abc import Corrector
from sunalign.correctors import NDCubeCorrector, WCSCorrector, correct, corrector_for
from sunalign.exceptions import PluginConflictError
from sunalign.testing.helpers import small_cube, small_map, smooth_image

CORRECTION = sunalign.Correction.from_parameters(3 * u.arcsec, -5 * u.arcsec)


class Dataset(NDCube):
    """A cube of another package."""


@dataclass(frozen=True, kw_only=True)
class DatasetCorrector(Corrector):
    """Its own corrector, which keeps a log book."""

    @classmethod
    def accepts(cls, target):
        return isinstance(target, Dataset)

    def apply(self, target, correction, *, provenance=None):
        new = NDCubeCorrector().apply(target, correction, provenance=provenance)
        new.meta["logbook"] = provenance or "by hand"
        return new


class Rival(DatasetCorrector):
    pass


OURS = {
    "fits": "sunalign.correctors:FITSCorrector",
    "ndcube": "sunalign.correctors:NDCubeCorrector",
    "wcs": "sunalign.correctors:WCSCorrector",
}


@pytest.fixture
def install(monkeypatch):
    """Let other packages' correctors stand beside ours."""
    known = registry.entry_points

    def put(**theirs):
        entries = [
            *(EntryPoint(name, value, "sunalign.correctors") for name, value in OURS.items()),
            *(EntryPoint(name, f"{__name__}:{cls}", "sunalign.correctors") for name, cls in theirs.items()),
        ]
        monkeypatch.setattr(
            registry, "entry_points", lambda group: entries if group == "sunalign.correctors" else known(group=group)
        )
        for cls in (DatasetCorrector, Rival):
            monkeypatch.setitem(CLASSES, cls.__name__, cls)
        monkeypatch.setattr(EntryPoint, "load", lambda self: CLASSES.get(self.attr) or LOAD(self))
        registry.clear_cache()

    yield put
    monkeypatch.undo()
    registry.clear_cache()


CLASSES = {}
LOAD = EntryPoint.load


def dataset():
    cube = small_cube()
    return Dataset(cube.data, cube.wcs, meta={"instrument": "VISP"}, unit=cube.unit)


def test_another_package_s_corrector_is_asked_first(install):
    install(dataset="DatasetCorrector")
    assert corrector_for(dataset()) == "dataset"
    assert corrector_for(small_cube()) == "ndcube"
    assert correct(dataset(), CORRECTION).meta["logbook"] == "by hand"


def test_it_is_told_how_the_correction_was_found(install):
    install(dataset="DatasetCorrector")
    scene = smooth_image((80, 80), seed=5)
    cube = small_cube()
    target = Dataset(
        np.broadcast_to(scene[16:-16, 20:-20], (3, 48, 40)).copy(), small_cube(centre=(52.0, -37.0)).wcs, meta={},
        unit=cube.unit,
    )  # fmt: skip
    result = sunalign.align(target, small_map(scene))
    assert type(result.aligned) is Dataset
    assert result.plugins["corrector"]["name"] == "dataset"
    assert result.aligned.meta["logbook"] == result.provenance()


def test_two_of_other_packages_are_a_conflict_for_what_both_accept(install):
    install(dataset="DatasetCorrector", rival="Rival")
    with pytest.raises(PluginConflictError, match=r"'dataset' and 'rival' both accept a Dataset; .*='dataset'"):
        correct(dataset(), CORRECTION)
    assert corrector_for(small_map()) == "wcs"


def test_a_broken_one_is_left_out(install, monkeypatch):
    install(dataset="DatasetCorrector")
    broken = EntryPoint("broken", "no_such_package_is_installed:Corrector", "sunalign.correctors")
    entries = [*registry.entry_points(group="sunalign.correctors"), broken]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    registry.clear_cache()
    assert corrector_for(dataset()) == "dataset"


@pytest.mark.parametrize("provenance", [None, "found by hand\nscore 0.9"])
def test_provenance_goes_into_history(provenance):
    header = dict(small_map().meta)
    targets = {"wcs": small_map(), "ndcube": small_cube(), "header": (small_map().data, header)}
    for kind, target in targets.items():
        corrector = NDCubeCorrector() if kind == "ndcube" else WCSCorrector()
        corrected = corrector.apply(target, CORRECTION, provenance=provenance)
        meta = corrected[1] if kind == "header" else corrected.meta
        history = next(str(value) for key, value in meta.items() if key.lower() == "history")
        assert ("score 0.9" in history) is (provenance is not None)
        assert "shift_x" in history
    assert header == dict(small_map().meta)
