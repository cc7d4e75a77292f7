"""Have a fleet file read by a process of its own, as the supervisor does for `hive add` and `hive apply`.

    supervisor  -- one line of JSON: path, config, root, name -->  python -m hive.config_child  (pydantic, YAML)
                <-- a pickled Answer ------------------------------

What reads a file takes 12 MB of imports; the process that trades for weeks is not to carry them for it.
"""

import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hive.fleet import FleetConfig

PROGRAM = "hive.config_child"
READ_WITHIN_S = 60.0


class ConfigError(Exception):
    """A fleet that cannot be used; `problems` has one line for each error."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Answer:
    """What was read, or every error that was found."""

    fleet: FleetConfig | None
    problems: list[str]


def read_fleet(
    path: Path, *, config: Path | None = None, root: Path | None = None, name: str | None = None
) -> FleetConfig:
    """Return the fleet of a file as hive.config.load_fleet() does, with the same arguments.

    Raises:
        ConfigError: with every error found, or because the process did not answer.
    """
    files = {"path": path, "config": config, "root": root}
    request = {"name": name, **{key: None if file is None else str(file) for key, file in files.items()}}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", PROGRAM],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            timeout=READ_WITHIN_S,
            start_new_session=True,  # ctrl-C at the terminal is for the supervisor
            check=False,  # who reaps the supervisor's children may have taken its exit code: the answer counts
        )
        answer: Answer = pickle.loads(done.stdout)  # from a program of ours
    except subprocess.TimeoutExpired:
        raise ConfigError([f"{path}: must be readable within {READ_WITHIN_S:g} s"]) from None
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError([f"{path}: the process that reads it did not answer ({error})"]) from None
    if answer.fleet is None:
        raise ConfigError(answer.problems)
    return answer.fleet
