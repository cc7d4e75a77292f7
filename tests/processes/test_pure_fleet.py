"""The example fleet in pure Python: it trades, ends cleanly, and says what it is; test_fleet.py has it compiled."""

import yaml

from fleet_run import EXAMPLES, FleetRun, wait_until
from hive.pure import VARIABLE

EXCHANGE = ("--rate", "200", "--symbols", "30")
KIND = "pure python"
TRADE_WITHIN_S = 90.0


def test_the_example_fleet_trades_in_pure_python_and_says_so(tmp_path, exchange):
    example = yaml.safe_load((EXAMPLES / "fleet.yml").read_text())
    sections = {key: example[key] for key in ("rate_limiting", "risk")}
    run = FleetRun(tmp_path, exchange, example["strategies"], **sections)
    plain = dict(run.env)
    run.env[VARIABLE] = "1"
    run.up()
    try:
        running = run.wait_running()
        assert running["implementation"] == KIND
        assert f"Hive's modules: {KIND}" in run.text()
        run.env = plain  # whoever asks need not be of the fleet's kind
        assert run.status()["implementation"] == KIND
        assert f"  {KIND}  " in run.hive("status", run.name).stdout.splitlines()[0]
        wait_until(lambda: run.status()["totals"]["fills"] >= 5, f"five fills\n{run.text()}", TRADE_WITHIN_S)
        assert run.stop() == 0, run.text()
    finally:
        run.close()
    report = run.report()
    assert report["implementation"] == KIND
    assert report["totals"]["fills"] >= 5
    assert (report["totals"]["errors"], report["totals"]["mixed_books"], report["totals"]["restarts"]) == (0, 0, 0)
    assert {strategy["ticks"] > 0 for strategy in report["strategies"]} == {True}
    assert exchange.open_orders() == []
