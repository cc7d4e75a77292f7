"""The `hive` command. Exit codes: 0 ok, 1 error, 2 not found, 3 not running, 4 config, 5 timeout."""

import os
import sys
from pathlib import Path

import click

from hive import __version__, cli_ask, cli_change, cli_gate, completion
from hive.cli_books import BooksOptions, books
from hive.cli_errors import ERROR, OK, Failure, of_file
from hive.cli_help import EPILOG, Sections
from hive.cli_logs import LogsOptions, logs
from hive.cli_options import CONFIG, FILE, FLEET, ORDERS, ROOT, SCOPE_STRATEGY, SCOPE_VENUE, WORKERS, Seconds
from hive.cli_plan import PlanOptions, plan
from hive.cli_record import PUBLIC, RecordOptions, info, record
from hive.cli_top import TopOptions, top
from hive.cli_up import up
from hive.handover import UpOptions
from hive.screens import Showing
from hive.top_view import SORT_KEYS


@click.group(cls=Sections, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hive")
def cli() -> None:
    """Run many Hummingbot strategies on one host."""


@cli.command("up")
@WORKERS
@click.option("--strategies", type=FILE, required=True, help="The fleet file.")
@CONFIG
@click.option("--duration", type=Seconds(min=0), help="Stop after so many seconds.")
@click.option("--report", type=FILE, help="Write a report there at the end.")
@click.option("--no-pin", is_flag=True, help="Do not bind workers to CPUs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--password-stdin", is_flag=True, help="Read the password of Hummingbot's keystore from stdin.")
@ROOT
@click.option("--name", help="The fleet's name.  [default: the file's `name`, or its file name]")
def up_command(
    workers: int | None,
    strategies: Path,
    config: Path | None,
    duration: float | None,
    report: Path | None,
    no_pin: bool,
    as_json: bool,
    password_stdin: bool,
    root: Path | None,
    name: str | None,
) -> None:
    """Start a fleet and run it until ctrl-C, SIGTERM or `hive down`."""
    options = UpOptions(
        strategies=strategies,
        workers=workers,
        config=config,
        root=root,
        name=name,
        duration_s=duration,
        report=report,
        pin=not no_pin,
        as_json=as_json,
        password_stdin=password_stdin,
    )
    up(options)


@cli.command("check")
@click.argument("fleet", type=FILE)
@WORKERS
@CONFIG
@ROOT
def check_command(fleet: Path, workers: int | None, config: Path | None, root: Path | None) -> None:
    """Validate a fleet file and all that it names; start nothing."""
    cli_ask.check(UpOptions(strategies=fleet, workers=workers, config=config, root=root))


@cli.command("plan")
@click.argument("fleet", type=FILE)
@WORKERS
@CONFIG
@ROOT
@click.option("--no-pin", is_flag=True, help="As for `hive up`.")
@click.option("--name", help="As for `hive up`.")
@click.option("--measure", is_flag=True, help="First write down what the running fleet's strategies have cost.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def plan_command(
    context: click.Context,
    fleet: Path,
    workers: int | None,
    config: Path | None,
    root: Path | None,
    no_pin: bool,
    name: str | None,
    measure: bool,
    as_json: bool,
) -> None:
    """Show where a fleet would go and what it needs; start nothing.

    Ends with 1 when it will not fit.
    """
    options = UpOptions(strategies=fleet, workers=workers, config=config, root=root, name=name, pin=not no_pin)
    context.exit(plan(PlanOptions(options, as_json, measure)))


@cli.command("status")
@click.argument("name", required=False, shell_complete=completion.fleets)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def status_command(name: str | None, as_json: bool) -> None:
    """Show a running fleet's figures once."""
    cli_ask.status(name, as_json)


@cli.command("down")
@click.argument("name", required=False, shell_complete=completion.fleets)
@click.option("--timeout", type=Seconds(0, 86_400, min_open=True), default=60.0, show_default=True, help="Seconds.")
def down_command(name: str | None, timeout: float) -> None:
    """Stop a fleet; its strategies cancel their orders first."""
    cli_ask.down(name, timeout)


@cli.command("halt")
@click.argument("name", required=False, shell_complete=completion.fleets)
@SCOPE_VENUE
@SCOPE_STRATEGY
@click.option("--reason", help="Shown wherever the halt is.")
def halt_command(name: str | None, venue: str | None, strategy: str | None, reason: str | None) -> None:
    """Let a fleet, a venue or a strategy place no new orders. Cancels pass; `hive resume` lifts it."""
    cli_gate.halt(name, venue, strategy, reason)


@cli.command("resume")
@click.argument("name_or_id", required=False, metavar="[NAME|ID]", shell_complete=completion.fleets_and_strategies)
@SCOPE_VENUE
@SCOPE_STRATEGY
@FLEET
def resume_command(name_or_id: str | None, venue: str | None, strategy: str | None, fleet: str | None) -> None:
    """Lift a halt, or tick a paused strategy (ID) again.

    A halt of the fleet, of a venue or of a strategy (--strategy); then shows what is halted still. With the ID of a
    strategy: tick it again, which was paused; halts are left as they are.
    """
    name, paused = cli_change.meant(name_or_id, fleet)
    if paused is not None and (venue or strategy):
        raise click.UsageError("ID lifts a pause, --venue and --strategy lift a halt: say one")
    if paused is not None:
        cli_change.unpause(paused, name)
    else:
        cli_gate.resume(name, venue, strategy)


@cli.command("add")
@click.argument("strategy", metavar="ID", shell_complete=completion.strategies)
@FLEET
@click.option("--file", type=FILE, help="Of which fleet file.  [default: the one that the fleet was started with]")
def add_command(strategy: str, fleet: str | None, file: Path | None) -> None:
    """Start one more strategy of the fleet file."""
    cli_change.add(strategy, fleet, file)


@cli.command("remove")
@click.argument("strategy", metavar="ID", shell_complete=completion.strategies)
@FLEET
def remove_command(strategy: str, fleet: str | None) -> None:
    """End a strategy; its orders are cancelled."""
    cli_change.remove(strategy, fleet)


@cli.command("restart")
@click.argument("strategy", metavar="ID", shell_complete=completion.strategies)
@FLEET
@ORDERS
def restart_command(strategy: str, fleet: str | None, orders: str | None) -> None:
    """End a strategy and start it anew, as it was configured.

    Its orders are cancelled unless told to keep them.
    """
    cli_change.restart(strategy, fleet, orders)


@cli.command("pause")
@click.argument("strategy", metavar="ID", shell_complete=completion.strategies)
@FLEET
@click.option("--reason", help="Shown wherever its state is.")
def pause_command(strategy: str, fleet: str | None, reason: str | None) -> None:
    """Tick a strategy no more, until `hive resume ID`.

    Its orders rest, and its executors still close.
    """
    cli_change.pause(strategy, fleet, reason)


@cli.command("move")
@click.argument("strategy", metavar="ID", shell_complete=completion.strategies)
@click.argument("worker", metavar="WORKER|new", shell_complete=completion.workers)
@FLEET
@ORDERS
def move_command(strategy: str, worker: str, fleet: str | None, orders: str | None) -> None:
    """End a strategy and start it anew on another worker.

    `new` is a worker of its own. Its orders are kept unless told to cancel them.
    """
    cli_change.move(strategy, worker, fleet, orders)


@cli.command("apply")
@click.argument("file", type=FILE)
@FLEET
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def apply_command(file: Path, fleet: str | None, dry_run: bool) -> None:
    """Make the running fleet what its edited file says.

    Only what differs is touched.
    """
    cli_change.apply(file, fleet, dry_run)


@cli.command("flat")
@click.argument("name", required=False, shell_complete=completion.fleets)
@click.option("--cancel-all", is_flag=True, help="Cancel every open order of the fleet.")
@click.option(
    "--timeout", type=Seconds(min=0, min_open=True, max=3600), default=30.0, show_default=True, help="Seconds."
)
def flat_command(name: str | None, cancel_all: bool, timeout: float) -> None:
    """Halt a fleet and cancel every open order of it.

    Ends with 0 only when the venue confirms that none is open.
    """
    if not cancel_all:
        raise click.UsageError("say --cancel-all: every open order of the fleet is cancelled")
    cli_gate.flat(name, timeout)


@cli.command("gate")
@click.argument("name", required=False, shell_complete=completion.fleets)
@click.option("--watch", is_flag=True, help="Show it again and again; q leaves.")
@click.option("--interval", type=Seconds(0.2, 60), default=1.0, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per screen.")
def gate_command(name: str | None, watch: bool, interval: float, as_json: bool) -> None:
    """Show a fleet's gate: limits, queues, who waits and spends."""
    cli_gate.gate(name, Showing(watch, interval, as_json))


@cli.command("top")
@click.argument("name", required=False, shell_complete=completion.fleets)
@click.option("--sort", type=click.Choice(list(SORT_KEYS)), default="id", show_default=True)
@click.option("--interval", type=Seconds(0.2, 60), default=1.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Print one screen, measured over one interval, and leave.")
@click.option("--width", type=click.IntRange(20, 1000), help="Of --once.  [default: the terminal's; in a pipe 150]")
def top_command(name: str | None, sort: str, interval: float, once: bool, width: int | None) -> None:
    """Watch a running fleet; it is not disturbed.

    Without a terminal it is as with --once.
    """
    top(TopOptions(name, sort, interval, once, width))


@cli.command("books")
@click.argument("pair", required=False)
@click.option(
    "--fleet",
    "name",
    help="Whose books.  [default: the only fleet that runs]",
    shell_complete=completion.fleets,
)
@click.option("--venue", help="Only this venue's.", shell_complete=completion.venues)
@click.option("--depth", type=click.IntRange(1, 1000), default=10, show_default=True, help="Levels of PAIR's ladder.")
@click.option("--watch", is_flag=True, help="Show it again and again; q leaves.")
@click.option("--interval", type=Seconds(0.05, 60), default=1.0, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per screen.")
def books_command(
    pair: str | None, name: str | None, venue: str | None, depth: int, watch: bool, interval: float, as_json: bool
) -> None:
    """List a fleet's books, best prices and state, or PAIR's ladder."""
    books(BooksOptions(pair, name, venue, depth, watch, interval, as_json))


@cli.command("record")
@click.option("--venue", type=click.Choice(sorted(PUBLIC)), default="binance", show_default=True)
@click.option("--pairs", default="BTC-USDT", show_default=True, help="Which, separated by commas.")
@click.option("--kinds", default="book,trades", show_default=True, help="Of book, trades and candles:INTERVAL.")
@click.option("--depth", type=click.IntRange(5, 1000), default=50, show_default=True, help="Levels to be replayed.")
@click.option("--duration", type=Seconds(min=0, min_open=True), help="Stop after so many seconds.")
@click.option("--out", type=FILE, help="A new file.  [default: VENUE-TIME.rec]")
@click.option("--rest-url", help="Where the venue is.  [default: its addresses for public data]")
@click.option("--ws-url", help="As --rest-url.")
@click.option("--info", "shown", type=FILE, help="Show what this recording holds instead.")
def record_command(
    venue: str,
    pairs: str,
    kinds: str,
    depth: int,
    duration: float | None,
    out: Path | None,
    rest_url: str | None,
    ws_url: str | None,
    shown: Path | None,
) -> None:
    """Record a venue's market data to a file, until ctrl-C.

    Needs no fleet and no key.
    """
    if shown is not None:
        info(shown)
        return
    wanted = tuple(dict.fromkeys(pairs.replace(" ", "").split(",")))
    record(RecordOptions(venue, wanted, tuple(kinds.split(",")), depth, duration, out, rest_url, ws_url))


@cli.command("logs")
@click.argument("what", required=False, metavar="[ID|PROCESS]", shell_complete=completion.logs)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until ctrl-C.")
@click.option("--lines", "-n", type=click.IntRange(0, 10**6), default=50, show_default=True, help="How many at first.")
@click.option(
    "--fleet",
    help="Whose logs.  [default: the only fleet that runs, or that has run]",
    shell_complete=completion.fleets_with_logs,
)
def logs_command(what: str | None, follow: bool, lines: int, fleet: str | None) -> None:
    """Show the logs of a fleet, of a strategy, or of a process.

    Processes are supervisor, feed, gate, recorder, server, sim, worker (all of them), worker0, ...
    """
    logs(LogsOptions(what, fleet, follow, lines))


@cli.command("completion")
@click.argument("shell", type=click.Choice(completion.SHELLS))
def completion_command(shell: str) -> None:
    """Print what completes `hive` in bash, zsh or fish.

    For bash: eval "$(hive completion bash)"
    """
    click.echo(completion.script(cli, shell))


@cli.command("clean")
def clean_command() -> None:
    """Remove what dead fleets left: segments, folders, key locks."""
    cli_ask.clean()


@cli.command("sim", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sim_command(arguments: tuple[str, ...]) -> None:
    """Run the simulated exchange by itself (see `hive sim --help`)."""
    # It becomes this process, so that no other command carries an exchange in its memory.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "hive.sim", *arguments])


def open_standard_streams() -> None:
    """Open what the shell has closed (`>&-`) on /dev/null, before a socket or a key gets its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)  # noqa: SIM115 - for as long as the process lives
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
            if stream.fileno() != number:
                raise OSError(f"descriptor {number} must be free or open, {stream.fileno()} was the next")


def main() -> None:
    """Run the command line and exit with its code."""
    open_standard_streams()
    try:
        result = cli.main(prog_name="hive", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(ERROR)  # click's own 2 means "not found" here
    except Failure as failure:
        failure.show()
        sys.exit(failure.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(ERROR)
    except OSError as error:
        of_file(error).show()
        sys.exit(ERROR)
    except click.Abort:
        sys.exit(ERROR)
    sys.exit(result if isinstance(result, int) else OK)


if __name__ == "__main__":
    main()
