"""README and docs/ against what they describe: links, commands, options, keys of the fleet file, scripts, metrics."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from hive.cli import cli
from hive.config_models import Entry, File, Live, Replay, Risk, Sim
from hive.config_yaml import parse_yaml
from hive.gate.venue import check_endpoint

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
COMMAND = re.compile(r"(?<![\w./-])hive ([a-z]+)([^`\n]*)")
YAML = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
SECTIONS = ("runtime", "multiplexer", "rate_limiting", "journal", "logs", "monitoring", "feed", "on_stale")
PERF_SCRIPT = re.compile(r"^if __name__ == .__main__.:\n +(?:sys\.exit\()?run\(", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        found.add(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return found


def options_of(name: str) -> set[str]:
    command = cli.commands[name]
    return {option for one in command.params if isinstance(one, click.Option) for option in one.opts}


def invocations(text: str) -> Iterator[tuple[str, str]]:
    """What is written as a command of `hive`: in a code span or on a line of a code block."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", FENCE.sub("", text))
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()]
    lines += [line for line in text.splitlines() if line.startswith("    ")]
    for code in [*spans, *lines]:
        for match in COMMAND.finditer(code):
            if match[1] in cli.commands:
                yield match[1], match[2].split(" #")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_is_written_behind_a_command_is_one_of_it(page):
    for command, rest in invocations(page.read_text()):
        if command != "sim":  # the exchange has options of its own
            own = re.split(r"&&|\||;| hive ", rest)[0]
            assert set(OPTION.findall(own)) <= {*options_of(command), "--help"}, f"hive {command}{rest}"


def test_readme_and_fleet_page_name_every_command():
    for page in (ROOT / "README.md", ROOT / "docs/fleet.md"):
        table = "\n".join(line for line in page.read_text().splitlines() if line.startswith("| `hive"))
        missing = {name for name in cli.commands if not re.search(rf"\b{name}\b", table)}
        assert not missing, page.name


def test_fleet_page_has_every_option_of_up_and_of_record():
    text = (ROOT / "docs/fleet.md").read_text()
    rows = "\n".join(line for line in text.splitlines() if line.startswith("| `--"))
    assert options_of("up") | options_of("record") <= {*OPTION.findall(rows), "--info"}
    assert "hive record --info" in text


def test_every_piece_of_a_fleet_file_is_one():
    pieces = [piece for page in PAGES for piece in YAML.findall(page.read_text()) if ", ...}" not in piece]
    assert len(pieces) >= 8
    for piece in pieces:
        fleet = File.model_validate(parse_yaml(piece, "page"))
        for venue in fleet.venues.values():
            if isinstance(venue, Live):
                for address in (venue.rest_url, venue.ws_url, venue.ws_api_url):
                    check_endpoint(address, venue.production)


def key_rows() -> dict[str, str]:
    """The rows of the table of keys: `section.key` or `key`, and the default."""
    text = (ROOT / "docs/fleet.md").read_text()
    rows, section = {}, ""
    for line in text[text.index("| key | default | meaning |") : text.index("### Recordings")].splitlines():
        if head := re.match(r"\| \*\*`(\w+)`\*\* \|", line):
            section = head[1]
        cells = line.split(" | ")
        for key in re.findall(r"`(\.?[\w.]+)`", cells[0]):
            rows[f"{section}{key}" if key.startswith(".") else key] = cells[1].strip(" `") if len(cells) > 1 else ""
    return rows


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_a_section_stands_in_the_table_with_its_default(section):
    model = File.model_fields[section].annotation
    rows = key_rows()
    assert {f"{section}.{key}" for key in model.model_fields} == {key for key in rows if key.startswith(f"{section}.")}
    for key, field in model.model_fields.items():
        said = rows[f"{section}.{key}"]
        if field.default in (None, {}):
            assert said in ("none", "by itself"), key
        elif isinstance(field.default, bool):
            assert said == str(field.default).lower(), key
        elif isinstance(field.default, int | float):
            assert float(said) == field.default, key
        else:
            assert said == field.default, key


def test_every_other_key_of_the_fleet_file_is_described():
    rows = key_rows()
    text = (ROOT / "docs/fleet.md").read_text()
    assert set(File.model_fields) - {"strategies"} <= {key.split(".")[0] for key in rows}
    venue_keys = {key.rsplit(".", 1)[-1] for key in rows if key.startswith("venues.")}
    for model in (Sim, Live, Replay):
        assert set(model.model_fields) <= venue_keys, model.__name__
    described: list[tuple[type[BaseModel], str]] = [(Entry, "### Strategies"), (Risk, "### Limits and refusals")]
    for model, heading in described:
        part = text[text.index(heading) :]
        table = {key for line in part.splitlines() if line.startswith("| `") for key in re.findall(r"`(\w+)`", line)}
        assert set(model.model_fields) <= table, model.__name__


def test_every_measuring_script_is_in_the_table_and_the_other_way_round():
    text = (ROOT / "docs/development.md").read_text()
    listed = set(re.findall(r"^\| `(\w+\.py)` \|", text[text.index("## Measuring") :], re.MULTILINE))
    scripts = {one.name for one in (ROOT / "perf").glob("*.py") if PERF_SCRIPT.search(one.read_text())}
    assert listed == scripts
