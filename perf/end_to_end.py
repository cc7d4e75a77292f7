"""What does a fleet of ten real strategies cost and deliver, from `hive up` to the exchange and back?

    simulated exchange --> feed --> shared books --> 2 workers, 10 strategies --> gate --> exchange
                                                     ^ one of them checks at every tick that it sees one book

Runs `hive up` on the example strategies (three pure_market_making, two avellaneda_market_making, three scripts, one of
them a probe, two with controllers) and reads the report that it writes. The simulator's own CPU and memory are not the
fleet's: they are reported apart. The probe makes its tick dearer than the script's own; its figures are included.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

from endings import completed
from harness import Args, Goal, Outcome, check, run

ROOT = Path(__file__).parents[1]
HIVE = Path(sys.executable).with_name("hive")
PROBE = "probe-btc"
STRATEGIES = 10

GOALS = (
    Goal("e2e.market_connections", "<=", 1),
    Goal("e2e.unknown_orders", "<=", 0),
    Goal("e2e.errors", "<=", 0),
    Goal("e2e.pss_mb", "<=", 350, "MB"),
    Goal("e2e.first_order_s", "<=", 20, "s"),
    Goal("e2e.lateness_p99_ms", "<=", 10, "ms"),
    Goal("e2e.mixed_books", "<=", 0),
)


def write_fleet(folder: Path) -> Path:
    """Copy the examples, add the probe, and return the file of a fleet of ten."""
    shutil.copytree(ROOT / "examples", folder, dirs_exist_ok=True)
    shutil.copy(Path(__file__).with_name("book_probe.py"), folder / "scripts")
    fleet = yaml.safe_load((folder / "fleet.yml").read_text())
    fleet["strategies"] = [entry for entry in fleet["strategies"] if entry["id"] != "bands-eth"]  # ten stay ten
    touch = next(entry for entry in fleet["strategies"] if entry["id"] == "touch")
    touch["for_each"]["trading_pair"] = ["SOL-USDT", "BNB-USDT"]
    config = (folder / "conf" / "scripts" / "touch_maker.yml").read_text().replace("touch_maker", "book_probe")
    (folder / "conf" / "scripts" / "book_probe.yml").write_text(config)
    probe = {"id": PROBE, "script": "book_probe", "config": "book_probe.yml"}
    fleet["strategies"].append(probe)
    fleet["name"] = "perf-end-to-end"
    fleet["monitoring"]["metrics_port"] = None
    path = folder / "fleet.yml"
    path.write_text(yaml.safe_dump(fleet))
    return path


def measure(args: Args) -> Outcome:
    """Run the fleet once and read its report."""
    seconds = args.size("seconds", 60, 30)
    with tempfile.TemporaryDirectory(prefix="hive-perf-") as scratch:
        report_file = Path(scratch) / "report.json"
        fleet = write_fleet(Path(scratch) / "root")
        command = [
            HIVE,
            "up",
            "--workers",
            "2",
            "--strategies",
            fleet,
            "--duration",
            str(seconds),
            "--report",
            report_file,
        ]
        environment = {**os.environ, "XDG_STATE_HOME": f"{scratch}/state", "XDG_RUNTIME_DIR": scratch}
        result = completed(command, environment, seconds + 120)
        check(result.returncode == 0, f"hive up ended with {result.returncode}:\n{result.stdout}{result.stderr}")
        report = json.loads(report_file.read_text())
        logs = "".join(path.read_text(errors="replace") for path in Path(scratch).glob("state/hive/*/logs/worker*"))
    strategies = {strategy["id"]: strategy for strategy in report["strategies"]}
    check(len(strategies) == STRATEGIES, f"the fleet must have {STRATEGIES} strategies, had {len(strategies)}")
    check(strategies[PROBE]["ticks"] > 0, "the probe never ticked")
    silent = [name for name, strategy in strategies.items() if not strategy["orders"]["acked"]]
    check(not silent, f"every strategy must have placed an order; these had none: {', '.join(silent)}")
    totals = report["totals"]
    sim = [process for process in report["processes"] if process["role"] == "sim"]
    check(logs != "", "the workers have left no log to look for mixed books in")
    values = {
        "e2e.market_connections": max(venue["market_connections"] for venue in report["venues"]),
        "e2e.unknown_orders": totals["orders"]["unknown"],
        "e2e.errors": totals["errors"],
        "e2e.pss_mb": totals["pss_mb"],
        "e2e.first_order_s": report["first_order_s"],
        "e2e.lateness_p99_ms": report["tick_lateness_us"]["p99"] / 1e3,
        "e2e.mixed_books": totals["mixed_books"] + logs.count("mixed book: "),
    }
    lines = [
        f"orders {totals['orders']['submitted']}, fills {totals['fills']}, ticks {totals['ticks']}",
        f"CPU {totals['cpu_seconds']} s of the fleet in {report['duration_s']} s",
        f"simulator, not counted: CPU {sim[0]['cpu_seconds']} s, PSS {sim[0]['pss_mb']} MB",
        f"order latency {report['order_latency_us']} us; book latency {report['book_latency_us']} us",
    ]
    report["config_path"] = Path(report["config_path"]).name
    lines += [f"logged: {line}" for line in logs.splitlines() if " ERROR " in line]
    return Outcome(values, {"report": report}, lines)


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
