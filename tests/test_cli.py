"""Commands as people type them: what they print, what they write, and their exit codes."""

import json
import os
import re
import shutil
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest

import astropy.units as u
from astropy.io import fits
from astropy.time import Time

import sunpy.map

import sunalign
import sunalign.files.io
from sunalign import simulate
from sunalign.cli import main
from sunalign.files.io import load_correction


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Files of a small raster and its reference."""
    folder = tmp_path_factory.mktemp("files")
    pair = simulate.raster_pair(seed=3, n_steps=32, n_slit=200)
    pair.target.save(folder / "raster.fits")
    pair.reference.save(folder / "imager.fits")
    return folder


@pytest.fixture
def files(saved, tmp_path):
    """A private copy of them, for commands that write beside their input."""
    for name in ("raster.fits", "imager.fits"):
        shutil.copy(saved / name, tmp_path / name)
    return tmp_path


def _align(folder, *options):
    return main(["align", str(folder / "raster.fits"), str(folder / "imager.fits"), "--max-shift", "60arcsec",
                 *map(str, options)])  # fmt: skip


def _usage(capsys, *arguments):
    """What a wrong command line is told."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err


def _error(capsys, *arguments):
    """What a command that fails says: one message, no traceback."""
    assert main([str(argument) for argument in arguments]) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.err.startswith("sunalign: error: ")
    assert said.err.endswith(".\n")
    return said.err


# align


def test_align_prints_the_summary_and_writes_what_was_asked_for(files, capsys):
    before = (files / "raster.fits").read_bytes()
    outputs = {name: files / name for name in ("out.fits", "fig.png", "found.json", "page.html")}
    code = _align(files, "--fit", "shift,scale", "-o", outputs["out.fits"], "--plot", outputs["fig.png"], "--json",
                  outputs["found.json"], "--report", outputs["page.html"])  # fmt: skip
    said = capsys.readouterr()
    assert code == 0
    assert said.err == ""
    expected = sunalign.align(
        files / "raster.fits", files / "imager.fits", fit=("shift", "scale"), max_shift=60 * u.arcsec
    )
    assert said.out.startswith(expected.summary())
    assert all(f"Wrote {path}" in said.out for path in outputs.values())
    assert load_correction(outputs["found.json"]).parameters == expected.correction.parameters
    assert load_correction(files / "page.json").parameters == expected.correction.parameters
    assert outputs["fig.png"].read_bytes().startswith(b"\x89PNG")
    assert (files / "raster.fits").read_bytes() == before
    written, aligned = sunpy.map.Map(outputs["out.fits"]), expected.aligned
    np.testing.assert_allclose(
        [written.reference_coordinate.Tx.value, written.reference_coordinate.Ty.value],
        [aligned.reference_coordinate.Tx.value, aligned.reference_coordinate.Ty.value],
        atol=1e-6,
    )
    history = " ".join(fits.getheader(outputs["out.fits"])["HISTORY"])
    assert "coarse-to-fine" in history


def test_a_doubtful_answer_is_written_and_has_its_own_exit_code(files, capsys):
    assert _align(files, "--max-shift", "12arcsec", "-o", files / "out.fits") == 3
    said = capsys.readouterr()
    assert "DOUBTFUL" in said.out
    assert "ended at a bound" in said.out
    assert (files / "out.fits").exists()


def test_options_reach_the_alignment(files, capsys):
    words = (
        "--fit=shift_x, rotation --bounds=rotation=-1deg,1deg --optimizer=hill-climb --metric=ncc "
        "--reference-builder=image --scaling=log --n-jobs=1 --rng=5 -q"
    )
    options = re.split(" (?=-)", words)
    code = _align(
        files, *options, "--json", files / "found.json", "--set", "n_neighbors=9", "max-iter=2", "min_overlap=0.3"
    )
    assert code in (0, 3)
    capsys.readouterr()
    story = json.loads((files / "found.json").read_text())["extra"]
    assert story["fit"] == ["shift_x", "rotation"]
    assert story["plugins"]["optimizer"]["name"] == "hill-climb"
    assert story["plugins"]["optimizer"]["options"]["n_neighbors"] == 9
    assert story["plugins"]["optimizer"]["options"]["max_iter"] == 2
    assert story["assumptions"]["scaling"].startswith("log")


def test_values_keep_their_type():
    from sunalign._command_line import read_value

    assert read_value("3") == 3
    assert read_value("(1.0, 99)") == (1.0, 99)
    assert read_value("None") is None
    assert read_value("'3'") == "3"
    assert read_value("Nelder-Mead") == "Nelder-Mead"
    assert read_value("2.5arcsec") == 2.5 * u.arcsec


def test_a_progress_bar_on_a_terminal_only(files, capsys, monkeypatch):
    asked = []
    align = sunalign.align
    monkeypatch.setattr(
        "sunalign.alignment.align.align", lambda *a, progress, **k: asked.append(progress) or align(*a, **k)
    )
    _align(files)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _align(files)
    _align(files, "-q")
    assert asked == [False, True, False]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-shift", "60"], "'60' has no unit; write it like 60arcsec"),
        (["--max-shift", "60s"], "'60s' has the wrong unit; write it like 60arcsec"),
        (["--max-shift", "far"], "'far' is not a number with a unit, such as 60arcsec"),
        (["--bounds", "rotation=-1,1"], "rotation is an angle, and has a unit"),
        (["--bounds", "scale_x"], "is not NAME=LOW,HIGH"),
        (["--bounds", "scale_x=1"], "is not NAME=LOW,HIGH"),
        (["--set", "n_neighbors"], "'n_neighbors' is not KEY=VALUE; give files before this option"),
        (["--set", "metric='ncc'"], "metric cannot be given by --set; see 'sunalign align --help'"),
        (["--opt", "hill-climb"], "unrecognized arguments: --opt"),
        (["--optimiser", "hill-climb"], "unrecognized arguments: --optimiser"),
        (["--n-jobs", "many"], "invalid int value: 'many'"),
        (["--plot", "figure.doc"], "--plot is a figure such as before_after.png"),
        (["--report", "page.pdf"], "--report is a page such as report.html"),
        (["--json", "a.html", "--report", "a.html"], "are the same file"),
    ],
)
def test_wrong_usage(saved, capsys, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    said = _usage(capsys, "align", saved / "raster.fits", saved / "imager.fits", *arguments)
    assert words in said
    assert said.startswith("usage: sunalign")
    assert not list(tmp_path.iterdir())


def test_no_command_and_no_reference_are_wrong_usage(saved, capsys):
    assert "COMMAND" in _usage(capsys)
    assert "REFERENCE" in _usage(capsys, "align", saved / "raster.fits")
    assert "invalid choice: 'allign'" in _usage(capsys, "allign")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--optimizer", "hil-climb"], "Did you mean 'hill-climb'?"),
        (["--metric", "nnc"], "Did you mean 'ncc'?"),
        (["--set", "n_neighbours=9", "--optimizer", "hill-climb"], "n_neighbors"),
        (["--set", "coarse=0"], "coarse"),
        (["--fit", "shift,zoom"], "'fit' has no parameter 'zoom'"),
        (["--scaling", "cube"], "'cube'"),
        (["--n-jobs", "0"], "error: --n-jobs is a number of processes"),
        (["--bounds", "scale_x=0.9,1.1"], "Add it to fit"),
        (["--max-shift", "0.01arcsec"], "smaller than a pixel"),
    ],
)
def test_what_the_alignment_refuses_is_an_error(saved, capsys, arguments, words):
    said = _error(capsys, "align", saved / "raster.fits", saved / "imager.fits", *arguments)
    assert words in said


def test_files_that_are_no_images(saved, capsys, tmp_path):
    target, reference = saved / "raster.fits", saved / "imager.fits"
    assert "There is no file" in _error(capsys, "align", "nowhere.fits", reference)
    assert "There is no file" in _error(capsys, "align", target, "nowhere.fits")
    assert "is a directory" in _error(capsys, "align", saved, reference)
    text = tmp_path / "text.fits"
    text.write_text("This is not the file you are looking for.")
    assert "cannot be read as FITS" in _error(capsys, "align", text, reference)
    truncated = tmp_path / "truncated.fits"
    truncated.write_bytes(target.read_bytes()[:20000])
    assert "truncated" in _error(capsys, "align", truncated, reference)


@pytest.mark.parametrize("option", ["-o", "--plot", "--json", "--report"])
def test_an_output_that_exists_is_refused_before_anything_is_computed(files, capsys, monkeypatch, option):
    monkeypatch.setattr("sunalign.alignment.align.align", lambda *a, **k: pytest.fail("It computed."))
    path = files / {"-o": "o.fits", "--plot": "p.png", "--json": "j.json", "--report": "r.html"}[option]
    path.write_text("mine")
    said = _error(capsys, "align", files / "raster.fits", files / "imager.fits", option, path)
    assert f"{path.name} exists" in said
    assert "--overwrite" in said
    assert path.read_text() == "mine"


def test_overwrite_replaces(files, capsys):
    (files / "out.fits").write_text("old")
    assert _align(files, "-o", files / "out.fits", "--overwrite") == 0
    assert (files / "out.fits").read_bytes().startswith(b"SIMPLE")


def test_outputs_that_cannot_be(files, capsys):
    target, reference = files / "raster.fits", files / "imager.fits"
    assert "There is no directory" in _error(capsys, "align", target, reference, "-o", files / "no" / "out.fits")
    assert "is a directory" in _error(capsys, "align", target, reference, "-o", files)
    assert "raster.fits exists" in _error(capsys, "align", target, reference, "-o", target)


def test_debug_shows_the_traceback(saved, capsys):
    assert main(["align", "nowhere.fits", str(saved / "imager.fits"), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_unforeseen_error_has_no_traceback_either(saved, capsys, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("sunalign.alignment.align.align", broken)
    assert "ZeroDivisionError: division by zero. Run it again with --debug" in _error(
        capsys, "align", saved / "raster.fits", saved / "imager.fits"
    )


def test_warnings_of_others_about_odd_headers_are_not_shown(files, capsys):
    with fits.open(files / "raster.fits", mode="update") as hdus:
        hdus[0].header["BUNIT"] = "W/m2/sr/nm"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert _align(files) == 0
    assert capsys.readouterr().err == ""
    assert not caught


# apply and undo


@pytest.fixture(scope="module")
def correction(saved, tmp_path_factory):
    path = tmp_path_factory.mktemp("correction") / "found.json"
    assert _align(saved, "--fit", "shift,rotation", "--json", path) == 0
    return path


def test_apply_then_undo_restores_the_file(files, correction, capsys):
    assert main(["apply", str(correction), str(files / "raster.fits")]) == 0
    assert f"Wrote {files / 'raster_aligned.fits'}" in capsys.readouterr().out
    changed = sunpy.map.Map(files / "raster_aligned.fits")
    original = sunpy.map.Map(files / "raster.fits")
    moved = changed.center.Tx - original.center.Tx
    assert moved.to_value("arcsec") == pytest.approx(load_correction(correction).shift_x.value, abs=0.1)
    assert "found.json" in " ".join(fits.getheader(files / "raster_aligned.fits")["HISTORY"])
    assert main(["undo", str(files / "raster_aligned.fits")]) == 0
    assert (files / "raster_aligned_undone.fits").read_bytes() == (files / "raster.fits").read_bytes()


def test_apply_in_place_and_undo_in_place(files, correction):
    before = (files / "raster.fits").read_bytes()
    assert main(["apply", str(correction), str(files / "raster.fits"), "--in-place"]) == 0
    assert (files / "raster.fits").read_bytes() != before
    assert main(["undo", str(files / "raster.fits"), "--in-place"]) == 0
    assert (files / "raster.fits").read_bytes() == before


def test_apply_to_several_goes_on_after_a_failure(files, correction, capsys):
    assert main(["apply", str(correction), "nowhere.fits", str(files / "raster.fits"), "--suffix", "_new"]) == 1
    said = capsys.readouterr()
    assert "There is no file nowhere.fits" in said.err
    assert (files / "raster_new.fits").exists()


def test_apply_refuses(files, correction, capsys):
    raster = files / "raster.fits"
    (files / "raster_aligned.fits").write_text("mine")
    assert "raster_aligned.fits exists" in _error(capsys, "apply", correction, raster)
    assert "-o names one file" in _usage(capsys, "apply", correction, raster, raster, "-o", files / "a.fits")
    assert "not allowed with" in _usage(capsys, "apply", correction, raster, "-o", "a.fits", "--in-place")
    assert "--suffix is not empty" in _usage(capsys, "apply", correction, raster, "--suffix", "")
    assert "There is no file" in _error(capsys, "apply", files / "no.json", raster)
    (files / "text.json").write_text("text")
    assert "is not JSON" in _error(capsys, "apply", files / "text.json", raster)
    (files / "other.json").write_text("{}")
    assert "holds no correction" in _error(capsys, "apply", files / "other.json", raster)


def test_undo_refuses_what_was_never_corrected(files, capsys):
    assert "no correction to undo" in _error(capsys, "undo", files / "raster.fits")


# raster


def _catalog(monkeypatch, found):
    """Pretend that a directory holds these images, and note what was asked for."""
    asked = {}

    def find_images(directory, start, end, *, detector=None, max_gap=None):
        asked.update(directory=directory, start=start, end=end, detector=detector, max_gap=max_gap)
        return found

    module = types.ModuleType("sunalign.files.catalog")
    module.find_images = find_images
    monkeypatch.setitem(sys.modules, "sunalign.files.catalog", module)
    monkeypatch.setattr(sunalign, "catalog", module, raising=False)
    return asked


def test_raster_asks_for_the_images_of_its_time(files, capsys, monkeypatch):
    pair = simulate.raster_pair(seed=3, n_steps=32, n_slit=200, cadence=60 * u.s)
    pair.target.save(files / "raster.fits", overwrite=True)
    asked = _catalog(monkeypatch, [files / "imager.fits"])
    code = main(["raster", str(files / "raster.fits"), str(files), "--detector", "FSI", "--max-gap", "20min",
                 "--reference-builder", "image", "--max-shift", "60arcsec", "-o", str(files / "out.fits")])  # fmt: skip
    assert code == 0
    assert "1 image for" in capsys.readouterr().out
    assert (asked["directory"], asked["detector"], asked["max_gap"]) == (files, "FSI", 20 * u.min)
    header = fits.getheader(files / "raster.fits")
    assert Time(header["DATE-BEG"]) <= asked["start"] < asked["end"] <= Time(header["DATE-END"])
    assert (files / "out.fits").exists()


def test_raster_finds_the_images_of_a_directory(tmp_path, capsys):
    scene = simulate.Scene(seed=3, extent=(20 * u.deg, 20 * u.deg))
    # From 1 AU, where the observer's own motion does not matter: the header has nothing to say about it.
    error = simulate.PointingError(shift_x=11 * u.arcsec, shift_y=-7 * u.arcsec)
    times = scene.time + np.arange(-12, 13, 6) * u.min
    raster = simulate.raster(
        scene, n_steps=32, n_slit=160, step=4 * u.arcsec, cadence=20 * u.s, start=times[1], error=error, snr=20, rng=1
    )
    raster.target.save(tmp_path / "raster.fits")
    frames = simulate.sequence(scene, times, shape=(80, 80), scale=4 * u.arcsec)
    for number, frame in enumerate(frames):
        frame.save(tmp_path / f"frame_{number}.fits")
    code = main(["raster", str(tmp_path / "raster.fits"), str(tmp_path), "--max-shift", "40arcsec", "--json",
                 str(tmp_path / "found.json"), "-o", str(tmp_path / "out.fits")])  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, said
    assert "synthetic-raster" in said.out
    assert int(said.out.split()[0]) in range(2, len(frames) + 1)
    found = load_correction(tmp_path / "found.json")
    np.testing.assert_allclose(found.shift.to_value("arcsec"), [11, -7], atol=0.5)


def test_raster_passes_errors_on(files, capsys, monkeypatch):
    _catalog(monkeypatch, [])
    assert "list of references is empty" in _error(capsys, "raster", files / "raster.fits", files)
    assert "'20' has no unit; write it like 20min" in _usage(
        capsys, "raster", files / "raster.fits", files, "--max-gap", "20"
    )


# plugins, version, demo


def test_plugins_lists_what_is_installed_and_whose_it_is(capsys, example_plugin):
    assert main(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(
        re.match(r"optimizer +coarse-to-fine +sunalign \S+ +sunalign\.optimizers:CoarseToFine", line) for line in lines
    )
    assert any("example_plugin 0.1" in line or "example-plugin 0.1" in line for line in lines)


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"sunalign {sunalign.__version__}\n"


def test_the_demo_runs_as_a_command(tmp_path, capsys):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-m", "sunalign", "demo", "--out", str(tmp_path / "demo"), "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["before_after.png", "imager.fits", "raster.fits", "raster_aligned.fits"]
    rows = re.findall(r"^ +(shift_x|shift_y|scale_x|scale_y|rotation) +(\S+) +(\S+) ± (\S+)", done.stdout, re.M)
    assert len(rows) == 5
    for _, injected, recovered, error in rows:
        assert abs(float(injected) - float(recovered)) < 6 * float(error)
    assert "holds imager.fits already" in _error(capsys, "demo", "--out", tmp_path / "demo")


def test_the_demo_says_what_the_result_says(tmp_path):
    from sunalign.demo import drawn_error, run_demo

    lines = []
    result = run_demo(tmp_path, seed=2, say=lines.append)
    text = "\n".join(lines)
    assert f"from {result.initial_score:.4f} to {result.score:.4f}" in text
    corrected = sunpy.map.Map(tmp_path / "raster_aligned.fits")
    original = sunpy.map.Map(tmp_path / "raster.fits")
    moved = [
        (new - old).to_value("arcsec")
        for new, old in (
            (corrected.reference_coordinate.Tx, original.reference_coordinate.Tx),
            (corrected.reference_coordinate.Ty, original.reference_coordinate.Ty),
        )
    ]
    error = drawn_error(2)
    np.testing.assert_allclose(moved, [error.shift_x.value, error.shift_y.value], atol=0.3)


def test_the_demo_draws_the_contours_before_and_after(tmp_path):
    """Each panel has contours of its own colour, and they are the same ones, moved by the shift that was injected."""
    from matplotlib.image import imread

    from sunalign.demo import drawn_error, run_demo

    result = run_demo(tmp_path, seed=0, say=lambda line: None)
    path = tmp_path / "before_after.png"
    assert path.stat().st_size < 700_000
    picture = imread(path)[..., :3]
    height, width, _ = picture.shape
    assert (width, height) == (1375, 726)
    assert result.success
    middles = []
    for half, colour in ((picture[:, : width // 2], (1, 0.18, 0.43)), (picture[:, width // 2 :], (0.13, 0.9, 1))):
        drawn = np.abs(half - colour).max(axis=-1) < 0.15
        assert 1000 < np.count_nonzero(drawn) < 0.1 * drawn.size
        middles.append(np.nonzero(drawn)[0].mean())
    # Rows count downwards; some 660 of them show 1120 arcsec.
    shift = drawn_error(0).shift_y.to_value("arcsec")
    assert middles[0] - middles[1] == pytest.approx(shift * 660 / 1120, abs=8)


def test_the_demo_refuses_a_seed_below_zero(capsys, tmp_path):
    assert "seed of the demo is 0 or larger" in _error(capsys, "demo", "--out", tmp_path / "demo", "--seed", "-1")


# Words, and what is refused before the fit


def test_json_of_the_report_is_what_was_asked_for(files, capsys):
    assert _align(files, "--report", files / "r.html", "--json", files / "r.json") == 0
    assert "Wrote" in capsys.readouterr().out
    assert json.loads((files / "r.json").read_text())["extra"]["fit"] == ["shift_x", "shift_y"]
    assert (files / "r.html").exists()


def _closed(folder):
    """A folder where nothing can be created, not even by root."""
    if os.geteuid() == 0:
        return "/sys"
    (folder / "closed").mkdir(mode=0o500)
    return folder / "closed"


@pytest.mark.parametrize(("option", "name"), [("-o", "o.fits"), ("--plot", "p.png"), ("--json", "j.json"),
                                              ("--report", "r.html")])  # fmt: skip
def test_a_closed_folder_is_found_before_the_fit(files, capsys, monkeypatch, option, name):
    monkeypatch.setattr("sunalign.alignment.align.align", lambda *a, **k: pytest.fail("It computed."))
    folder = _closed(files)
    said = _error(capsys, "align", files / "raster.fits", files / "imager.fits", option, f"{folder}/{name}")
    assert f"{name} cannot be written to {folder}, where you may not create files" in said


def test_targets_and_references_are_not_mixed_up(files, capsys):
    target, reference = files / "raster.fits", files / "imager.fits"
    shutil.copy(target, files / "raster_2.fits")
    said = _usage(capsys, "align", target, files / "raster_2.fits", reference)
    assert "raster_2.fits is of the target's instrument" in said
    assert "There is one TARGET: run the command once for each" in said
    assert "is TARGET and among the REFERENCE files" in _usage(capsys, "align", target, target, reference)
    before = reference.read_bytes()
    said = _usage(capsys, "align", target, reference, "-o", reference, "--overwrite")
    assert "-o and REFERENCE are the same file" in said
    assert reference.read_bytes() == before


def test_a_pattern_that_was_not_expanded(files, capsys):
    said = _error(capsys, "align", files / "raster.fits", files / "imag*.fits")
    assert "that is a pattern, which is not expanded here, and 1 file would match it" in said
    assert "without quotes the shell expands it" in said
    (files / "c.json").write_text("{}")
    assert "no files would match" in _error(capsys, "align", files / "rast_*.fits", files / "imager.fits")


def test_windows_that_point_elsewhere_are_corrected_with_the_option_that_is_named(files, capsys):
    with fits.open(files / "raster.fits") as hdus:
        data, header = hdus[0].data, hdus[0].header.copy()
    header["EXTNAME"], other = "LINE", header.copy()
    other["EXTNAME"], other["CRVAL1"] = "OTHER", header["CRVAL1"] + 90 * u.arcsec.to(header["CUNIT1"])
    path = files / "two.fits"
    fits.HDUList([fits.PrimaryHDU(data, header), fits.ImageHDU(data, other)]).writeto(path)
    sunalign.files.io.save_correction(files / "c.json", sunalign.Correction.from_parameters(3 * u.arcsec, 0 * u.arcsec))
    assert main(["apply", str(files / "c.json"), str(path), "-o", str(files / "same.fits")]) == 0
    said = capsys.readouterr().err
    assert "HDU 1 ('OTHER') points elsewhere than HDU 0 ('LINE') and was left as it is" in said
    assert "pass --hdus all to correct it too" in said
    changed = {}
    for words in ("all", "0,OTHER", "OTHER", "1"):
        assert main(["apply", str(files / "c.json"), str(path), "-o", str(files / "o.fits"), "--hdus", words,
                     "--overwrite"]) == 0  # fmt: skip
        assert capsys.readouterr().err == ""
        with fits.open(files / "o.fits") as hdus:
            changed[words] = [hdus[i].header["CRVAL1"] != cards["CRVAL1"] for i, cards in enumerate((header, other))]
    assert changed == {"all": [True, True], "0,OTHER": [True, True], "OTHER": [False, True], "1": [False, True]}
    said = _error(capsys, "apply", files / "c.json", path, "-o", files / "n.fits", "--hdus", "7")
    assert "two.fits has no HDU 7; it has 0 ('LINE'), 1 ('OTHER')" in said
    assert "is not a number of pixels above 0" in _usage(capsys, "apply", files / "c.json", path, "--tolerance", "0")
    assert "is not same-pointing, all, or a list" in _usage(capsys, "apply", files / "c.json", path, "--hdus", ",")


@pytest.mark.parametrize("cards", [{"CDELT1": 0.0}, {"CDELT2": 0.0}])
def test_a_pixel_size_of_0_is_told_by_every_command(files, capsys, cards):
    with fits.open(files / "raster.fits", mode="update") as hdus:
        hdus[0].header.update(cards)
    sunalign.files.io.save_correction(files / "c.json", sunalign.Correction.from_parameters(3 * u.arcsec, 0 * u.arcsec))
    words = f"has {next(iter(cards))} = 0"
    assert words in _error(capsys, "align", files / "raster.fits", files / "imager.fits")
    assert words in _error(capsys, "align", files / "imager.fits", files / "raster.fits")
    assert words in _error(capsys, "apply", files / "c.json", files / "raster.fits")
    assert words in _error(capsys, "raster", files / "raster.fits", files)


def test_frames_left_out_are_told_in_whole_words(files, capsys):
    (files / "cut.fits").write_bytes((files / "imager.fits").read_bytes()[:20000])
    words = ["--max-shift", "60arcsec", "--set", "solar_rotation=none", "max_time_difference=5h"]
    named = [str(files / name) for name in ("raster.fits", "imager.fits", "cut.fits")]
    assert main(["align", *named, *words]) in (0, 3)
    said = capsys.readouterr().err
    size = (files / "imager.fits").stat().st_size
    assert f"cut.fits (truncated: 20000 of {size} bytes are there). Fetch it again, or leave it away." in said
