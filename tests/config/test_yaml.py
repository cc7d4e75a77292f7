"""YAML as the fleet file has it: read as Hummingbot reads it, and refused with line and column."""

import pytest

from config.conftest import ONE, VENUES, fleet_of, problems_of


def test_broken_yaml_is_named_by_line_and_column(root):
    assert problems_of(root, "runtime: {\nvenues: ]\n")[0].startswith("fleet.yml: line 2, column 9: ")


def test_brackets_without_end_are_an_error_like_another(root):
    assert problems_of(root, "[" * 100_000) == ["fleet.yml: must not be nested so deeply"]


def test_a_key_that_stands_twice_is_an_error(root):
    assert problems_of(root, VENUES + ONE + VENUES)[0] == "fleet.yml: line 3, column 1: 'venues' stands twice"


def test_values_are_read_as_hummingbot_reads_them(root):
    (root / "conf/scripts/quoter.yml").write_text(
        "exchange: binance\ntrading_pair: ETH-USDT\nstart_time: 12:30:00\nsmall: 1e-5\nflag: yes\nday: 2024-01-01\n"
        "code: 010\nempty:\n"
    )
    config = fleet_of(root, VENUES + ONE).strategies[0].config
    assert config["start_time"] == "12:30:00"
    assert config["small"] == 1e-5
    assert config["flag"] == "yes"
    assert config["day"] == "2024-01-01"
    assert config["code"] == 10
    assert config["empty"] is None


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("x: &x [*x]", "must hold at most 1000000 values, counted wherever an alias repeats them"),
        (f"x: {'1' * 5000}", "line 1, column 4: a whole number must have at most 100 digits, had 5000"),
    ],
)
def test_yaml_that_never_ends_is_refused(root, line, rule):
    assert problems_of(root, line + "\n" + VENUES + ONE) == [f"fleet.yml: {rule}"]


def test_aliases_of_aliases_are_counted_without_being_followed(root):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    assert problems_of(root, "\n".join(lines) + "\n" + VENUES + ONE)[0].startswith("fleet.yml: must hold at most")
