"""What a run reads is not what it writes."""

import pytest

from sunalign.exceptions import ManifestError


def test_what_is_read_is_apart_from_what_is_written(archive):
    archive.run()
    rows, before = archive.rows, archive.written()
    archive.rows = [{"id": "t0", "target": "out/corrected/t0.fits", "references": "r0.fits"}]
    archive.write()
    with pytest.raises(ManifestError, match=r"row 1 \(t0\): The target .*t0\.fits is written by the run itself"):
        archive.run(retry="done")
    archive.rows = [{"id": "a", "target": "t0.fits", "references": "link/t1.fits"}]
    (archive.folder / "link").symlink_to(archive.out / "corrected")
    archive.write()
    with pytest.raises(ManifestError, match=r"row 1 \(a\): The reference .* is written by the run itself"):
        archive.run()
    archive.rows = [dict(row) for row in rows]
    archive.write(start="out/trend.ecsv")
    with pytest.raises(ManifestError, match=r"rows 1-5: The start .*trend\.ecsv is written by the run itself"):
        archive.run()
    archive.rows = rows
    archive.write()
    archive.manifest = archive.manifest.rename(archive.out / "results.ecsv")
    text = archive.manifest.read_text()
    with pytest.raises(ManifestError, match=r"where the run writes its own results\.ecsv; move it"):
        archive.run()
    assert archive.manifest.read_text() == text
    assert archive.written() == before
