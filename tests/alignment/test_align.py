"""The whole road, on simulated truth."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import astropy.units as u
from astropy.io import fits

import sunpy.map
from ndcube import NDCube

import sunalign
import sunalign.images
import sunalign.model.reference
from sunalign import simulate
from sunalign.alignment.search import make_search, pivot_sky, with_units
from sunalign.exceptions import AlignmentDoubtError, AlignmentError, SunalignUserWarning
from sunalign.images import to_image
from sunalign.metrics import NCC
from sunalign.optimizers import HillClimb
from sunalign.simulate import PointingError
from sunalign.testing.helpers import small_map

PIXEL = 4.44  # arcsec, of the simulated reference
ALL = ("shift", "scale", "rotation")


@pytest.fixture(scope="module")
def scene():
    return simulate.Scene(seed=2, extent=(40 * u.deg, 44 * u.deg))


def pair_of(scene, seed):
    error = PointingError(
        shift_x=21 * u.arcsec, shift_y=-34 * u.arcsec, scale_x=1.03, scale_y=0.99, rotation=0.4 * u.deg
    )
    return simulate.raster_pair(seed, scene=scene, error=error, n_steps=48, n_slit=300, margin=80 * u.arcsec)


@pytest.fixture(scope="module")
def pair(scene):
    return pair_of(scene, 2)


def corner_error(aligned, truth):
    """Largest distance, in arcsec, between where two maps put the corners of one array, by wcslib alone."""
    ny, nx = truth.data.shape
    corners = np.array([0, nx - 1, 0, nx - 1]), np.array([0, 0, ny - 1, ny - 1])
    (x1, y1), (x2, y2) = (np.array(m.wcs.wcs_pix2world(*corners, 0)) for m in (aligned, truth))
    return 3600 * np.hypot((x1 - x2 + 180) % 360 - 180, y1 - y2).max()


def test_five_parameters_of_a_raster(pair):
    result = sunalign.align(pair.target, pair.reference, fit=ALL)
    assert result.success, result.message
    assert result.score > 0.9 > result.initial_score
    assert corner_error(result.aligned, pair.truth) < 0.1 * PIXEL
    for name in ("shift_x", "shift_y", "scale_x", "scale_y", "rotation"):
        found, true = u.Quantity(getattr(result.correction, name)), u.Quantity(getattr(pair.error, name))
        assert abs(found - true) < 5 * result.correction.error(name)


def test_input_is_never_touched(pair):
    target, reference = copy.deepcopy(pair.target), copy.deepcopy(pair.reference)
    aligned = target.align_to(reference, fit="shift")
    for before, after in ((pair.target, target), (pair.reference, reference)):
        assert dict(before.meta) == dict(after.meta)
        np.testing.assert_array_equal(before.data, after.data)
    assert aligned is not target
    assert np.shares_memory(aligned.data, target.data)
    assert type(aligned) is type(target)


def test_history_tells_what_was_done(pair):
    aligned, result = pair.target.align_to(pair.reference, fit="shift", return_result=True)
    history = aligned.meta["history"]
    for word in ("sunalign", "shift_x", "coarse-to-fine", "ncc", "sqrt", f"{result.score:.5f}"):
        assert word in history


@settings(max_examples=12)
@given(
    shift=st.tuples(st.floats(-70, 70), st.floats(-70, 70)),
    roll=st.floats(-170, 170),
    scale=st.floats(0.35, 1.6),
    convention=st.sampled_from(["pc", "cd", "crota"]),
    border=st.integers(0, 12),
    seed=st.integers(0, 5),
)
def test_shift_of_any_image_is_found_to_a_tenth_of_a_pixel(scene, shift, roll, scale, convention, border, seed):
    pair = simulate.image_pair(
        seed,
        scene=scene,
        error=PointingError(shift_x=shift[0] * u.arcsec, shift_y=shift[1] * u.arcsec),
        shape=(110, 130),
        scale=scale * PIXEL * u.arcsec,
        roll=roll * u.deg,
        margin=110 * u.arcsec,
        snr=8.0,
        convention=convention,
        spoil={"nan_border": border},
    )
    result = sunalign.align(pair.target, pair.reference, fit="shift")
    assert corner_error(result.aligned, pair.truth) < 0.1 * PIXEL
    assert result.success, result.message


@settings(max_examples=6)
@given(shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)), seed=st.integers(0, 3))
def test_aligning_again_finds_nothing(scene, shift, seed):
    error = PointingError(shift_x=shift[0] * u.arcsec, shift_y=shift[1] * u.arcsec, scale_x=1.02)
    pair = simulate.raster_pair(seed, scene=scene, error=error, n_steps=48, n_slit=300, margin=80 * u.arcsec)
    once = pair.target.align_to(pair.reference, fit=("shift", "scale"))
    again = sunalign.align(once, pair.reference, fit=("shift", "scale")).correction
    assert abs(again.shift_x) < 0.02 * u.arcsec
    assert abs(again.shift_y) < 0.02 * u.arcsec
    assert abs(again.scale_x - 1) < 1e-4
    assert abs(again.scale_y - 1) < 1e-4


def test_values_under_the_mask_do_not_matter(pair):
    mask = np.zeros(pair.target.data.shape, bool)
    mask[100:140, 10:30] = True
    spoiled = sunpy.map.Map(np.where(mask, 1e9, pair.target.data), pair.target.meta)
    found = [sunalign.align(target, pair.reference, target_mask=mask).correction for target in (pair.target, spoiled)]
    assert found[0] == found[1]


def test_limits_and_reference_mask(pair):
    top = np.nanpercentile(pair.target.data, 99.5)
    reference_mask = np.zeros(pair.reference.data.shape, bool)
    reference_mask[:, :10] = True
    result = sunalign.align(
        pair.target, pair.reference, fit=ALL, target_limits=(None, top), reference_limits=(0.0, None),
        reference_mask=reference_mask,
    )  # fmt: skip
    assert np.nanmax(result.target.data) <= top
    assert corner_error(result.aligned, pair.truth) < 0.2 * PIXEL


def test_submap_of_the_target_gives_the_same_sky(pair):
    corner = [4, 60] * u.pix
    part = pair.target.submap(corner, top_right=[43, 250] * u.pix)
    truth = pair.truth.submap(corner, top_right=[43, 250] * u.pix)
    aligned = part.align_to(pair.reference, fit=ALL)
    assert corner_error(aligned, truth) < 0.2 * PIXEL


@pytest.mark.parametrize("kind", ["header", "wcs", "path", "big-endian", "masked", "cube"])
def test_every_kind_of_input_comes_back_as_its_own(pair, kind, tmp_path):
    data, header = pair.target.data, fits.Header({k: v for k, v in pair.target.fits_header.items() if k})
    path = tmp_path / "target.fits"
    pair.target.save(path)
    mask = ~np.isfinite(data)
    target = {
        "header": (data, header),
        "wcs": (data, pair.target.wcs),
        "path": str(path),
        "big-endian": (data.astype(">f8"), header),
        "masked": (np.ma.MaskedArray(np.where(mask, -1.0, data), mask), header),
        "cube": NDCube(data, wcs=pair.target.wcs, mask=mask),
    }[kind]
    expected = sunalign.align(pair.target, pair.reference, fit=ALL).correction
    result = sunalign.align(target, pair.reference, fit=ALL)
    for name, value in expected.parameters.items():
        assert result.correction.parameters[name] == pytest.approx(value, rel=1e-6, abs=1e-5)
    if kind == "path":
        assert isinstance(result.aligned, sunpy.map.GenericMap)
    else:
        assert type(result.aligned) is type(target)


def test_working_grid_of_the_reference_agrees(pair):
    ours = sunalign.align(pair.target, pair.reference, fit=ALL)
    theirs = sunalign.align(pair.target, pair.reference, fit=ALL, working_grid="reference")
    assert corner_error(theirs.aligned, ours.aligned) < 0.15 * PIXEL


def test_the_documents_workflow_step_by_step():
    """Reproject, align there, correct that map, translate the correction to the native frame."""
    off = []
    for seed in (2, 6, 7):
        pair = pair_of(simulate.Scene(seed=seed, extent=(40 * u.deg, 44 * u.deg)), seed)
        on_grid = sunalign.reproject_to_reference(pair.target, pair.reference)
        corrected = on_grid.align_to(pair.reference, fit=ALL)
        native = sunalign.correct(pair.target, sunalign.Correction.between(on_grid, corrected))
        off.append(corner_error(native, pair.truth))
    # Reprojection alone costs a tenth of a pixel, more in one scene and less in another.
    assert np.mean(off) < 0.15 * PIXEL


def test_frozen_parameters_stay_at_their_start(pair):
    start = {"scale_x": 1.03, "rotation": 0.4 * u.deg}
    result = sunalign.align(pair.target, pair.reference, fit=("shift", "scale_y"), start=start)
    assert result.free == ("shift_x", "shift_y", "scale_y")
    assert result.correction.scale_x == pytest.approx(1.03)
    assert result.correction.rotation.to_value("deg") == pytest.approx(0.4)
    assert corner_error(result.aligned, pair.truth) < 0.1 * PIXEL


def test_start_is_where_the_search_begins(pair):
    known = sunalign.align(pair.target, pair.reference, fit=ALL).correction
    result = sunalign.align(pair.target, pair.reference, fit=ALL, start=known, max_shift=10 * u.arcsec)
    assert result.initial_score == pytest.approx(result.score, abs=1e-4)


def test_a_start_keeps_its_meaning_on_a_rolled_target():
    """A correction is a map of the sky: begun with on a target rolled by 90 degrees, it stretches the same way."""
    along_tx = sunalign.Correction.from_parameters(3 * u.arcsec, scale_x=1.1, pivot=(60, -40) * u.arcsec)
    rolled = small_map(roll=90.0)
    grid = to_image(rolled).grid
    search = make_search(grid, fit="shift", max_shift=20 * u.arcsec, bounds=None, start=along_tx, pivot=None)
    begin = sunalign.Correction.from_parameters(
        **with_units(search.begin), pivot=pivot_sky(grid, search.pivot), axes=grid.axes(*search.pivot)
    )
    np.testing.assert_allclose(begin.matrix, along_tx.matrix, atol=1e-6)
    assert search.begin["scale_y"] == pytest.approx(1.1)
    assert search.begin["scale_x"] == pytest.approx(1.0)


def test_a_start_that_five_parameters_cannot_express_is_said():
    along_tx = sunalign.Correction.from_parameters(scale_x=1.1, pivot=(60, -40) * u.arcsec)
    with pytest.warns(SunalignUserWarning, match=r"the start has a shear of -?5\.\d+ deg.*begins without it"):
        make_search(
            to_image(small_map(roll=45.0)).grid, fit="shift", max_shift=20 * u.arcsec, bounds=None, start=along_tx,
            pivot=None,
        )  # fmt: skip


def test_pivot_changes_the_words_and_not_the_answer(pair):
    centre = sunalign.align(pair.target, pair.reference, fit=ALL)
    corner = sunalign.align(pair.target, pair.reference, fit=ALL, pivot=(180, 90) * u.arcsec)
    assert corner_error(centre.aligned, corner.aligned) < 0.02 * PIXEL
    np.testing.assert_allclose(corner.correction.pivot.to_value("arcsec"), [180, 90], atol=1e-6)


def test_an_instance_and_its_options_are_the_same_thing(pair):
    options = {"n_neighbors": 12, "max_iter": 6}
    loose = sunalign.align(pair.target, pair.reference, optimizer="hill-climb", on_doubt="ignore", **options)
    instance = sunalign.align(pair.target, pair.reference, optimizer=HillClimb(**options), on_doubt="ignore")
    assert loose.correction == instance.correction
    assert loose.plugins["optimizer"]["options"]["n_neighbors"] == 12


def test_another_field_is_doubted(scene, pair):
    elsewhere = simulate.raster_pair(
        5, scene=scene, target_scene=simulate.Scene(seed=77, extent=(40 * u.deg, 44 * u.deg)), n_steps=48, n_slit=300
    )
    with pytest.warns(SunalignUserWarning, match="doubtful"):
        result = sunalign.align(elsewhere.target, elsewhere.reference, fit=ALL)
    assert not result.success
    with pytest.raises(AlignmentDoubtError) as caught:
        sunalign.align(elsewhere.target, elsewhere.reference, fit=ALL, on_doubt="raise")
    assert not caught.value.result.success


def test_answer_at_a_bound_is_doubted(pair):
    with pytest.warns(SunalignUserWarning, match="at a bound"):
        result = sunalign.align(pair.target, pair.reference, fit=ALL, bounds={"scale_x": (0.99, 1.01)})
    assert result.quality.at_bound == ("scale_x",)
    assert result.correction.scale_x == pytest.approx(1.01)


def test_spent_budget_ends_with_the_best_so_far(pair):
    result = sunalign.align(pair.target, pair.reference, optimizer="hill-climb", max_evaluations=9, on_doubt="ignore")
    assert result.nfev <= 9
    assert not result.success
    assert "max_evaluations" in result.message
    assert result.score == pytest.approx(result.history["score"].max())


def test_a_metric_without_powers_is_refined_by_the_hill_climber(pair):
    class Bare(sunalign.abc.Metric):
        def score(self, reference, target, mask):
            return NCC().score(reference, target, mask)

    result = sunalign.align(pair.target, pair.reference, fit="shift", start={"scale_x": 1.03}, metric=Bare())
    assert corner_error(result.aligned, pair.truth) < 2 * PIXEL
    assert result.history["score"].max() == pytest.approx(result.score)
    assert result.plugins["optimizer"]["refined by"]["name"] == "hill-climb"
    assert "refined by hill-climb(n_neighbors=20" in str(result.aligned.meta["history"]).replace("\n", " ")
    assert "coarse-to-fine and hill-climb" in result.summary()


def test_reference_is_cropped_to_what_is_needed(scene, pair):
    wide = simulate.imager(
        scene, center=(60 * u.arcsec, -40 * u.arcsec), shape=(700, 700), scale=PIXEL * u.arcsec,
        observer=pair.target.observer_coordinate, time=pair.target.reference_date,
    )  # fmt: skip
    result = sunalign.align(pair.target, wide, fit=ALL, max_shift=60 * u.arcsec)
    assert result.problem.reference._image.data.size < wide.data.size / 4
    assert corner_error(result.aligned, pair.truth) < 0.1 * PIXEL


def test_progress_is_shown_on_a_bar_like_tqdm(pair):
    class Bar:
        total, postfix, closed = 0, {}, False

        def __init__(self, **_):
            Bar.instance = self

        def update(self, n):
            self.total += n

        def set_postfix(self, refresh, **values):
            self.postfix = values

        def close(self):
            self.closed = True

    result = sunalign.align(pair.target, pair.reference, progress=Bar)
    assert 0 < Bar.instance.total <= result.nfev
    assert "score" in Bar.instance.postfix
    assert Bar.instance.closed


def test_no_overlap_is_an_error_that_tells_both_fields(pair):
    far = pair.target.shift_reference_coord(3000 * u.arcsec, 0 * u.arcsec)
    with pytest.raises(AlignmentError, match="does not cover"):
        sunalign.align(far, pair.reference)


def test_result_survives_json(pair):
    import json

    result = sunalign.align(pair.target, pair.reference, fit=ALL)
    again = sunalign.Correction.from_dict(json.loads(json.dumps(result.to_dict()))["correction"])
    assert again == result.correction


class Plain(sunalign.model.reference_contract.Reference):
    """A reference that does no more than it has to."""

    def __init__(self, image, target):
        self.inner = sunalign.model.reference.ImageReference.of(image, target)
        self.pixel_size = self.inner.pixel_size

    def sample(self, x, y, columns=None):
        return self.inner.sample(x, y, columns)


class PlainBuilder(sunalign.abc.ReferenceBuilder):
    def build(self, references, target):
        return Plain(sunalign.images.to_image(references[0]), target)


def test_a_reference_that_can_only_be_sampled_is_as_good(pair):
    result = sunalign.align(pair.target, pair.reference, fit=ALL, reference_builder=PlainBuilder())
    assert result.success, result.message
    assert corner_error(result.aligned, pair.truth) < 0.1 * PIXEL


def test_a_file_corrected_by_its_own_corrector_tells_how(pair, tmp_path):
    pair.target.save(tmp_path / "target.fits")
    result = sunalign.align(tmp_path / "target.fits", pair.reference, fit="shift", corrector="fits", on_doubt="ignore")
    history = str(fits.getheader(result.aligned)["HISTORY"])
    assert "coarse-to-fine" in history
    assert f"{result.score:.5f}" in history


def test_a_warning_that_is_an_error_is_not_blamed_on_a_plugin(pair):
    target = sunpy.map.Map(
        pair.target.data, {k: v for k, v in pair.target.meta.items() if k not in ("hgln_obs", "hglt_obs", "dsun_obs")}
    )
    with pytest.raises(SunalignUserWarning, match="observer"):
        sunalign.align(target, pair.reference)
