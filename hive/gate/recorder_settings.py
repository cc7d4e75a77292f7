"""What the recorder is told at boot."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hive.gate.errors import BootError
from hive.gate.settings import account_folder, is_replay


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """The recorder's boot message.

    journals: the folder of each venue account's journal, by the venue's name. data: where the databases are.
    """

    run: str
    epoch: int
    run_dir: Path
    log_file: str | None
    log_level: str
    journals: Mapping[str, Path]
    data: Path
    owners: Path

    @classmethod
    def from_boot(cls, boot: dict) -> "RecorderSettings":
        """Read the boot message; BootError names what is missing."""
        try:
            state_dir = Path(boot["state_dir"])
            return cls(
                run=boot["run"],
                epoch=int(boot["epoch"]),
                run_dir=Path(boot["run_dir"]),
                log_file=boot.get("log_file"),
                log_level=str(boot.get("log_level") or "INFO").upper(),
                journals={
                    entry["name"]: account_folder(state_dir, entry["name"], entry.get("mode") == "sim")
                    for entry in boot["venues"]
                    if not is_replay(entry)
                },
                data=Path(boot.get("data") or state_dir / "data"),
                owners=state_dir / "strategies.json",
            )
        except KeyError as error:
            raise BootError(f"the recorder's boot message lacks {error}") from None
