"""A small archive: targets of one imager, with known shifts, and what they are to be aligned with."""

import shutil
from pathlib import Path

import pytest

import astropy.units as u
from astropy.table import Table

from sunalign import simulate

SHIFTS = [(5 + k, -3 - 2 * k) for k in range(5)]
PRESETS = {"default": {"fit": "shift", "max_shift": "60arcsec"}}


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    for k, (x, y) in enumerate(SHIFTS):
        error = simulate.PointingError(shift_x=x * u.arcsec, shift_y=y * u.arcsec)
        time = f"2024-10-{10 + k}T00:00:00"
        pair = simulate.image_pair(seed=1, shape=(64, 64), error=error, rng=[k, 3], time=time)
        pair.target.save(folder / f"t{k}.fits")
        pair.reference.save(folder / f"r{k}.fits")
    other = simulate.image_pair(
        seed=1, shape=(64, 64), target_scene=simulate.Scene(seed=5), rng=[9, 3], time="2024-10-10"
    )
    other.target.save(folder / "other.fits")
    return folder


class Archive:
    """Files of an archive in a directory of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.out = folder / "out"
        self.rows = [{"id": f"t{k}", "target": f"t{k}.fits", "references": f"r{k}.fits"} for k in range(len(SHIFTS))]
        self.write()

    def write(self, **columns):
        """Write the manifest, with more columns if there are any."""
        names = list(dict.fromkeys([name for row in self.rows for name in row] + list(columns)))
        for name, value in columns.items():
            for row in self.rows:
                row[name] = value
        rows = [[str(row.get(name, "")) for name in names] for row in self.rows]
        self.manifest = self.folder / "manifest.csv"
        Table(rows=rows, names=names).write(self.manifest, format="ascii.csv", overwrite=True)

    def run(self, **options):
        from sunalign import align_archive

        return align_archive(self.manifest, self.out, **{"presets": PRESETS} | options)

    def states(self, table):
        return {str(row["id"]): str(row["state"]) for row in table}

    def written(self):
        """When every file of the output was written, but those of the report."""
        return {
            str(path.relative_to(self.out)): path.stat().st_mtime_ns
            for path in sorted(self.out.rglob("*"))
            if path.is_file() and path.parent != self.out
        }


@pytest.fixture
def archive(originals, tmp_path):
    for path in Path(originals).iterdir():
        shutil.copy2(path, tmp_path / path.name)
    return Archive(tmp_path)
