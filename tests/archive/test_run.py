"""What a run does, and what the next one does not do again."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astropy.units as u
from astropy.io import fits
from astropy.table import QTable

import sunpy.map

import sunalign
from sunalign.archive import read_manifest, read_results
from sunalign.archive._manifest import Task
from sunalign.archive._plan import chosen_shard
from sunalign.archive._store import Store
from sunalign.exceptions import AlignmentError, ArchiveError
from sunalign.files.io import load_correction, undo_file


def test_every_task_is_what_align_finds(archive):
    table = archive.run()
    assert archive.states(table) == dict.fromkeys([f"t{k}" for k in range(5)], "done")
    for row in table:
        target, reference = archive.folder / f"{row['id']}.fits", archive.folder / f"r{row['id'][1:]}.fits"
        expected = sunalign.align(target, reference, fit="shift", max_shift=60 * u.arcsec)
        assert row["shift_x"] == expected.correction.shift_x
        assert row["shift_y_error"] == expected.correction.error("shift_y")
        assert row["score"] == expected.score
        assert row["peak_significance"] == expected.quality.peak_significance
        assert load_correction(archive.out / "tasks" / f"{row['id']}.json") == expected.correction


def test_the_table_has_units_and_can_be_read_again(archive):
    table = archive.run()
    again = read_results(archive.out)
    assert isinstance(again, QTable)
    assert again.colnames == table.colnames
    assert again["shift_x"].unit == u.arcsec
    assert again["distance"].unit == u.AU
    np.testing.assert_array_equal(again["shift_x_error"], table["shift_x_error"])
    assert list(again["date"].isot) == [f"2024-10-{10 + k}T00:00:00.000" for k in range(5)]
    assert np.isnan(again["rotation_error"]).all()


def test_corrected_files_are_corrected_and_can_be_undone(archive):
    table = archive.run()
    for row in table:
        corrected, original = archive.out / row["corrected"], archive.folder / f"{row['id']}.fits"
        moved = sunpy.map.Map(corrected).center.Tx - sunpy.map.Map(original).center.Tx
        assert abs(moved - row["shift_x"]) < 0.01 * u.arcsec
        assert f"archive task {row['id']}" in " ".join(fits.getheader(corrected)["HISTORY"])
        undo_file(corrected, archive.folder / "undone.fits", overwrite=True)
        assert (archive.folder / "undone.fits").read_bytes() == original.read_bytes()


def test_run_again_nothing_is_done(archive):
    first = archive.run()
    before = archive.written()
    second = archive.run()
    assert archive.written() == before
    for name in first.colnames:
        assert str(first[name]) == str(second[name])


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda a: os.utime(a.folder / "t1.fits"), {"t1"}),
        (lambda a: os.utime(a.folder / "r3.fits"), {"t3"}),
        (lambda a: (a.folder / "t1.fits").write_bytes((a.folder / "t2.fits").read_bytes()), {"t1"}),
        (lambda a: a.rows[2].update(max_shift="50arcsec") or a.write(), {"t2"}),
        (lambda a: a.write(scaling="log"), {"t0", "t1", "t2", "t3", "t4"}),
        (lambda a: (a.out / "corrected" / "t4.fits").unlink(), {"t4"}),
        (lambda a: (a.out / "corrected" / "t4.fits").write_bytes(b""), {"t4"}),
        (lambda a: os.truncate(a.out / "corrected" / "t2.fits", 2880), {"t2"}),
        (lambda a: (a.out / "tasks" / "t0.json").write_text('{"format": "sunalign cor'), {"t0"}),
        (lambda a: (a.out / "tasks" / "t0.json").unlink(), {"t0"}),
        (lambda a: a.rows[0].update(max_shift="1arcmin") or a.write(), set()),
        (lambda a: a.rows.reverse() or a.write(), set()),
    ],
    ids=[
        "target touched",
        "reference touched",
        "target replaced",
        "option of a row",
        "option of all",
        "output gone",
        "output empty",
        "output cut off",
        "record torn",
        "record gone",
        "the same in other words",
        "order of the rows",
    ],
)
def test_what_changed_is_done_again_and_nothing_else(archive, change, again):
    archive.run(thumbnails=False, pages=False)
    before = archive.written()
    change(archive)
    states = archive.states(archive.run(thumbnails=False, pages=False))
    # What t2 shows is not in the image for t1.
    assert {name for name, state in states.items() if state != "done"} <= {"t1"}
    after = archive.written()
    done = {Path(name).stem for name in after if before.get(name) != after[name]}
    assert done == again


def test_another_version_does_all_again(archive, monkeypatch):
    archive.run(report=False)
    before = archive.written()
    monkeypatch.setattr(sunalign, "__version__", "99.0")
    archive.run(report=False)
    assert all(before[name] != time for name, time in archive.written().items())


def test_an_archive_may_move(archive, tmp_path):
    archive.run()
    shutil.copytree(
        archive.folder, tmp_path / "elsewhere", copy_function=shutil.copy2, ignore=shutil.ignore_patterns("elsewhere")
    )
    archive.folder, archive.out = tmp_path / "elsewhere", tmp_path / "elsewhere" / "out"
    archive.manifest = archive.folder / "manifest.csv"
    before = archive.written()
    archive.run()
    assert archive.written() == before


def test_checksums_see_through_a_copy_that_mtime_does_not(archive):
    for path in archive.folder.glob("*.fits"):
        with fits.open(path, mode="update") as hdus:
            for hdu in hdus:
                hdu.add_datasum()
    archive.run(inputs="checksum")
    before = archive.written()
    for path in archive.folder.glob("*.fits"):
        os.utime(path)
    archive.run(inputs="checksum")
    assert archive.written() == before
    with fits.open(archive.folder / "t3.fits", mode="update") as hdus:
        hdus[0].header["CRVAL1"] += 1 / 3600
    archive.run(inputs="checksum")
    after = archive.written()
    assert {Path(name).stem for name in after if before[name] != after[name]} == {"t3"}


# States.


def test_one_bad_file_of_each_kind_does_not_keep_the_others(archive):
    bad = {
        "absent": "failed",
        "truncated": "failed",
        "empty": "failed",
        "text": "failed",
        "table": "failed",
        "directory": "failed",
        "other": "doubtful",
        "alone": "no-reference",
    }
    folder = archive.folder
    (folder / "truncated.fits").write_bytes((folder / "t0.fits").read_bytes()[:9000])
    (folder / "empty.fits").touch()
    (folder / "text.fits").write_text("No FITS file.")
    fits.BinTableHDU.from_columns([fits.Column("a", "D", array=[1.0])]).writeto(folder / "table.fits")
    (folder / "directory.fits").mkdir()
    shutil.copy(folder / "t0.fits", folder / "alone.fits")
    archive.rows += [{"id": name, "target": f"{name}.fits", "references": "r0.fits"} for name in bad]
    archive.rows[-1]["references"] = "r0.fits; nowhere.fits"
    archive.write()
    table = archive.run()
    assert archive.states(table) == {f"t{k}": "done" for k in range(5)} | bad
    said = {row["id"]: (row["error"], row["message"]) for row in table}
    assert said["absent"] == ("ImageError", f"There is no file {folder / 'absent.fits'}.")
    assert "truncated" in said["truncated"][1]
    assert said["directory"][1].endswith("is a directory; give one FITS file of it.")
    assert said["alone"] == ("", f"There is no file {folder / 'nowhere.fits'}.")
    assert "significance" in said["other"][1]
    # Known by now; only what changed is done again.
    before = archive.written()
    archive.run()
    assert archive.written() == before
    shutil.copy(folder / "r0.fits", folder / "nowhere.fits")
    archive.rows[-1]["references"] = "nowhere.fits"
    archive.write()
    assert archive.states(archive.run())["alone"] == "done"


def test_a_doubtful_answer_gets_no_corrected_file_and_loses_an_old_one(archive):
    archive.run()
    assert (archive.out / "corrected" / "t0.fits").exists()
    shutil.copy(archive.folder / "other.fits", archive.folder / "t0.fits")
    table = archive.run()
    assert archive.states(table)["t0"] == "doubtful"
    assert not (archive.out / "corrected" / "t0.fits").exists()
    assert table["corrected"][0] == ""
    # Whoever has looked at it can accept it.
    correction = load_correction(archive.out / "tasks" / "t0.json")
    assert correction.shift_x == table["shift_x"][0]
    (archive.folder / "t0.fits").unlink()
    table = archive.run()
    assert archive.states(table)["t0"] == "failed"
    assert not (archive.out / "thumbnails" / "t0.jpg").exists()
    assert not (archive.out / "pages" / "t0.html").exists()
    assert np.isnan(table["shift_x"][0])


def test_what_was_done_and_fails_when_it_is_done_again_keeps_its_corrected_file(archive, monkeypatch):
    archive.run()
    copy = archive.out / "corrected" / "t1.fits"
    before = copy.read_bytes()

    def fail(*_, **__):
        raise RuntimeError("No memory.")

    with monkeypatch.context() as patched:
        patched.setattr(sunalign, "align", fail)
        for retry in ("done", "failed"):
            table = archive.run(retry=retry)
            assert set(table["state"]) == {"failed"}
            assert table["message"][1] == "No memory. The corrected copy of before is still there."
            assert copy.read_bytes() == before
            assert table["corrected"][1] == "corrected/t1.fits"
        # Of another file it would be the wrong one.
        os.utime(archive.folder / "t1.fits")
        assert archive.run()["corrected"][1] == ""
    assert [path.name for path in (archive.out / "corrected").iterdir() if path == copy] == []
    assert set(archive.run(retry="failed")["state"]) == {"done"}


def test_it_says_why_what_another_run_did_does_not_count(archive):
    archive.run()
    archive.write(scaling="log")
    table = archive.run(task="t0")
    assert list(table["state"]) == ["done"] + ["waiting"] * 4
    assert set(table["message"][1:]) == {"What there is of it was done with another state of its options."}
    archive.write(scaling="")
    os.utime(archive.folder / "t3.fits")
    table = archive.run(task="t0")
    assert table["message"][3] == "What there is of it was done with another state of its file t3.fits."


@pytest.mark.parametrize("retry", ["doubtful", "failed,doubtful", ["doubtful"], " doubtful , failed"])
def test_retry_does_states_again_that_are_asked_for(archive, retry):
    shutil.copy(archive.folder / "other.fits", archive.folder / "t0.fits")
    archive.run()
    before = archive.written()
    archive.run(retry=retry)
    after = archive.written()
    assert {Path(name).stem for name in after if before[name] != after[name]} == {"t0"}


def test_without_corrected_files_there_are_none_until_they_are_asked_for(archive):
    table = archive.run(corrected=False, thumbnails=False, pages=False)
    assert not any(table["corrected"])
    assert {Path(name).parts[0] for name in archive.written()} == {"tasks"}
    table = archive.run(thumbnails=False, pages=False)
    assert all(table["corrected"])


# Parts of a manifest.


@given(n=st.integers(0, 40), count=st.integers(1, 9))
def test_shards_are_a_partition(n, count):
    tasks = [Task(str(k), "t") for k in range(n)]
    parts = [chosen_shard(tasks, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted((task.id for part in parts for task in part), key=int) == [task.id for task in tasks]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", (0, 1), "1/0", 3])
def test_shards_that_are_none(archive, shard):
    with pytest.raises(ValueError, match=r"'shard' is i/n with i from 1 to n, such as 3/64"):
        archive.run(shard=shard)


def test_shards_and_single_tasks_fill_one_archive(archive):
    table = archive.run(shard="1/3")
    assert [row["id"] for row in table if row["state"] == "done"] == ["t0", "t3"]
    assert set(table["state"]) == {"done", "waiting"}
    archive.run(shard=(2, 3))
    archive.run(task="t2", report=False)
    assert set(read_results(archive.out)["state"][[0, 1, 3, 4]]) == {"done"}
    assert set(archive.run()["state"]) == {"done"}


def test_wrong_words(archive):
    for options, words in [
        ({"retry": "faild"}, "'retry' has the state 'faild'; choose among done, doubtful"),
        ({"task": "t9"}, "has no task 't9'"),
        ({"timeout": 0}, "'timeout' is a number of seconds above 0"),
        ({"inputs": "size"}, "'inputs' is 'mtime' or 'checksum'"),
    ]:
        with pytest.raises(ValueError, match=words):
            archive.run(**options)
    assert not archive.out.exists()
    archive.out.touch()
    with pytest.raises(AlignmentError, match=r"out is, or is below, a file; give a directory"):
        archive.run()
    with pytest.raises(AlignmentError, match=r"There is no file .*results.ecsv"):
        read_results(archive.folder)


def test_progress_counts_tasks(archive):
    seen = []

    def bar(items, desc):
        seen.append((len(items), desc))
        return items

    archive.run(progress=bar)
    assert seen == [(5, "tasks")]


# References by directory.


def test_references_are_found_by_time_and_detector(archive):
    images = archive.folder / "images"
    images.mkdir()
    for k in range(5):
        shutil.move(archive.folder / f"r{k}.fits", images / f"solo_L2_eui-fsi174-image_202410{10 + k}T000000_V02.fits")
        archive.rows[k] = {"id": f"t{k}", "target": f"t{k}.fits"}
    archive.write()
    presets = {"default": {"fit": "shift", "directory": str(images), "detector": "FSI", "max_gap": "20min"}}
    hidden = images / "solo_L2_eui-fsi174-image_20241012T000000_V02.fits"
    hidden.rename(archive.folder / "hidden")
    table = archive.run(presets=presets)
    assert archive.states(table) == {f"t{k}": "no-reference" if k == 2 else "done" for k in range(5)}
    assert "has no image within 20 min of 2024-10-12T00:00:00" in table["message"][2]
    before = archive.written()
    (archive.folder / "hidden").rename(hidden)
    table = archive.run(presets=presets)
    assert set(table["state"]) == {"done"}
    after = archive.written()
    assert {Path(name).stem for name in after if before.get(name) != after[name]} == {"t2"}


# Starting where others ended.


def test_a_trend_is_where_the_next_alignments_begin(archive):
    archive.run()
    trend = archive.out / "trend.ecsv"
    result = sunalign.align(
        archive.folder / "t2.fits", archive.folder / "r2.fits", start=trend, max_shift=10 * u.arcsec
    )
    begun = result.space.start
    assert begun == pytest.approx([7, -7], abs=1.0)
    archive.write(start="out/trend.ecsv", max_shift="10arcsec")
    archive.out = archive.folder / "next"
    table = archive.run()
    assert set(table["state"]) == {"done"}
    # Another trend is another start, so that it is done again.
    before = archive.written()
    text = trend.read_text()
    trend.write_text(text + " ")
    archive.run()
    assert all(before[name] != time for name, time in archive.written().items())


def test_a_manifest_that_was_read_can_be_run(archive):
    from sunalign import align_archive

    manifest = read_manifest(archive.manifest, {"default": {"fit": "shift", "max_shift": "60arcsec"}})
    assert len(manifest) == 5
    assert [task.id for task in manifest] == [f"t{k}" for k in range(5)]
    assert set(align_archive(manifest, archive.out)["state"]) == {"done"}


def test_where_both_files_are_gone_it_is_the_target_that_is_told(archive):
    archive.rows = [{"id": "a", "target": "nowhere.fits", "references": "neither.fits"}]
    archive.write()
    (row,) = archive.run()
    assert (row["state"], row["error"]) == ("failed", "ImageError")
    assert row["message"] == f"There is no file {archive.folder / 'nowhere.fits'}."


def test_cards_are_named_as_in_fits(archive):
    """A card called like a column of the table is another column."""
    table = archive.run(keywords=["crval1", "CRVAL1", "state"])
    assert [name for name in table.colnames if name.isupper()] == ["CRVAL1", "STATE"]
    assert np.isfinite(u.Quantity(table["CRVAL1"]).value).all()
    assert set(table["state"]) == {"done"}


def test_the_report_is_left_to_those_still_at_work(archive, monkeypatch):
    """Or else whoever ends first would write it again and again until the last of them is done."""
    from sunalign.archive import _page

    store, written = Store(archive.out), []
    store.prepare()
    claim = store.claim("elsewhere", run="other")

    def write_page(*_):
        written.append(1)
        if len(written) < 4:
            # Another run has done a task meanwhile.
            store.write(f"more{len(written)}", {"key": "k", "state": "done"})

    monkeypatch.setattr(_page, "write_page", write_page)
    archive.run()
    assert len(written) == 1
    # Nobody is: our table may be older than that of the one which was faster, and is written again.
    store.release(claim)
    written.clear()
    archive.run()
    assert len(written) == 4


def test_a_report_that_cannot_be_written_says_so(archive, monkeypatch):
    from sunalign.archive import _run

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_run, "write_table", fail)
    words = rf"The table and the page of {archive.out} cannot be written: No space left on device\. What was done stays"
    with pytest.raises(ArchiveError, match=words):
        archive.run()
    monkeypatch.undo()
    before = archive.written()
    assert set(archive.run()["state"]) == {"done"}
    assert archive.written() == before


def test_records_are_whole_or_not_there(archive, monkeypatch):
    store = Store(archive.out)
    store.prepare()
    store.write("t0", {"key": "old", "state": "done"})

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="No space left"):
        store.write("t0", {"key": "new", "state": "done"})
    assert store.read("t0")["key"] == "old"
    assert [path.name for path in (archive.out / "tasks").iterdir()] == ["t0.json"]
