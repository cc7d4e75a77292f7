"""What another process of the host can be seen to hold: its environment, its arguments, its memory."""


def read(path: str) -> bytes:
    """Return a file of /proc, b"" where it may not be read: of a process that is not dumpable."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except PermissionError:
        return b""


def holds(pid: int, secret: bytes) -> bool:
    """Return whether a process has `secret` anywhere in its writable memory."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            area, modes, *_ = line.split()
            if "w" not in modes:
                continue
            start, end = (int(edge, 16) for edge in area.split("-"))
            try:
                memory.seek(start)
                if secret in memory.read(end - start):
                    return True
            except OSError:
                continue
    return False
