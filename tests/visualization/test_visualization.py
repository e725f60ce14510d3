"""Figures are judged by what is in them: artists, labels, data, places."""

import subprocess
import sys
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from PIL import Image as Picture
from scipy.ndimage import map_coordinates

import astropy.units as u
from astropy.visualization.wcsaxes import WCSAxes

import sunalign
from sunalign import simulate
from sunalign.model.reference_contract import Reference
from sunalign.visualization import blink, plot_alignment, plot_residual
from sunalign.visualization.axes import corrected_wcs, off_screen, plain_wcs

ALL = ("shift", "scale", "rotation")


@pytest.fixture(scope="module")
def pair():
    return simulate.raster_pair(seed=3, n_steps=32, n_slit=200)


def _aligned(pair, **options):
    options = {"fit": ALL, "max_shift": 60 * u.arcsec, "on_doubt": "ignore"} | options
    return sunalign.align(pair.target, pair.reference, **options)


@pytest.fixture(scope="module")
def result(pair):
    return _aligned(pair)


@pytest.fixture(scope="module")
def climbed(pair):
    return _aligned(pair, optimizer="hill-climb", max_iter=5)


def _named(ax, gid):
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


def _contours(ax, when):
    (found,) = _named(ax, f"contours {when}")
    assert isinstance(found, ContourSet)
    return found


def _unevenness(ax, when):
    """How much the reference varies along the contours: little where they follow its structure."""
    image = np.asarray(ax.images[0].get_array())
    spread = []
    for path in _contours(ax, when).get_paths():
        x, y = path.vertices.T
        seen = map_coordinates(image, [y, x], order=1, cval=np.nan)
        spread.append(np.nanstd(seen))
    return np.mean(spread)


def test_plot_shows_the_reference_with_contours_before_and_after(result, tmp_path):
    figure = result.plot()
    before, after = figure.axes
    for ax, when in ((before, "before"), (after, "after")):
        assert isinstance(ax, WCSAxes)
        assert len(ax.images) == 1
        assert len(_contours(ax, when).levels) == 2
        assert when in ax.get_title()
    assert f"{result.score:.3f}" in after.get_title()
    assert f"{result.initial_score:.3f}" in before.get_title()
    assert before.coords[0].get_axislabel() == "Solar X [arcsec]"
    assert before.coords[1].get_axislabel() == "Solar Y [arcsec]"
    assert before.get_xlim() == after.get_xlim()
    assert before.get_ylim() == after.get_ylim()
    figure.savefig(tmp_path / "plot.png")


def test_contours_follow_the_reference_better_after_than_before(result):
    before, after = result.plot().axes
    assert _unevenness(after, "after") < 0.7 * _unevenness(before, "before")


def test_the_outline_moves_by_the_correction(result):
    before, after = result.plot().axes
    ((old,), (new,)) = (_named(ax, f"outline {when}") for ax, when in ((before, "before"), (after, "after")))
    corners = [np.array(line.get_data()) for line in (old, new)]
    # The mean of the ends of the sides is the centre, which only the shift moves.
    moved = (corners[1][:, [0, 33, 66, 99]] - corners[0][:, [0, 33, 66, 99]]).mean(axis=1) * 4.44
    np.testing.assert_allclose(moved, result.correction.shift.to_value("arcsec"), atol=0.2)


def test_no_text_of_a_plot_overlaps_another(result):
    with off_screen():
        figure = result.plot()
    figure.draw_without_rendering()
    texts = [figure._suptitle, *(ax.title for ax in figure.axes)]
    boxes = [text.get_window_extent() for text in texts]
    assert not any(boxes[i].overlaps(boxes[j]) for i in range(3) for j in range(i))


def test_axes_of_ones_own(result):
    figure = plt.figure()
    ax = figure.add_subplot(projection=result.reference.image())
    assert result.plot(axes=ax) is figure
    assert _contours(ax, "before")
    assert _contours(ax, "after")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["before", "after"]
    pair = [plt.figure().add_subplot(projection=result.reference.image()) for _ in range(2)]
    result.plot(axes=pair, annotate=False)
    assert _contours(pair[1], "after")
    assert not _named(pair[1], "contours before")
    assert pair[0].get_title() == ""


def test_a_figure_of_ones_own(result):
    figure = Figure()
    assert result.plot(fig=figure) is figure
    assert result.plot_history(fig=Figure()).axes
    assert result.plot_residual(fig=Figure()).axes


@pytest.mark.parametrize("make", [lambda: plt.figure().add_subplot(), lambda: "an axis", list])
def test_axes_without_coordinates_are_refused(result, make):
    with pytest.raises(TypeError, match="WCSAxes"):
        result.plot(axes=make())


def test_a_reference_without_a_picture_is_sampled(result):
    class Bare(Reference):
        def sample(self, x, y, columns=None):
            return result.reference.sample(x, y, columns)

    before, after = plot_alignment(replace(result, reference=Bare())).axes
    assert before.images[0].get_array().shape == result.target.data.shape
    assert _unevenness(after, "after") < _unevenness(before, "before")


def test_the_working_grid_may_be_the_reference(pair):
    result = _aligned(pair, fit="shift", working_grid="reference")
    np.testing.assert_allclose(result.correction.shift.to_value("arcsec"), [17.3, -9.6], atol=0.5)
    before, after = result.plot().axes
    assert _unevenness(after, "after") < _unevenness(before, "before")
    result.plot_residual()


def test_residual(result, tmp_path):
    figure = result.plot_residual()
    model, target, left = figure.axes[:3]
    assert [ax.get_title().partition(":")[0] for ax in (model, target, left)] == ["reference", "target", "residual"]
    shown = [np.ma.filled(ax.images[0].get_array(), np.nan) for ax in (model, target, left)]
    assert {values.shape for values in shown} == {result.problem.target.data.shape}
    np.testing.assert_array_equal(shown[2], shown[1] - shown[0])
    # Gain and offset are fitted: nothing on average, and nothing that looks like the reference.
    assert abs(np.nanmean(shown[2])) < 1e-6
    assert np.nanstd(shown[2]) < 0.5 * np.nanstd(shown[1])
    assert left.images[0].norm.vmin == -left.images[0].norm.vmax
    assert model.images[0].norm.vmin == target.images[0].norm.vmin
    bars = [ax.get_ylabel() for ax in figure.axes[3:]]
    assert bars == ["Intensity (sqrt)", "Target - reference (sqrt)"]
    # Pixels are 6 by 1.098 arcsec, times the scales that were found.
    assert model.get_aspect() == pytest.approx(1.098 / 6, rel=0.01)
    figure.savefig(tmp_path / "residual.png")


def test_residual_wants_three_axes(result):
    with pytest.raises(TypeError, match="'axes' is 3 WCSAxes"):
        plot_residual(result, axes=plt.figure().add_subplot())


def test_history_has_a_panel_for_what_belongs_together(climbed, tmp_path):
    figure = climbed.plot_history()
    panels = figure.axes[:-1]
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in panels] == [
        ("Shift x [arcsec]", "Shift y [arcsec]"),
        ("Scale x", "Scale y"),
        ("Rotation [deg]", "Score"),
    ]
    assert figure.axes[-1].get_ylabel() == "Score"
    dots = panels[0].collections[0]
    assert len(dots.get_offsets()) == len(climbed.history)
    np.testing.assert_allclose(np.sort(dots.get_array()), np.sort(climbed.history["score"]))
    assert f"{len(climbed.history)} trials" in figure.get_suptitle()
    figure.savefig(tmp_path / "history.png")


def test_trials_without_overlap_are_set_apart(climbed):
    history = climbed.history.copy()
    history["score"][::3] = -np.inf
    figure = replace(climbed, history=history).plot_history()
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["too little overlap", "start", "answer"]


@pytest.mark.parametrize("against", ["evaluation", "iteration"])
def test_convergence_never_falls(climbed, against, tmp_path):
    figure = climbed.plot_convergence(against=against)
    (ax,) = figure.axes
    lines = {line.get_label().partition(" 0")[0]: line for line in ax.lines}
    best = lines["best so far"].get_ydata()
    assert (np.diff(best) >= 0).all()
    assert best[-1] == pytest.approx(climbed.score)
    assert len(lines["score"].get_ydata()) == len(climbed.history)
    assert ax.get_xlabel().startswith(against.capitalize())
    assert ax.get_ylabel() == "Score (ncc)"
    figure.savefig(tmp_path / "convergence.png")


def test_convergence_counts_evaluations_or_iterations(result):
    with pytest.raises(ValueError, match="'against' is 'evaluation' or 'iteration'"):
        result.plot_convergence(against="time")


def test_surface_shows_peak_answer_and_ellipses(result, tmp_path):
    figure = result.plot_surface()
    ax, bar = figure.axes
    (mesh,) = [artist for artist in ax.collections if isinstance(artist, QuadMesh)]
    assert mesh.get_array().max() == pytest.approx(np.max(result.surface.scores))
    assert bar.get_ylabel() == "Correlation (ncc)"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Shift x [arcsec]", "Shift y [arcsec]")
    marks = {line.get_label(): np.ravel(line.get_data()) for line in ax.lines}
    np.testing.assert_allclose(marks["answer"], result.correction.shift.to_value("arcsec"))
    np.testing.assert_allclose(marks["peak"], marks["answer"], atol=6)
    (inset,) = ax.child_axes
    for panel in (ax, inset):
        assert len([patch for patch in panel.patches if isinstance(patch, Ellipse)]) == 3
    figure.savefig(tmp_path / "surface.png")


def test_ellipses_are_those_of_the_covariance(result):
    ax = result.plot_surface().axes[0]
    (one,), (three,) = _named(ax, "1 sigma"), _named(ax, "3 sigma")
    values = np.linalg.eigvalsh(result.correction.covariance[:2, :2])
    np.testing.assert_allclose([one.height, one.width], 2 * np.sqrt(values))
    np.testing.assert_allclose(three.width, 3 * one.width)


def test_one_free_shift_gives_a_curve(pair, tmp_path):
    result = _aligned(pair, fit="shift_x")
    for number, figure in enumerate(
        (result.plot(), result.plot_history(), result.plot_convergence(), result.plot_surface(), result.plot_residual())
    ):
        figure.savefig(tmp_path / f"{number}.png")
    (ax,) = result.plot_surface().axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Shift x [arcsec]", "Correlation (ncc)")
    assert result.plot_history().axes[0].get_ylabel() == "Score"


def test_without_a_free_shift_there_is_no_surface(pair):
    result = _aligned(pair, fit="scale_x", start={"shift_x": 17.3 * u.arcsec, "shift_y": -9.6 * u.arcsec})
    (ax,) = result.plot_surface().axes
    assert "No shift was free" in ax.texts[0].get_text()
    assert result.plot_history().axes[0].get_xlabel() == "Scale x"


def test_an_empty_history_and_unknown_errors_are_drawn_too(result, tmp_path):
    bare = replace(
        result, history=result.history[:0], correction=replace(result.correction, errors={}, covariance=None)
    )
    for number, figure in enumerate((bare.plot_history(), bare.plot_convergence(), bare.plot_surface())):
        figure.savefig(tmp_path / f"{number}.png")
    assert not [patch for patch in bare.plot_surface().axes[0].patches if isinstance(patch, Ellipse)]


def test_blink_alternates_between_target_and_reference(result, tmp_path):
    path = tmp_path / "blink.gif"
    result.blink(path)
    with Picture.open(path) as picture:
        assert picture.n_frames == 2
        assert picture.info["duration"] == 700
        first = np.asarray(picture.convert("L"), float)
        picture.seek(1)
        second = np.asarray(picture.convert("L"), float)
    assert 1 < np.abs(first - second).mean() < 60


def test_blink_without_a_path_is_an_animation(result):
    animation = blink(result)
    assert animation._interval == 700
    animation._draw_was_started = True  # matplotlib warns of animations that nobody looked at.


def test_blink_never_replaces_a_file_unasked(result, tmp_path):
    path = tmp_path / "blink.gif"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"blink\.gif exists"):
        blink(result, path)
    assert path.read_text() == "mine"
    blink(result, path, overwrite=True)
    assert path.read_bytes().startswith(b"GIF")
    assert list(tmp_path.iterdir()) == [path]


def test_blink_is_a_gif(result, tmp_path):
    with pytest.raises(ValueError, match=r"name it like blink\.gif"):
        blink(result, tmp_path / "blink.mp4")


def test_ticks_are_where_the_pixels_are(result):
    grid = result.problem.target.grid
    x, y = np.array([0, 31, 10.0]), np.array([0, 20, 159.0])
    plain = np.radians(plain_wcs(grid).wcs_pix2world(x, y, 0))
    np.testing.assert_allclose((np.array(plain) + np.pi) % (2 * np.pi) - np.pi, grid.angles(x, y), atol=1e-11)
    moved = corrected_wcs(grid, result.correction).wcs_pix2world(x, y, 0)
    true = result.aligned.wcs.celestial.wcs_pix2world(x + grid.to_base[0], y + grid.to_base[2], 0)
    np.testing.assert_allclose(np.array(moved) * 3600, np.array(true) * 3600, atol=2e-3)


def test_no_observer_is_no_obstacle(pair):
    def without(image):
        gone = ("dsun_obs", "hgln_obs", "hglt_obs", "crln_obs", "crlt_obs")
        return image.data, {k: v for k, v in image.meta.items() if k not in gone}

    result = sunalign.align(without(pair.target), without(pair.reference), max_shift=60 * u.arcsec, on_doubt="ignore")
    assert _contours(result.plot().axes[1], "after")
    result.plot_residual()


def test_importing_the_package_does_not_import_the_figures():
    code = (
        "import sys, sunalign; "
        "print([m for m in ('visualization', 'report', 'cli', 'demo', 'simulate') if 'sunalign.' + m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
