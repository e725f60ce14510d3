"""Records as they are found."""

import json

import pytest


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:100],
        lambda text: "[]",
        lambda text: '{"task": {"key": 5}}',
        lambda text: text.replace('"state": "done"', '"state": "marvellous"'),
        lambda text: text.replace('"state": "done", ', ""),
        lambda text: text.replace('"correction": {', '"correction": "x", "old": {'),
        lambda text: text.replace('"inputs": [', '"inputs": 5, "old": ['),
    ],
)
def test_a_record_that_is_none_is_made_again(archive, spoil):
    """Somebody edited it, or it is of a later version: no reason to do none of the others."""
    archive.rows = archive.rows[:2]
    archive.write()
    archive.run()
    path = archive.out / "tasks" / "t0.json"
    text = path.read_text()
    assert spoil(text) != text
    path.write_text(spoil(text))
    before = archive.written()
    assert archive.states(archive.run()) == {"t0": "done", "t1": "done"}
    assert archive.written()["tasks/t1.json"] == before["tasks/t1.json"]
    assert json.loads(path.read_text())["task"]["state"] == "done"
