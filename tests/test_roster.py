"""The supervisor's book-keeping when fleet.json cannot be written: the fleet runs on, and it is written again later."""

import logging

from changes_bench import Bench


def test_a_fleet_whose_file_cannot_be_written_is_told_once_and_goes_on(tmp_path, caplog):
    (tmp_path / "fleet").mkdir()
    bench = Bench(tmp_path / "fleet")
    bench.roster.save()
    with caplog.at_level(logging.ERROR, logger="hive.supervisor"):
        (tmp_path / "fleet").rename(tmp_path / "away")
        bench.roster.save()
        bench.roster.save()
        assert [one.getMessage() for one in caplog.records] == [
            f"{tmp_path / 'fleet' / 'fleet.json'} cannot be written: No such file or directory"
        ]
        (tmp_path / "away").rename(tmp_path / "fleet")
        bench.roster.set_strategy("a", "paused", "look")
        bench.roster.save()
    assert (tmp_path / "fleet" / "fleet.json").read_text().count('"state":"paused"') == 1
    assert len(caplog.records) == 1
    bench.close()
