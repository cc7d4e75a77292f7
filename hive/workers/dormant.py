"""The worker server asleep: it holds its control channel, and none of the memory that workers were forked from.

    python hive/workers/dormant.py --channel-fd N --boot-fd M

A server that has forked its workers keeps the original of every page that they have written to since. So when nobody
was forked for a while it replaces itself by this, a bare interpreter, and becomes the server again when a message or
the end of the channel comes: a worker's restart then takes some seconds longer, the time of the imports.
"""

import os
import select
import sys


def main(arguments: list[str]) -> None:
    """Wait for the channel, then be the worker server again; does not return."""
    channel_fd = int(arguments[arguments.index("--channel-fd") + 1])
    waiting = select.poll()
    waiting.register(channel_fd, select.POLLIN)
    while not waiting.poll():
        pass
    os.execv(sys.executable, [sys.executable, "-P", "-m", "hive.workers.process", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
