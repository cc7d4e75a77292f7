"""The worker server: imports and sets up once what all workers share, then forks a worker for every `spawn`.

    python -m hive.workers.process --channel-fd N

Workers are forked twice, so that they become children of the supervisor (its subreaper), and a dying server takes none
of them along. The server has no loop and no thread: a fork copies neither. Its own heap is frozen and made immortal
before the first fork, so that neither a worker's collector nor its reference counts write to the shared pages. When it
has forked all and nothing more is asked of it, it sleeps (`dormant.py`).
"""

import argparse
import errno
import gc
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from hive.shm.channel import Channel, connect_fd
from hive.shm.tracing import allow_tracing
from hive.workers import dormant
from hive.workers.boot import ServerBoot
from hive.workers.errors import BootError
from hive.workers.host import Host
from hive.workers.immortal import immortalize
from hive.workers.log import flush_logs, set_up_logging
from hive.workers.worker import BOOT_WITHIN_S, EXIT_CANNOT_BOOT, EXIT_DIED, EXIT_STOPPED, worker_main

log = logging.getLogger(__name__)


def load_host(name: str) -> type[Host]:
    """Return the class named "module:Class"; raises BootError when it cannot be imported."""
    module, colon, attribute = name.partition(":")
    if not colon:
        raise BootError(f"boot: host must be module:Class, was {name}")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BootError(f"boot: host {name}: {error}") from error


def serve(channel: Channel, host_class: type[Host], boot: ServerBoot) -> int | None:
    """Fork workers until told to stop, or until the supervisor is gone; returns the exit code, None to fall asleep."""
    forked = False
    while True:
        try:
            message = channel.recv_blocking(boot.asleep_after_s)
        except TimeoutError:
            if forked:
                return None
            continue
        if message is None or message.get("type") == "stop":
            return EXIT_STOPPED
        if message.get("type") != "spawn":
            log.warning("a message of type %s is not for the worker server", message.get("type"))
            continue
        (fd,) = message["fds"]
        pid = fork_worker(channel, fd, host_class, boot.host_config)
        os.close(fd)
        log.info("worker %s, epoch %s: pid %d", message["index"], message["epoch"], pid)
        forked = True
        channel.send({"type": "spawned", "index": message["index"], "epoch": message["epoch"], "pid": pid})


def fork_worker(channel: Channel, fd: int, host_class: type[Host], host_config: Mapping[str, Any]) -> int:
    """Fork a worker whose control channel is `fd`, as a child of this process's reaper, and return its pid.

    Raises:
        OSError: the host has no process or memory for another.
    """
    read_end, write_end = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            pid = os.fork()
        except OSError:
            os._exit(EXIT_DIED)
        if pid:
            os.write(write_end, str(pid).encode())
            os._exit(0)
        os.close(read_end)
        os.close(write_end)
        channel.close()
        be_worker(fd, host_class, host_config)
    os.close(write_end)
    os.waitpid(middle, 0)
    said = os.read(read_end, 32)
    os.close(read_end)
    if not said:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return int(said)


def be_worker(fd: int, host_class: type[Host], host_config: Mapping[str, Any]) -> None:
    """Live as a worker and leave the process: nothing of the server's own ending runs in it."""
    code = EXIT_DIED
    try:
        code = worker_main(fd, host_class, host_config)
    except BaseException:  # the one broad catch of the process
        log.exception("the worker died")
    finally:
        flush_logs()
        os._exit(code)


def fall_asleep(channel_fd: int, boot: Mapping[str, Any]) -> NoReturn:
    """Give all memory back and wait for the next message as dormant.py, run as a file: it needs no package."""
    log.info("asleep until a worker is to be forked")
    flush_logs()
    boot_fd = os.memfd_create("hive-boot", 0)
    os.write(boot_fd, json.dumps(boot).encode())
    os.set_inheritable(boot_fd, True)
    os.set_inheritable(channel_fd, True)
    command = [sys.executable, "-P", "-S", dormant.__file__]
    os.execv(sys.executable, [*command, "--channel-fd", str(channel_fd), "--boot-fd", str(boot_fd)])


def main(arguments: list[str]) -> int:
    """Run the server; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m hive.workers.process", description="Hive's worker server.")
    parser.add_argument("--channel-fd", type=int, required=True, help="descriptor of the supervisor's control channel")
    parser.add_argument("--boot-fd", type=int, help="descriptor of the boot message, when it was asleep")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the whole foreground group; the supervisor decides
    gc.disable()
    channel = connect_fd(options.channel_fd)
    if options.boot_fd is None:
        message = channel.recv_blocking(BOOT_WITHIN_S)
    else:
        message = json.loads(os.pread(options.boot_fd, os.fstat(options.boot_fd).st_size, 0))
        os.close(options.boot_fd)
    if message is None:
        return EXIT_DIED
    try:
        boot = ServerBoot.from_dict(message)
        set_up_logging(boot.log_file, boot.log_level)
        if message.get("profiling"):
            allow_tracing()
        host_class = load_host(boot.host)
        host_class.preload(boot.host_config)
    except Exception as error:
        log.exception("cannot boot")
        channel.send({"type": "fatal", "message": f"{type(error).__name__}: {error}"})
        return EXIT_CANNOT_BOOT
    log.info("%d objects are never counted again, and so shared with every worker", immortalize())
    gc.freeze()  # without a collection before: the holes that it leaves would be filled, and so copied, by each worker
    if options.boot_fd is None:
        channel.send({"type": "ready"})
    try:
        code = serve(channel, host_class, boot)
    except OSError as error:
        channel.send({"type": "event", "level": "error", "text": f"no worker can be forked: {error}"})
        raise
    if code is None:
        fall_asleep(options.channel_fd, message)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
