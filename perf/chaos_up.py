"""`hive up` for chaos.py's fleet: the real supervisor, whose workers load ChaosHost.

    python perf/chaos_up.py FLEET.yml ROOT WORKERS [HOST]
"""

import sys
from pathlib import Path

from hive.cli_errors import Failure
from hive.cli_up import up
from hive.handover import UpOptions

HOST = "chaos_host:ChaosHost"


def main(fleet: str, root: str, workers: str, host: str = HOST) -> int:
    """Run the fleet until it is stopped; return the exit code."""
    options = UpOptions(Path(fleet), workers=int(workers), root=Path(root), pin=False, host=host)
    try:
        up(options)
    except Failure as failure:
        failure.show()
        return failure.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
