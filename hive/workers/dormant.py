"""The worker server asleep: it holds its control channel, and none of the memory that workers were forked from.

    python -S hive/workers/dormant.py --channel-fd N --boot-fd M

A server that has forked its workers keeps the original of every page that they have written to since. So when nobody
was forked for a while it replaces itself by this, a bare interpreter, and becomes the server again when a message
comes: a worker's restart then takes some seconds longer, the time of the imports. To be told to stop, or to be left
alone, it need not wake up.
"""

import os
import select
import socket
import sys

STOP = b'{"type":"stop"'  # how a message that says so begins on the channel


def main(arguments: list[str]) -> None:
    """Wait for the channel, then be the worker server again or end; does not return."""
    channel = socket.socket(fileno=int(arguments[arguments.index("--channel-fd") + 1]))
    waiting = select.poll()
    waiting.register(channel, select.POLLIN)
    while not waiting.poll():
        pass
    if channel.recv(len(STOP), socket.MSG_PEEK) in (b"", STOP):
        sys.exit(0)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "hive.workers.process", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
