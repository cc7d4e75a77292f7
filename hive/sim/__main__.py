"""Run the simulated exchange: `python -m hive.sim`."""
from __future__ import annotations

from hive.sim.cli import main

if __name__ == "__main__":
    main()
