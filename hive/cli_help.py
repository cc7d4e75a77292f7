"""What `hive --help` prints: the commands by what one wants of them, each on one line of 80 columns."""

import click

SECTIONS = (
    ("Start and stop a fleet", ("check", "plan", "up", "down", "clean")),
    ("Look at it", ("top", "status", "gate", "books", "logs")),
    ("Hold its orders", ("halt", "resume", "flat")),
    ("Change it while it runs", ("add", "remove", "restart", "pause", "move", "apply")),
    ("Besides", ("record", "sim", "completion")),
)
EPILOG = """\b
Begin with `hive up --strategies examples/fleet.yml`: twelve strategies on a
simulated exchange. `hive top` shows them; ctrl-C stops them.

\b
Exit codes: 0 ok, 1 error, 2 not found, 3 not running, 4 configuration,
5 timeout."""


class Sections(click.Group):
    """A group of commands that lists them by SECTIONS; one that is in none of them is not listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the sections."""
        return [name for _, names in SECTIONS for name in names if name in self.commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of commands for each section, all in one column."""
        widest = max(map(len, self.commands))
        limit = formatter.width - widest - 6
        for title, names in SECTIONS:
            rows = [(name.ljust(widest), self.commands[name].get_short_help_str(limit)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)
