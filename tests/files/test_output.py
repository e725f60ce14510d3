"""Output that is whole or not there."""

import os
import stat

import pytest

from sunalign.files.output import atomic_write


def test_atomic_write_gives_a_file_of_the_same_suffix(tmp_path):
    with atomic_write(tmp_path / "figure.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        temporary.write_text("whole")
        assert not (tmp_path / "figure.png").exists()
    assert (tmp_path / "figure.png").read_text() == "whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "figure.png"]


def test_atomic_write_leaves_nothing_when_it_fails(tmp_path):
    (tmp_path / "kept.txt").write_text("old")

    def fail():
        with atomic_write(tmp_path / "kept.txt", overwrite=True) as temporary:
            temporary.write_text("new")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert (tmp_path / "kept.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_atomic_write_refuses_what_exists_before_the_work_and_after_it(tmp_path):
    path = tmp_path / "a.txt"

    def be_late():
        with atomic_write(path) as temporary:
            temporary.write_text("mine")
            path.write_text("theirs")  # another process was faster

    with pytest.raises(FileExistsError, match="exists"):
        be_late()
    assert path.read_text() == "theirs"
    with pytest.raises(FileExistsError, match=r"choose another name, or pass overwrite=True"), atomic_write(path):
        pytest.fail("the work was started")
    with pytest.raises(IsADirectoryError, match="is a directory"), atomic_write(tmp_path, overwrite=True):
        pass
    assert len(list(tmp_path.iterdir())) == 1


def test_atomic_write_without_hard_links(tmp_path, monkeypatch):
    def no_links(*args):
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", no_links)
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_atomic_write_keeps_permissions_and_follows_links(tmp_path):
    path, link = tmp_path / "a.txt", tmp_path / "link.txt"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    with atomic_write(link, overwrite=True) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    fresh = tmp_path / "b.txt"
    fresh.write_text("")
    with atomic_write(tmp_path / "c.txt") as temporary:
        temporary.write_text("")
    assert (tmp_path / "c.txt").stat().st_mode == fresh.stat().st_mode


# Corrections as JSON.
