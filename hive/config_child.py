"""The process that reads a fleet file for the supervisor: see config_reader.py."""

import json
import pickle
import sys
from pathlib import Path

from hive.config import load_fleet
from hive.config_reader import Answer, ConfigError


def main() -> None:
    """Read the request from standard input, and write the answer to standard output."""
    request = json.load(sys.stdin)
    files = {key: Path(request[key]) if request[key] is not None else None for key in ("path", "config", "root")}
    try:
        answer = Answer(load_fleet(files.pop("path"), name=request["name"], **files), [])
    except ConfigError as error:
        answer = Answer(None, error.problems)
    pickle.dump(answer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
