"""What `hive --help` prints: every command once, whole, on a terminal of 80 columns."""

import pytest
from click.testing import CliRunner

from hive.cli import cli
from hive.cli_help import SECTIONS


def shown(columns: int) -> list[str]:
    result = CliRunner().invoke(cli, ["--help"], terminal_width=columns)
    assert result.exit_code == 0
    return result.output.splitlines()


def test_every_command_is_in_one_section():
    listed = [name for _, names in SECTIONS for name in names]
    assert sorted(listed) == sorted(cli.commands)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_a_command_is_told_in_one_whole_line(name):
    lines = [line for line in shown(80) if line.startswith(f"  {name} ")]
    assert len(lines) == 1
    assert len(lines[0]) <= 78
    assert lines[0].rstrip().endswith((".", ")"))
    assert not lines[0].rstrip().endswith("...")


def test_nothing_is_wider_than_the_terminal():
    assert max(map(len, shown(80))) <= 80
