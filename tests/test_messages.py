"""The words of all errors, read together."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest


def load(room, name):
    # Tests cannot import each other by name.
    spec = importlib.util.spec_from_file_location(f"_{name}", Path(__file__).parent / room / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CASES = load("alignment", "test_inputs").CASES | load("sequences", "test_bad_input").CASES

# A period that ends a sentence, not one inside a number, a name or a call.
SENTENCE = re.compile(r"[.?!](?=\s+[A-Z\"'(]|$)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("messages")


def message_of(name, folder):
    act, cls, _ = CASES[name]
    inside = folder / re.sub(r"\W", "_", name)
    inside.mkdir()
    with pytest.raises(cls) as caught:
        act(inside)
    return str(caught.value).replace(str(inside), "FOLDER")


@pytest.mark.parametrize("name", CASES)
def test_every_message_reads_well(name, folder):
    message = message_of(name, folder)
    assert message.endswith("."), message
    assert not message.endswith(".."), message
    begins_with_a_file = re.match(r"[\w.]+\.(fits|json)\b", message)
    assert message[0].isupper() or message[0] in "'(1" or begins_with_a_file or message.startswith("small"), message
    assert 1 <= len(SENTENCE.findall(message)) <= 4, message
    # Nothing that only a programmer reads, and nothing without end.
    for noise in (
        "dict_keys",
        "dict_values",
        "frozenset(",
        "<class ",
        "object at 0x",
        "array([",
        "Traceback",
        "<lambda>",
        "\n",
    ):
        assert noise not in message, message
    assert len(message) < 620, message
    assert not re.search(r"\d\.\d{9,}", message), message
    assert "  " not in message, message
