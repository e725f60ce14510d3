"""The road of files: corrected copies, all of them or none, that can be undone; and the command line."""

import filecmp
import json
import os
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

import astropy.units as u
from astropy.io import fits
from astropy.table import QTable

import sunpy.map

import sunalign
from sunalign.cli import main
from sunalign.files.io import undo_file
from sunalign.sequences import _output
from sunalign.testing.helpers import small_sequence


def write(folder, n=6, compressed=False):
    maps, truth = small_sequence(n)
    paths = []
    for k, frame in enumerate(maps):
        header = fits.Header({key.upper(): value for key, value in frame.meta.items() if key != "keycomments"})
        paths.append(folder / f"frame{k}.fits")
        image = fits.CompImageHDU(frame.data, header) if compressed else fits.ImageHDU(frame.data, header)
        table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.arange(3.0))])
        fits.HDUList([fits.PrimaryHDU(), image, table]).writeto(paths[-1])
    return paths, truth


@pytest.mark.parametrize("compressed", [False, True])
def test_corrected_copies_can_be_undone(tmp_path, compressed):
    paths, truth = write(tmp_path, compressed=compressed)
    before = [path.read_bytes() for path in paths]
    result = sunalign.align_sequence(paths, drift="remove", output=tmp_path / "out")
    assert [path.read_bytes() for path in paths] == before
    assert result.aligned == [tmp_path / "out" / path.name for path in paths]
    found = np.stack([result.table["shift_x"].value, result.table["shift_y"].value], axis=1)
    left = found - truth.to_value(u.arcsec)
    assert np.abs(left - left.mean(axis=0)).max() < 0.2
    for k, (old, new) in enumerate(zip(paths, result.aligned, strict=True)):
        one, other = fits.getheader(old, 1), fits.getheader(new, 1)
        assert other["CRVAL1"] - one["CRVAL1"] == pytest.approx(found[k, 0], abs=1e-6)
        assert any("sequence of 6 frames" in line for line in other["HISTORY"])
        back = undo_file(new, tmp_path / "back.fits", overwrite=True)
        assert filecmp.cmp(old, back, shallow=False)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_without_an_output_nothing_is_written(tmp_path):
    paths, _ = write(tmp_path)
    result = sunalign.align_sequence(paths)
    assert result.aligned is None
    assert len(list(tmp_path.iterdir())) == len(paths)


def test_interrupted_output_leaves_nothing(tmp_path, monkeypatch):
    paths, _ = write(tmp_path)
    calls = []

    def interrupted(*args, **keywords):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return apply(*args, **keywords)

    apply = _output.apply_to_file
    monkeypatch.setattr(_output, "apply_to_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sunalign.align_sequence(paths, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [1, 3, 4, 8, 11])
def test_output_that_is_interrupted_while_it_is_put_in_place_is_as_before(tmp_path, monkeypatch, number):
    paths, _ = write(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    for name in ("frame1.fits", "frame4.fits", "other.txt"):
        (out / name).write_text(f"old {name}")
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == number:
            raise KeyboardInterrupt
        return replace(*args)

    replace = os.replace
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt) if number <= 8 else nullcontext():
        sunalign.align_sequence(paths, output=out, overwrite=True)
    after = {path.name: path.read_bytes()[:3] for path in out.iterdir()}
    if number <= 8:
        assert after == dict.fromkeys(("frame1.fits", "frame4.fits", "other.txt"), b"old")
    else:
        assert after == dict.fromkeys([path.name for path in paths], b"SIM") | {"other.txt": b"old"}


def test_what_exists_is_not_written_over(tmp_path):
    paths, _ = write(tmp_path)
    sunalign.align_sequence(paths, output=tmp_path / "out")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        sunalign.align_sequence(paths, output=tmp_path / "out")
    sunalign.align_sequence(paths, output=tmp_path / "out", overwrite=True)


@pytest.mark.slow
def test_workers_read_the_same(tmp_path):
    paths, _ = write(tmp_path)
    one, two = (sunalign.align_sequence(paths, n_jobs=n) for n in (1, 2))
    assert np.array_equal(one.table["shift_x"], two.table["shift_x"])


def test_files_and_maps_give_the_same(tmp_path):
    paths, _ = write(tmp_path)
    one = sunalign.align_sequence(paths)
    two = sunalign.align_sequence([sunpy.map.Map(path) for path in paths])
    assert np.allclose(one.table["shift_x"].value, two.table["shift_x"].value, atol=1e-9)


def test_the_command(tmp_path, capsys):
    paths, _ = write(tmp_path, n=4)
    arguments = [
        *("sequence", *map(str, paths), "-o", str(tmp_path / "out"), "--table", str(tmp_path / "t.ecsv")),
        *("--report", str(tmp_path / "r.html"), "--movie", str(tmp_path / "m.gif"), "--plot", str(tmp_path / "p.png")),
        *("--drift", "remove", "--max-shift", "20arcsec", "-q"),
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Alignment of 4 frames: good" in printed
    assert "Wrote 4 frames" in printed
    table = QTable.read(tmp_path / "t.ecsv")
    assert table["shift_x"].unit == u.arcsec
    assert len(json.loads((tmp_path / "r.json").read_text())["frames"]) == 4
    assert (tmp_path / "m.gif").read_bytes().startswith(b"GIF")
    assert "data:image/gif" in (tmp_path / "r.html").read_text()
    assert main(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_a_film_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    from sunalign.sequences import _sequence
    from sunalign.visualization import films

    def work(*_, **__):
        raise AssertionError("it began to work")

    monkeypatch.setattr(films, "ffmpeg", lambda: None)
    monkeypatch.setattr(_sequence, "align_sequence", work)
    paths, _ = write(tmp_path)
    assert main(["sequence", *map(str, paths), "--movie", str(tmp_path / "m.mp4"), "-q"]) == 1
    assert "needs ffmpeg" in capsys.readouterr().err


def test_a_film_may_be_written_by_ffmpeg(tmp_path):
    from sunalign.visualization.films import ffmpeg

    if ffmpeg() is None:
        pytest.skip("neither ffmpeg nor imageio-ffmpeg is installed")
    maps, _ = small_sequence(4)
    sunalign.align_sequence(maps).movie(tmp_path / "m.mp4")
    assert (tmp_path / "m.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_program_of_imageio_is_used_where_there_is_no_other(monkeypatch):
    from matplotlib.animation import FFMpegWriter

    from sunalign.visualization.films import ffmpeg

    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", SimpleNamespace(get_ffmpeg_exe=lambda: "/a/program"))
    assert ffmpeg() == "/a/program"
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert ffmpeg() is None


def test_the_command_says_3_where_a_file_is_broken(tmp_path, capsys):
    paths, _ = write(tmp_path)
    paths[3].write_bytes(paths[3].read_bytes()[:9000])
    assert main(["sequence", *map(str, paths), "-o", str(tmp_path / "out"), "-q"]) == 3
    assert "frame3.fits" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 5


@pytest.mark.parametrize(
    ("option", "words"), [(["--movie", "a.txt"], "movie.gif"), (["--report", "a.txt"], "report.html"),
                          (["--table", "a.doc"], "shifts.ecsv"), (["--set", "fit=shift"], "cannot be given by --set")]
)  # fmt: skip
def test_a_wrong_command_line_exits_with_2(tmp_path, option, words, capsys):
    paths, _ = write(tmp_path, n=2)
    with pytest.raises(SystemExit, match="2"):
        main(["sequence", *map(str, paths), *option])
    assert words in capsys.readouterr().err
