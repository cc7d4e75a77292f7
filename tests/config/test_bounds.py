"""Numbers without measure, texts that are none, and files that are no files: refused with place and rule, at once."""

import os
import types
import typing
from decimal import Decimal
from pathlib import Path

import pytest
from annotated_types import Ge, Gt, Le, Lt

from config.conftest import ONE, VENUES, problems_of
from hive import config_models
from hive.config import ConfigError, load_fleet
from hive.config_models import File, Model
from hive.config_yaml import BYTES_MAX

NUMBERS = (int, float, Decimal)
AMOUNTS = "risk: {max_order_notional: 1e18}"  # those have their digits as their bound
KINDS = ["fleet.yml", "conf/scripts/quoter.yml", "conf/controllers/grid.yml", "more.yml"]
USERS = "strategies: [{script: quoter, config: quoter.yml}, {script: many, config: many.yml}]\n"


def models() -> list[type[Model]]:
    found = [one for one in vars(config_models).values() if isinstance(one, type) and issubclass(one, Model)]
    assert File in found
    return [one for one in found if one is not Model]


def numbers_in(annotation: object, metadata: tuple = ()) -> list[tuple[type, tuple]]:
    """Return every type of number that an annotation allows, with what bounds it."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        own = [one for item in annotation.__metadata__ for one in getattr(item, "metadata", [item])]
        return numbers_in(annotation.__origin__, (*metadata, *own))
    if origin in (typing.Union, types.UnionType):
        return [one for part in typing.get_args(annotation) for one in numbers_in(part, metadata)]
    if origin in (list, dict):
        return [one for part in typing.get_args(annotation) for one in numbers_in(part)]
    return [(annotation, metadata)] if annotation in NUMBERS else []


def test_every_number_of_a_fleet_file_has_a_least_and_a_greatest_value():
    seen = 0
    for model in models():
        for name, field in model.model_fields.items():
            for number, bounds in numbers_in(field.annotation, tuple(field.metadata)):
                seen += 1
                if number is not Decimal:  # an amount's digits bound it
                    place = f"{model.__name__}.{name}"
                    assert any(isinstance(one, Ge | Gt) for one in bounds), place
                    assert any(isinstance(one, Le | Lt) for one in bounds), place
    assert seen > 50


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("rate_limiting: {global_orders_per_second: 1e300}", "less than or equal to 100000, was 1e+300"),
        ("rate_limiting: {per_strategy_orders_per_second: 1e-300}", "greater than or equal to 0.001, was 1e-300"),
        (f"runtime: {{worker_memory_mb: {10**99}}}", f"less than or equal to 16777216, was {10**49}"),
        ("runtime: {worker_memory_mb: 1e30}", "a valid integer, was 1e+30"),
        ("on_stale: {cancel_after_ms: 9223372036854775808}", "less than or equal to 86400000, was 9223372036854775808"),
        ("feed: {linger_s: 1e9}", "less than or equal to 86400, was 1000000000.0"),
    ],
)
def test_a_number_beyond_its_use_is_refused_with_its_value(root, section, problem):
    key = section.replace(": {", ".").split(":")[0]
    assert problems_of(root, f"{section}\n{VENUES}{ONE}") == [f"fleet.yml: {key}: Input should be {problem}"]


def test_an_amount_has_as_many_digits_as_messages_carry(root):
    (problem,) = problems_of(root, f"{AMOUNTS}\n{VENUES}{ONE}")
    assert problem.endswith("must have at most 18 digits before the point and 18 after it, was 1e+18")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            r'venues: {binance: {mode: live, rest_url: u, ws_url: u, ws_api_url: u, keys_file: "a\0b"}}',
            r"venues.binance.keys_file: must have no control characters, was 'a\x00b'",
        ),
        (
            r'venues: {binance: {mode: replay, file: "\uD800"}}',
            "venues.binance.file: Input should be a valid string, unable to parse raw data as a unicode string",
        ),
        (r'monitoring: {metrics_host: "\e"}', r"monitoring.metrics_host: must have no control characters, was '\x1b'"),
        (r'"ru\e[2Jn": 1', r"ru\x1b[2Jn: Extra inputs are not permitted"),
    ],
)
def test_a_text_has_no_control_characters_and_none_reaches_the_terminal(root, text, problem):
    venues = "" if text.startswith("venues") else VENUES
    assert f"fleet.yml: {problem}" in problems_of(root, f"{text}\n{venues}{ONE}")


@pytest.mark.parametrize("value", [r'"a\e[31mb"', r'"a\0"'])
@pytest.mark.parametrize("key", ["id", "script", "config", "root", "strategy"])
def test_a_strategys_names_and_paths_have_none_either(root, key, value):
    other = "script: quoter, config: quoter.yml, "
    problems = problems_of(root, f"{VENUES}strategies: [{{{other if key in ('id', 'root') else ''}{key}: {value}}}]\n")
    assert f"fleet.yml: strategies.0.{key}: must have no control characters" in problems[0]
    assert all(line.isprintable() for line in problems)


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        ("folder", "Is a directory"),
        ("fifo", "must be a regular file"),
        ("large", f"must have at most {BYTES_MAX} bytes, has {BYTES_MAX + 1}"),
        ("binary", "must be UTF-8 text"),
        ("text", "must be a mapping of keys to values"),
        ("deep", "must not be nested so deeply"),
    ],
)
@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_file_of_settings_is_said_to_be_none_and_holds_nobody_up(root, name, spoil, rule):
    file = root / name
    (root / "more.yml").write_text("")
    options = {"config": root / "more.yml"} if name == "more.yml" else {}
    (root / "fleet.yml").write_text(VENUES + USERS)
    spoil_file(file, spoil)
    with pytest.raises(ConfigError) as caught:
        load_fleet(root / "fleet.yml", **options)
    problems = caught.value.problems
    if spoil in ("folder", "fifo") and name.startswith("conf/"):
        assert any("there is no " in line and Path(name).name in line for line in problems), problems
    else:
        assert any(line.endswith(rule) and Path(name).name in line for line in problems), problems


def spoil_file(file: Path, how: str) -> None:
    file.unlink(missing_ok=True)
    match how:
        case "folder":
            file.mkdir()
        case "fifo":
            os.mkfifo(file)
        case "large":
            file.write_bytes(b"#" * (BYTES_MAX + 1))
        case "binary":
            file.write_bytes(bytes(range(128, 256)))
        case "text":
            file.write_text("settings\n")
        case "deep":
            file.write_text("[" * 100_000)
