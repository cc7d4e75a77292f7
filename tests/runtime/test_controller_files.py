"""Controllers' configuration files: read as Hummingbot reads them, and parsed once."""

import pytest
import yaml

from hummingbot.runtime.controller_files import KeptDocuments

TEXT = """id: one
spreads: [0.01, 0.02]  # both sides
leverage: 1
started: 2026-01-01
nested: {deep: {list: [a, b]}}
empty:
"""


@pytest.fixture
def documents():
    return KeptDocuments(texts_max=3)


@pytest.fixture
def load(documents, tmp_path):
    def load(text, name="one.yml"):
        path = tmp_path / name
        path.write_text(text)
        with path.open() as file:
            return documents.safe_load(file)

    return load


def test_a_file_is_read_as_by_the_parser_itself_each_time(load):
    expected = yaml.safe_load(TEXT)
    assert [load(TEXT), load(TEXT), load(TEXT, "other.yml")] == [expected] * 3


def test_who_changes_what_was_read_changes_it_for_nobody_else(load):
    first = load(TEXT)
    first["nested"]["deep"]["list"].append("c")
    first["spreads"].clear()
    assert load(TEXT) == yaml.safe_load(TEXT)


def test_a_file_that_was_changed_is_read_anew_and_back_again_too(load):
    assert [load(text)["leverage"] for text in (TEXT, TEXT.replace("leverage: 1", "leverage: 7"), TEXT)] == [1, 7, 1]


def test_a_text_is_parsed_once(load, monkeypatch):
    parsed = []
    before = yaml.SafeLoader.get_single_data
    monkeypatch.setattr(yaml.SafeLoader, "get_single_data", lambda one: parsed.append(one) or before(one))
    for _ in range(3):
        load(TEXT)
    load("other: 1\n")
    assert len(parsed) == 2


def test_what_is_no_document_is_refused_each_time_with_the_name_of_its_file(load):
    for _ in range(2):
        with pytest.raises(yaml.YAMLError, match=r"broken\.yml"):
            load("a: [1, 2\nb: {", "broken.yml")


def test_the_texts_that_were_used_last_are_kept(load, documents):
    for number in (0, 1, 2, 0, 3):
        load(f"number: {number}\n")
    assert list(documents._documents) == [f"number: {number}\n" for number in (2, 0, 3)]
    assert load("number: 1\n") == {"number": 1}
