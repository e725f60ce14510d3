"""The manifest of two directories."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import astropy.units as u
from astropy.table import Table
from astropy.time import Time

import sunalign
from sunalign import find_images, simulate
from sunalign.archive import make_manifest, read_manifest
from sunalign.archive._match import _names, span_of
from sunalign.archive._plan import Settings, plan_tasks
from sunalign.archive._store import Store
from sunalign.exceptions import AlignmentError, ImageError, SunalignUserWarning
from sunalign.files.io import apply_to_file
from sunalign.images import to_image

START = Time("2024-10-17T01:00:00")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two rasters of half an hour, an image, and FSI frames every ten minutes, of which only the names are read."""
    root = tmp_path_factory.mktemp("match")
    targets, images = root / "targets", root / "images"
    (targets / "b").mkdir(parents=True)
    images.mkdir()
    for k, name in enumerate(["raster.fits", "b/raster.fits"]):
        raster = simulate.raster_pair(
            seed=3, n_steps=16, n_slit=64, cadence=112.5 * u.s, start=START + k * u.hour, snr=None
        ).target
        raster.save(targets / name)
    pair = simulate.image_pair(seed=3, shape=(32, 32), time=START + 7 * u.min)
    pair.target.save(targets / "image.fits")
    for k in range(-2, 20):
        stamp = re.sub(r"[-:.]", "", (START + k * 10 * u.min).isot)
        (images / f"solo_L2_eui-fsi174-image_{stamp}_V02.fits").touch()
    return root, targets, images


def test_a_raster_gets_all_of_its_time_and_an_image_the_nearest(folders):
    _, targets, images = folders
    table = make_manifest(targets, images, detector="FSI")
    assert table.colnames == ["id", "target", "references"]
    rows = {row["id"]: row for row in table}
    assert set(rows) == {"raster", "b_raster", "image"}
    for name, path in {"raster": targets / "raster.fits", "b_raster": targets / "b" / "raster.fits"}.items():
        times = to_image(path).times
        ends = [times.epoch + times.seconds.min() * u.s, times.epoch + times.seconds.max() * u.s]
        expected = find_images(images, *ends, detector="fsi174")
        assert rows[name]["references"].split(";") == [str(path.resolve()) for path in expected]
        assert len(expected) >= 4
    assert re.search(r"T011000000", rows["image"]["references"])
    assert ";" not in rows["image"]["references"]


def test_the_span_is_read_without_the_pixels(folders):
    _, targets, _ = folders
    times = to_image(targets / "raster.fits").times
    expected = [float((times.epoch + s * u.s).unix) for s in (times.seconds.min(), times.seconds.max())]
    np.testing.assert_allclose(span_of(targets / "raster.fits"), expected, atol=1e-6)


def test_what_is_written_can_be_read(folders, tmp_path):
    root, targets, images = folders
    table = make_manifest(targets, images, nearest=True, relative_to=root)
    assert all(not name.startswith("/") for row in table for name in (row["target"], row["references"]))
    table.write(root / "m.ecsv", format="ascii.ecsv", overwrite=True)
    for task in read_manifest(root / "m.ecsv"):
        assert task.target.startswith(str(targets))
        assert len(task.references) == 1
    table.write(root / "m.csv", format="ascii.csv", overwrite=True)
    assert [task.references for task in read_manifest(root / "m.csv")] == [
        task.references for task in read_manifest(root / "m.ecsv")
    ]


def test_without_image_the_directory_is_named(folders, tmp_path):
    _, _, images = folders
    early = tmp_path / "targets"
    early.mkdir()
    simulate.image_pair(seed=3, shape=(32, 32), time="2020-01-01").target.save(early / "early.fits")
    with pytest.warns(SunalignUserWarning, match=r"no image for 1 of the 1 targets: early\.fits\. .* no image within"):
        table = make_manifest(early, images, detector="fsi174")
    (row,) = table
    assert table.colnames == ["id", "target", "references", "directory", "detector"]
    assert (row["references"], row["directory"], row["detector"]) == ("", str(images.resolve()), "fsi174")
    (task,) = read_manifest(table)
    assert (task.directory, task.detector) == (str(images.resolve()), "fsi174")


def test_images_that_come_later_are_sought_as_they_were(folders, tmp_path):
    """The nearest one for a raster, and no further away than was asked for."""
    _, targets, images = folders
    targets = targets / "b"
    later = tmp_path / "images"
    later.mkdir()
    with pytest.warns(SunalignUserWarning, match="There is no image"):
        table = make_manifest(targets, later, nearest=True, max_gap=30 * u.min)
    assert [table[name][0] for name in ("max_gap", "reference_builder")] == ["30 min", "image"]
    with pytest.warns(SunalignUserWarning, match="There is no image"):
        manifest = read_manifest(make_manifest(targets, later, nearest=True, max_gap=30 * u.min))
    for image in images.iterdir():
        shutil.copy2(image, later)
    (plan,) = plan_tasks(manifest, Store(tmp_path / "out"), Settings())
    expected = make_manifest(targets, images, nearest=True, max_gap=30 * u.min)
    assert [Path(path).name for path in plan.job.references] == [Path(expected["references"][0]).name]


def test_corrected_copies_are_no_targets(folders, tmp_path):
    _, targets, images = folders
    mine = tmp_path / "targets"
    shutil.copytree(targets, mine)
    correction = sunalign.Correction(shift=[3, 0] * u.arcsec)
    apply_to_file(mine / "image.fits", correction, mine / "image_aligned.fits")
    with pytest.warns(SunalignUserWarning, match=r"Left out of .*, as corrected .* already: image_aligned\.fits\."):
        table = make_manifest(mine, images)
    assert "image" in table["id"]
    assert "image_aligned" not in table["id"]
    with pytest.raises(AlignmentError, match="holds no target: all of its files were corrected"):
        make_manifest(mine, images, pattern="*_aligned*")


def test_corrected_copies_and_files_in_the_making_are_no_references(tmp_path):
    """They have the date of their target, and would agree with it best of all."""
    image = simulate.image_pair(seed=3, shape=(32, 32), time=START)
    image.target.save(tmp_path / "a.fits")
    out = tmp_path / "out"
    (out / "corrected").mkdir(parents=True)
    shutil.copy2(tmp_path / "a.fits", out / "corrected" / "a.fits")
    shutil.copy2(tmp_path / "a.fits", tmp_path / ".a.1234.fits")
    (tmp_path / "gone.fits").symlink_to("nowhere.fits")
    manifest = read_manifest(Table(rows=[{"id": "a", "target": f"{tmp_path}/a.fits", "directory": str(tmp_path)}]))
    (plan,) = plan_tasks(manifest, Store(out), Settings())
    assert plan.job.references == ()
    assert "has no image but a.fits itself" in plan.job.missing
    image.reference.save(tmp_path / "b.fits")
    (plan,) = plan_tasks(manifest, Store(out), Settings())
    assert plan.job.references == (str(tmp_path / "b.fits"),)


def test_files_that_are_no_targets_are_left_out(folders, tmp_path):
    _, _, images = folders
    targets = tmp_path / "targets"
    targets.mkdir()
    (targets / "text.fits").write_text("No FITS file.")
    with pytest.raises(AlignmentError, match=r"holds no target: text\.fits \(ImageError"):
        make_manifest(targets, images)
    simulate.image_pair(seed=3, shape=(32, 32), time=START).target.save(targets / "image.fits")
    with pytest.warns(SunalignUserWarning, match=r"Left out of .*, as no targets: text\.fits"):
        assert list(make_manifest(targets, images)["id"]) == ["image"]


def test_a_target_is_no_reference_of_itself(tmp_path):
    for k in range(4):
        image = simulate.image_pair(seed=3, shape=(32, 32), time=START + k * 10 * u.min).target
        image.save(tmp_path / f"a{k}.fits")
    for nearest, expected in (
        (True, ["a1", "a0", "a1", "a2"]),
        (False, ["a1", "a0;a2", "a1;a3", "a2"]),
    ):
        table = make_manifest(tmp_path, tmp_path, nearest=nearest, relative_to=tmp_path)
        assert [row["references"].replace(".fits", "") for row in table] == expected
    for k in range(1, 4):
        (tmp_path / f"a{k}.fits").unlink()
    with pytest.warns(SunalignUserWarning, match="There is no image for 1 of the 1 targets"):
        make_manifest(tmp_path, tmp_path)


def test_nor_is_it_where_they_are_looked_up_at_every_run(tmp_path):
    for k in range(4):
        image = simulate.image_pair(seed=3, shape=(32, 32), time=START + k * 10 * u.min).target
        image.save(tmp_path / f"a{k}.fits")
    rows = [{"id": f"a{k}", "target": f"{tmp_path}/a{k}.fits", "directory": str(tmp_path)} for k in range(4)]
    plans = plan_tasks(read_manifest(Table(rows=rows)), Store(tmp_path / "out"), Settings())
    assert [Path(plan.job.references[0]).stem for plan in plans] == ["a1", "a0", "a1", "a2"]


def test_patterns_choose_targets(folders):
    _, targets, images = folders
    assert list(make_manifest(targets, images, pattern="im*")["id"]) == ["image"]
    with pytest.raises(AlignmentError, match=r"has no FITS file with a name like 'spice\*'"):
        make_manifest(targets, images, pattern="spice*")
    with pytest.raises(AlignmentError, match=r"There is no directory nowhere"):
        make_manifest("nowhere", images)
    with pytest.raises(TypeError, match=r"'max_gap' is a duration"):
        make_manifest(targets, images, max_gap=3)


def test_images_that_cannot_be_meant_are_refused(folders, tmp_path):
    _, targets, images = folders
    with pytest.raises(AlignmentError, match=r"There is no directory nodir; give the one that holds the images"):
        make_manifest(targets, "nodir")
    with pytest.raises(AlignmentError, match=r"images has no image of 'NOPE'; detectors there: .*fsi174"):
        make_manifest(targets, images, detector="NOPE")
    # Images may come later.
    with pytest.warns(SunalignUserWarning, match="There is no image for 3 of the 3 targets"):
        make_manifest(targets, tmp_path)


def test_ids_are_unique_and_can_name_files(tmp_path):
    names = ["a.fits", "A.fits", "x/a.fits", "x y.fits.gz", ".hidden.fits", "ü.fits", "n" * 150 + ".fits"]
    made = _names([tmp_path / name for name in names], tmp_path)
    rows = [{"id": name, "target": "t", "references": "r"} for name in made.values()]
    assert len(read_manifest(Table(rows=rows))) == len(names)


def test_a_file_without_a_date_has_no_span(tmp_path):
    from astropy.io import fits

    from sunalign.testing.helpers import small_header

    header = fits.Header({k: v for k, v in small_header((8, 8)).items() if not k.upper().startswith(("DATE", "MJD"))})
    fits.PrimaryHDU(np.ones((8, 8)), header).writeto(tmp_path / "undated.fits")
    with pytest.raises(ImageError, match="has no date and no time axis"):
        span_of(tmp_path / "undated.fits")
    with pytest.raises(ImageError, match="There is no file"):
        span_of(tmp_path / "nowhere.fits")
