"""Run unmodified Hummingbot strategies, many to a process, over Hive's shared memory and through Hive's gate.

This package sits beside the published `hummingbot` package and adds to it; it copies and patches none of its files.
`host.py` is the entry: `hive.workers` names it only as a dotted string.
"""

import hive.shm  # noqa: F401  chooses, before anything here is looked for, compiled modules or their twins
