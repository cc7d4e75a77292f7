"""The supervisor's process of a fleet that serves /metrics: `hive.up`, and what only that needs, 3 MB of memory."""

import sys

from hive.metrics import MetricsServer
from hive.up import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], MetricsServer))
