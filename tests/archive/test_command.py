"""``sunalign archive`` and ``sunalign manifest`` as people type them."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sunalign
from sunalign.archive import read_manifest, read_results
from sunalign.archive.command import _terminated
from sunalign.cli import main

PRESETS = "default: {fit: shift, max_shift: 60arcsec}\n"


@pytest.fixture
def command(archive, capsys):
    (archive.folder / "presets.yaml").write_text(PRESETS)

    def run(*options):
        words = [
            "archive",
            archive.manifest,
            "--out",
            archive.out,
            "--presets",
            archive.folder / "presets.yaml",
            *options,
        ]
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def test_all_done(archive, command):
    code, out, err = command("--n-jobs", "1")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["5 done", f"Wrote {archive.out / 'results.ecsv'} and {archive.out / 'index.html'}"]
    assert set(read_results(archive.out)["state"]) == {"done"}
    assert (archive.out / "trend.ecsv").exists()
    assert len(list((archive.out / "corrected").iterdir())) == 5


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["doubtful"], 3),
        (["no-reference"], 4),
        (["doubtful", "no-reference"], 4),
        (["failed"], 1),
        (["doubtful", "no-reference", "failed"], 1),
    ],
)
def test_the_exit_code_is_that_of_the_worst(archive, command, states, code):
    del archive.rows[1:]
    for state in states:
        archive.rows.append({"id": state, "target": "t0.fits", "references": "r0.fits"})
        if state == "no-reference":
            archive.rows[-1]["references"] = "nowhere.fits"
        else:
            archive.rows[-1]["target"] = {"doubtful": "other.fits", "failed": "nowhere.fits"}[state]
    archive.write()
    found, out, _ = command()
    assert found == code
    for state in states:
        assert re.search(rf"^{state}: {state}\. \w", out, re.M)
    assert "1 done" in out
    # The same again although nothing is done; but for those that were good alone.
    assert command()[0] == code
    assert command("--task", "t0")[0] == 0
    assert command("--report")[0] == code


def test_looking_does_nothing(archive, command):
    code, out, _ = command("--dry-run")
    assert code == 0
    assert out.splitlines() == [
        *(f"t{k}: new" for k in range(5)),
        f"{archive.manifest} is sound: 5 tasks, 5 to be done, 0 as they should be.",
    ]
    assert not archive.out.exists()
    code, out, _ = command("--list")
    assert [line.split("\t") for line in out.splitlines()] == [
        [f"t{k}", "waiting", str(archive.folder / f"t{k}.fits")] for k in range(5)
    ]
    assert not archive.out.exists()
    command("--shard", "1/2")
    shutil.copy(archive.folder / "t3.fits", archive.folder / "t2.fits")
    (archive.out / "corrected" / "t0.fits").unlink()
    before = archive.written()
    code, out, _ = command("--list")
    assert [line.split("\t")[1] for line in out.splitlines()] == ["done", "waiting", "waiting", "waiting", "done"]
    code, out, _ = command("--dry-run", "--retry", "done")
    assert out.splitlines()[:-1] == ["t0: retry done", "t1: new", "t2: changed: t2.fits", "t3: new", "t4: retry done"]
    assert "t0: corrected is missing" in command("--dry-run")[1]
    assert archive.written() == before


@pytest.mark.skipif(os.name == "nt", reason="Pipes of Windows do not break.")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_has_to_read_to_the_end(archive, unbuffered):
    paths = [str(Path(sunalign.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    words = [sys.executable, "-m", "sunalign", "archive", archive.manifest, "--out", archive.out, "--dry-run"]
    with subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_task_at_a_time_as_make_does_it(archive, command):
    _, listed, _ = command("--list")
    for line in listed.splitlines():
        code, out, _ = command("--task", line.split("\t")[0])
        assert (code, out) == (0, "1 done\n")
    assert not (archive.out / "index.html").exists()
    before = archive.written()
    code, out, _ = command("--report")
    assert (code, out.splitlines()[0]) == (0, "5 done")
    assert (archive.out / "index.html").exists()
    assert archive.written() == before


def test_what_is_not_wanted_is_not_written(archive, command):
    command(
        "--no-corrected", "--no-thumbnails", "--no-pages", "--keyword", "EXPTIME", "--keyword", "XPOSURE", "--checksum"
    )
    assert {Path(name).parts[0] for name in archive.written()} == {"tasks"}
    table = read_results(archive.out)
    np.testing.assert_array_equal(table["XPOSURE"], 10.0)
    assert np.isnan(table["EXPTIME"]).all()


def test_faults_of_the_manifest_are_told_before_anything_is_done(archive, command):
    archive.rows[1]["max_shift"] = "60"
    archive.rows[3]["fit"] = "zoom"
    archive.write()
    code, out, err = command()
    assert (code, out) == (1, "")
    assert err.splitlines()[0] == f"sunalign: error: {archive.manifest} has 2 faults; nothing was run."
    assert err.splitlines()[1].startswith("  row 2 (t1): 'max_shift'")
    assert err.splitlines()[2].startswith("  row 4 (t3): 'fit' has no parameter 'zoom'")
    assert not archive.out.exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--retry", "faild"], 2, "--retry has the state 'faild'; choose among done, doubtful"),
        (["--task", "t9"], 2, "has no task 't9'"),
        (["--shard", "3"], 2, "--shard is i/n with i from 1 to n"),
        (["--shard", "0/3"], 2, "--shard is i/n with i from 1 to n"),
        (["--shard", "4/3"], 2, "--shard is i/n with i from 1 to n"),
        (["--n-jobs", "0"], 1, "--n-jobs is a number of processes, 1 or more, or -1"),
        (["--timeout", "0s"], 1, "--timeout is a number of seconds above 0"),
        (["--timeout", "inf s"], 1, "--timeout is a number of seconds above 0"),
        (["--timeout", "10"], 2, "'10' has no unit; write it like 1020min"),
        (["--dask", "tcp://a:1", "--n-jobs", "2"], 2, "not allowed with argument"),
        (["--list", "--dry-run"], 2, "not allowed with argument"),
    ],
)
def test_wrong_usage(archive, command, capsys, options, code, words):
    if code == 2:
        with pytest.raises(SystemExit) as stop:
            command(*options)
        assert stop.value.code == 2
        assert words.replace("1020min", "10") in capsys.readouterr().err
    else:
        found, _, err = command(*options)
        assert found == code
        assert words in err
    assert not archive.out.exists()


def test_a_dry_run_names_what_is_not_there_and_what_is_left_over(archive, command):
    assert command()[0] == 0
    (archive.folder / "t0.fits").unlink()
    (archive.folder / "r1.fits").unlink()
    archive.rows = archive.rows[:3]
    archive.write()
    code, out, _ = command("--dry-run")
    assert code == 0
    assert out.splitlines() == [
        f"t0: changed: t0.fits (no target: there is no file {archive.folder / 't0.fits'})",
        f"t1: changed: r1.fits (no reference: There is no file {archive.folder / 'r1.fits'}.)",
        f"{archive.manifest} is sound: 3 tasks, 2 to be done, 1 as they should be.",
        f"{archive.out} also has the files of 2 tasks that the manifest has not: t3, t4.",
    ]


def test_a_second_signal_is_for_whoever_had_it_before():
    told = []
    own = signal.signal(signal.SIGTERM, lambda *_: told.append("second"))
    try:
        with _terminated():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            assert told == []
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, own)
    assert told == ["second"]


def test_many_bad_ones_are_not_all_told(archive, command):
    archive.rows = [{"id": f"x{k}", "target": "nowhere.fits", "references": "r0.fits"} for k in range(30)]
    archive.write()
    code, out, _ = command()
    assert code == 1
    assert len(out.splitlines()) == 23
    assert out.splitlines()[20] == f"... and 10 more; {archive.out / 'index.html'} has all"
    assert out.splitlines()[21] == "30 failed"


# sunalign manifest


def test_a_manifest_from_two_directories(archive, capsys):
    targets, images = archive.folder / "targets", archive.folder / "images"
    for folder, letter in ((targets, "t"), (images, "r")):
        folder.mkdir()
        for k in range(5):
            shutil.move(archive.folder / f"{letter}{k}.fits", folder / f"{letter}{k}.fits")
    manifest = archive.folder / "made.ecsv"
    assert main(["manifest", str(targets), str(images), "-o", str(manifest), "--max-gap", "10min"]) == 0
    assert capsys.readouterr().out == f"Wrote {manifest}: 5 tasks\n"
    for k, task in enumerate(read_manifest(manifest)):
        assert (task.id, task.target) == (f"t{k}", str(targets / f"t{k}.fits"))
        assert task.references == (str(images / f"r{k}.fits"),)
    assert main(["manifest", str(targets), str(images), "-o", str(manifest)]) == 1
    assert "made.ecsv exists" in capsys.readouterr().err
    assert main(["manifest", str(targets), str(images), "-o", str(manifest), "--overwrite", "--nearest"]) == 0
    with pytest.raises(SystemExit):
        main(["manifest", str(targets), str(images), "-o", "m.txt"])
    assert "A manifest is a table such as manifest.ecsv" in capsys.readouterr().err


# sunalign demo --archive


def test_the_demo_has_one_doubtful_and_one_broken_and_is_right_about_the_others(tmp_path, capsys):
    from sunalign.archive import simulate_archive

    assert main(["demo", "--archive", "--out", str(tmp_path / "demo"), "--seed", "1"]) == 0
    out = capsys.readouterr().out
    table = read_results(tmp_path / "demo" / "out")
    states = [str(state) for state in table["state"]]
    assert sorted(states) == ["done"] * 10 + ["doubtful", "failed"]
    truth = simulate_archive(tmp_path / "again", seed=1)
    for row, true in zip(table, truth, strict=True):
        assert row["id"] == true["id"]
        if row["state"] == "done":
            for name in ("shift_x", "shift_y"):
                assert abs(row[name].value - true[name]) < 5 * row[f"{name}_error"].value
        assert re.search(rf"{row['id']} +{row['state']} ", out)
    assert str(table["T_GRAT"].unit) == "deg_C"
    assert main(["demo", "--archive", "--out", str(tmp_path / "demo")]) == 1
    assert "holds manifest.ecsv already" in capsys.readouterr().err
    assert main(["demo", "--archive", "--seed", "-1", "--out", str(tmp_path / "no")]) == 1
    assert "seed of the demo is 0 or larger" in capsys.readouterr().err
