"""The manifest and its presets: what can stand in them, and every fault by its row."""

import inspect
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astropy.units as u
from astropy.table import MaskedColumn, QTable, Table

from sunalign import align
from sunalign.archive import Task, read_manifest
from sunalign.archive._keys import _canonical
from sunalign.archive._options import _READERS, OUTPUT_OPTIONS, REFUSED, align_arguments, plain_value
from sunalign.exceptions import ManifestError


def faults(manifest, presets=None):
    with pytest.raises(ManifestError) as caught:
        read_manifest(manifest, presets)
    return caught.value.faults


@pytest.fixture
def table(tmp_path):
    def write(text, name="m.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_csv_with_paths_from_its_directory(table, tmp_path):
    path = table(
        "id,target,references,fit,max_shift,bounds,min_overlap,n_peaks\n"
        '007,a.fits,b.fits; sub/c.fits,"shift,scale",1arcmin,"scale_x=0.9,1.1 rotation=-1deg,1deg",0.5,\n'.replace(
            "rotation=-1deg,1deg", "scale_y=0.8,1.2"
        )
        + "x,/abs/a.fits,b.fits,,,,,5\n"
    )
    first, second = read_manifest(path)
    assert first == Task(
        id="007",
        target=str(tmp_path / "a.fits"),
        references=(str(tmp_path / "b.fits"), str(tmp_path / "sub" / "c.fits")),
        options={
            "fit": "shift,scale",
            "max_shift": "1arcmin",
            "bounds": "scale_x=0.9,1.1 scale_y=0.8,1.2",
            "min_overlap": "0.5",
        },
        row=1,
    )
    assert (second.target, second.options, second.row) == ("/abs/a.fits", {"n_peaks": "5"}, 2)
    assert align_arguments(first.options) == {
        "fit": ("shift", "scale"),
        "max_shift": 1 * u.arcmin,
        "bounds": {"scale_x": (0.9, 1.1), "scale_y": (0.8, 1.2)},
        "min_overlap": 0.5,
    }


def test_ecsv_with_units_and_masks(tmp_path):
    written = QTable(
        {
            "id": ["a", "b"],
            "target": ["a.fits", "b.fits"],
            "references": ["r.fits", "r.fits"],
            "max_shift": [1, 2] * u.arcmin,
            "fit": MaskedColumn(["shift", "scale"], mask=[False, True]),
            "rng": [1, 2],
        }
    )
    path = tmp_path / "m.ecsv"
    written.write(path, format="ascii.ecsv")
    for manifest in (path, written):
        a, b = read_manifest(manifest)
        assert align_arguments(a.options) == {"max_shift": 60 * u.arcsec, "fit": ("shift",), "rng": 1}
        assert align_arguments(b.options) == {"max_shift": 2 * u.arcmin, "rng": 2}


def test_presets_lie_beneath_rows(table, tmp_path):
    presets = tmp_path / "conf"
    presets.mkdir()
    (presets / "p.yaml").write_text(
        "default:\n  fit: [shift]\n  max-shift: 60arcsec\n  directory: images\n  detector: FSI174\n"
        "wide:\n  max_shift: 90arcsec\n  bounds: {rotation: [-1deg, 1deg]}\n  fit: [shift, rotation]\n"
    )
    path = table("id,target,preset,references,max_shift\na,a.fits,,,\nb,b.fits,wide,,\nc,c.fits,wide,r.fits,30arcsec\n")
    a, b, c = read_manifest(path, presets / "p.yaml")
    assert (a.directory, a.detector, a.references) == (str(presets / "images"), "FSI174", ())
    assert align_arguments(a.options) == {"fit": ("shift",), "max_shift": 60 * u.arcsec}
    assert align_arguments(b.options)["bounds"] == {"rotation": (-1 * u.deg, 1 * u.deg)}
    assert align_arguments(b.options)["max_shift"] == 90 * u.arcsec
    # References of the row take the place of the directory of the preset.
    assert (c.directory, c.detector, c.references) == (None, None, (str(tmp_path / "r.fits"),))
    assert align_arguments(c.options)["max_shift"] == 30 * u.arcsec


def test_every_fault_is_named_with_its_row(table):
    path = table(
        "id,target,references,directory,preset,fit,max_shift,bounds,optimizer,n_neighbors,max_gap\n"
        "a,a.fits,r.fits,,,,,,,,\n"
        "A,b.fits,r.fits,,,,,,,,\n"
        ",c.fits,r.fits,,,,,,,,\n"
        "d/e,d.fits,r.fits,,,,,,,,\n"
        "e,,r.fits,,,,,,,,\n"
        "f,f.fits,,,,,,,,,\n"
        "g,g.fits,r.fits,dir,,,,,,,\n"
        "h,h.fits,r.fits,,wdie,,,,,,\n"
        "i,i.fits,r.fits,,,zoom,,,,,\n"
        "j,j.fits,r.fits,,,,60,,,,\n"
        'k,k.fits,r.fits,,,,,"scale_x=0.9,1.1",,,\n'
        "l,l.fits,r.fits,,,,,,hil-climb,,\n"
        "m,m.fits,r.fits,,,,,,,60,\n"
        "n,n.fits,,dir,,,,,,,20\n"
        "o,o.fits,r.fits,,,,60,,,,\n"
        "p,p.fits,r.fits,,,,60,,,,\n"
    )
    found = faults(path, {"default": {}, "wide": {"max_shift": "90arcsec"}})
    expected = [
        ("row 2 (A)", "The id differs from 'a' of row 1 only in upper and lower case"),
        ("row 3", "The id is missing"),
        ("row 4 (d/e)", "The id cannot name files; take 1 to 100 of A-Z, a-z, 0-9 and ._+-"),
        ("row 5 (e)", "The target is missing"),
        ("row 6 (f)", "neither 'references' nor 'directory'"),
        ("row 7 (g)", "both 'references' and 'directory'"),
        ("row 8 (h)", "no preset 'wdie'. Did you mean 'wide'?"),
        ("row 9 (i)", "'fit' has no parameter 'zoom'"),
        ("rows 10, 15-16", "'max_shift': '60' has no unit; write it like 60arcsec"),
        ("row 11 (k)", "'scale_x', which is not free"),
        ("row 12 (l)", "Did you mean 'hill-climb'?"),
        ("row 13 (m)", "No chosen plugin has an option named 'n_neighbors'"),
        ("row 14 (n)", "'max_gap': '20' has no unit"),
    ]
    assert len(found) == len(expected)
    # In the order of the rows.
    assert [fault.split(": ")[0] for fault in found] == [where for where, _ in expected]
    for where, words in expected:
        (fault,) = [fault for fault in found if fault.startswith(f"{where}: ")]
        assert words in fault
        assert fault.endswith(".")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("target,references\na,b\n", "It has no column 'id'; it has target, references."),
        ("id,target,references,target\na,b,c,d\n", "The column 'target' stands there twice."),
        ("id,target,corrector\na,b,c\n", "The column 'corrector' has no place in a manifest: the corrected files"),
        ("id,target,n-jobs\na,b,2\n", "The column 'n-jobs' has no place in a manifest"),
        ("id,target,references\n", "It has no row"),
        ("id,target\na,b\na,b,c,d\n", "Row 2 has 4 cells, but the first line has 2; put quotes about commas."),
        ("", "It is empty; its first line names the columns"),
        (" \n\n", "It is empty; its first line names the columns"),
        ("id;target;references\na;b;c\n", "Its only column is 'id;target;references': is it separated by commas?"),
        ("# %ECSV 1.0\n# ---\n# nonsense: [\nid\n", "It cannot be read as a table in ECSV or CSV"),
    ],
)
def test_tables_that_are_no_manifest(table, text, words):
    found = faults(table(text))
    assert len(found) == 1
    assert words in found[0]


def test_files_that_are_no_table(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes("id,target,references\na,\u00e9.fits,b.fits\n".encode("latin-1"))
    assert faults(path) == ["It is not UTF-8 text; a spreadsheet saves that as 'CSV UTF-8'."]
    assert faults(tmp_path) == [f"{tmp_path} is a directory; give a table."]
    assert faults(tmp_path / "none.csv") == [f"There is no file {tmp_path / 'none.csv'}."]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_of_other_systems(tmp_path, ending):
    path = tmp_path / "m.csv"
    path.write_bytes(ending.join(["\ufeffid,target,references", "a,b.fits,c.fits", ""]).encode("utf-8"))
    (task,) = read_manifest(path)
    assert (task.id, task.target) == ("a", str(tmp_path / "b.fits"))


def test_a_target_is_no_reference_of_its_own(table):
    path = table("id,target,references\na,a.fits,sub/../a.fits\nb,b.fits,c.fits;b.fits\nc,c.fits,b.fits\n")
    assert faults(path) == ["rows 1-2: The target is one of its own references; name another image there."]


def test_a_fault_of_a_preset_is_told_to_be_one(table):
    path = table(
        "id,target,references,preset,min_overlap\na,a.fits,r.fits,,\nb,b.fits,r.fits,wide,\nc,c.fits,r.fits,,9"
    )
    presets = {"default": {"max_shift": "60"}, "wide": {"max_shift": "90arcsec", "fitt": "shift"}}
    own, of_wide = faults(path, presets)
    assert own.startswith("rows 1, 3, by preset 'default': 'max_shift': '60' has no unit")
    # Of the options of align() too a misspelt one may be meant.
    assert of_wide.startswith(
        "row 2 (b), by preset 'wide': No chosen plugin has an option named 'fitt'. Did you mean 'fit'"
    )
    # A row's own fault is no preset's.
    (fault,) = faults(path, {"default": {"max_shift": "60arcsec"}, "wide": {}})
    assert fault.startswith("row 3 (c): 'min_overlap' is a fraction")


def test_a_long_id_is_cut_in_messages(table):
    (fault,) = faults(table(f"id,target,references\n{'x' * 150},a.fits,r.fits\n"))
    assert fault.startswith(f"row 1 ({'x' * 40}...): The id cannot name files")


@pytest.mark.parametrize("gap", ["-20min", "0s", "nan s"])
def test_a_gap_that_is_none(table, gap):
    (fault,) = faults(table(f"id,target,directory,max_gap\na,a.fits,d,{gap}\n"))
    assert "'max_gap' is longer than 0" in fault


@pytest.mark.parametrize("limits", [5, "5", "a,b", [1, 2, 3]])
def test_limits_that_are_none(table, limits):
    path = table("id,target,references\na,a.fits,r.fits\n")
    (fault,) = faults(path, {"default": {"target_limits": limits}})
    assert "'target_limits': limits are two numbers such as 10,500" in fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("default: {fit: shift, fit: scale}", "line 1: it cannot be read as YAML: 'fit' stands there twice"),
        ("a: {fit: shift}\na: {fit: scale}", "line 2: it cannot be read as YAML: 'a' stands there twice"),
        ("fit: shift", "It has to hold presets by name"),
        ("- fit", "It has to hold presets by name"),
        ("default: {fit: [shift}", "cannot be read as YAML"),
        ("default: !!python/object/apply:os.system [ls]", "cannot be read as YAML"),
        ("default: {id: 3}", "preset 'default': 'id' belongs in the manifest"),
        ("default: {progress: true}", "preset 'default': 'progress' has no place there"),
    ],
)
def test_yaml_that_holds_no_presets(table, text, words):
    manifest, presets = table("id,target,references\na,b,c\n"), table(text, "p.yaml")
    found = faults(manifest, presets)
    assert len(found) == 1
    assert words in found[0]


def test_words_where_a_plugin_has_numbers(table):
    head = "id,target,references,optimizer,n_neighbors,rtol\n"
    assert faults(table(head + "a,a,r,hill-climb,lots,\nb,b,r,hill-climb,,little\n")) == [
        "row 1 (a): 'n_neighbors' is a whole number such as 20, which is its default; got 'lots'.",
        "row 2 (b): 'rtol' is a number such as 0.001, which is its default; got 'little'.",
    ]
    assert len(read_manifest(table(head + "a,a,r,hill-climb,30,1e-4\n"))) == 1


def test_an_id_that_stands_there_twice(table):
    assert faults(table("id,target,references\na,a,r\nb,b,r\na,c,r\n")) == [
        "row 3 (a): The id stands in row 1 already."
    ]


def test_presets_that_no_row_has_are_checked(table):
    manifest = table("id,target,references,preset\na,a,r,used\n")
    good = {"used": {"fit": "shift"}, "image": {"solar_rotation": "rigid"}, "raster": {"reference_builder": "image"}}
    assert len(read_manifest(manifest, good)) == 1
    found = faults(manifest, good | {"other": {"fit": "zoom"}, "late": {"max_gap": "20"}})
    assert len(found) == 2
    assert found[0].startswith("preset 'other', which no row has: 'fit' has no parameter 'zoom'")
    assert found[1].startswith("preset 'late', which no row has: 'max_gap': '20' has no unit")


def test_files_that_are_not_there(tmp_path, table):
    assert faults(tmp_path / "m.csv") == [f"There is no file {tmp_path / 'm.csv'}."]
    assert faults(table("id,target\na,b\n"), tmp_path / "p.yaml") == [f"There is no file {tmp_path / 'p.yaml'}."]


# Options as text.


def test_every_argument_of_align_can_stand_in_a_manifest_or_is_refused_with_a_reason():
    arguments = {name for name, p in inspect.signature(align).parameters.items() if p.kind is not p.VAR_KEYWORD}
    assert arguments == {"target"} | set(_READERS) | set(REFUSED)
    assert not set(OUTPUT_OPTIONS) & arguments


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("fit", ["shift,scale", ["shift", "scale"], "shift scale", "shift; scale"]),
        ("max_shift", ["60arcsec", "1 arcmin", "60 arcsec"]),
        (
            "bounds",
            [
                "scale_x=0.9,1.1 rotation=-1deg,1deg",
                "scale_x=0.9,1.1; rotation=-1deg, 1deg",
                {"scale_x": [0.9, 1.1], "rotation": ["-1deg", "60arcmin"]},
                {"scale_x": "0.9,1.1", "rotation": "-1deg,1deg"},
            ],
        ),
        (
            "start",
            ["shift_x=3arcsec,scale_x=1.01", {"shift_x": "3arcsec", "scale_x": 1.01}, "scale_x=1.01 shift_x=3arcsec"],
        ),
        ("pivot", ["60arcsec,-2arcmin", ["1arcmin", "-120arcsec"]]),
        ("target_limits", ["10,None", [10, None], "(10, None)", "10,"]),
        ("min_overlap", [0.5, "0.5"]),
        ("rng", [3, "3", 3.0]),
        ("clip", ["(1, 99)", [1, 99]]),
    ],
)
def test_the_same_in_other_words_is_the_same(name, values):
    found = {json.dumps(_canonical(json.dumps({name: value}))) for value in values}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_shift", "60s", "wrong unit"),
        ("fit", 3, "'fit': names such as shift,scale are needed"),
        ("metric", ["ncc"], "'metric': a name is needed"),
        ("bounds", "scale_x", "is not NAME=LOW,HIGH"),
        ("bounds", 3, "bounds are NAME=LOW,HIGH"),
        ("bounds", {"rotation": [-1, 1]}, "rotation is an angle, and has a unit"),
        ("min_overlap", "half", "'min_overlap': a number is needed"),
        ("rng", 1.5, "'rng': a whole number is needed"),
        ("target_limits", "10", "limits are two numbers"),
        ("target_limits", "a,b", "'target_limits'"),
        ("pivot", "10arcsec", "two angles are needed"),
        ("start", "nowhere.json", "there is no file nowhere.json"),
    ],
)
def test_values_that_cannot_be_read(name, value, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        align_arguments({name: value})
    # It says whose value it is.
    assert name.rstrip("s") in str(caught.value) or "scale_x" in str(caught.value) or "rotation" in str(caught.value)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_plain_values_survive_json_and_are_plain_already(value):
    plain = plain_value(value)
    assert json.loads(json.dumps(plain)) == plain
    assert plain_value(plain) == plain


@given(st.floats(1e-6, 1e6), st.sampled_from(["arcsec", "deg", "rad"]))
def test_a_quantity_as_text_is_the_same_quantity(value, unit):
    quantity = value * u.Unit(unit)
    assert align_arguments({"max_shift": plain_value(quantity)}) == {"max_shift": quantity}


def test_empty_cells_are_nothing():
    assert [plain_value(value) for value in ("", "  ", None, np.ma.masked, np.nan)] == [None] * 5
    table = Table({"id": ["a"], "target": ["t"], "references": ["r"], "fit": [""]})
    assert read_manifest(table).tasks[0].options == {}
