"""Two users for one fleet: strategies and all else run as `user`, the gate as `gate_user`; only root can start it so.

    root         reads the keys, then becomes `user` for ever and keeps the right to start gates
    `user`       supervisor (which nobody of that user can trace: it may do more than they), feed, server, workers
    `gate_user`  the gate; its files are those of `user`, see hive/gate/own_user.py

So what runs as `user` can neither read a file of keys that is root's, nor the memory of who holds keys. Root reads the
strategies' files with no more rights than `user`, who could otherwise link one of them to a file of keys. Sources:
capabilities(7), ptrace(2), setfsuid(2).
"""

import contextlib
import ctypes
import os
import pwd
import stat
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path

_CAPABILITY_VERSION_3 = 0x20080522
_SETGID, _SETUID = 6, 7
_KEPT = 1 << _SETGID | 1 << _SETUID
_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT = 8, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4
_LIBC = ctypes.CDLL(None, use_errno=True)


class UsersError(Exception):
    """The fleet cannot be started as its users."""


@dataclass(frozen=True, slots=True)
class Users:
    """Who runs a fleet."""

    user: pwd.struct_passwd
    gate: pwd.struct_passwd


def find_users(user: str, gate_user: str, files: Iterable[Path]) -> Users:
    """Return both users.

    Args:
        files: what says that it is these.

    Raises:
        UsersError: one does not exist or is root, they are the same, this process is not root's, or somebody else could
            change the program or those files.
    """
    found = []
    for key, name in (("user", user), ("gate_user", gate_user)):
        try:
            found.append(pwd.getpwnam(name))
        except KeyError:
            raise UsersError(f"{key}: must be a user of this host, was {name!r}") from None
        if found[-1].pw_uid == 0:
            raise UsersError(f"{key}: must not be root, was {name!r}")
    if found[0].pw_uid == found[1].pw_uid:
        raise UsersError(f"gate_user: must be another user than {user!r}, was {gate_user!r}")
    if os.geteuid() != 0:
        raise UsersError(f"gate_user: only root can start a gate as {gate_user!r}, was started by uid {os.geteuid()}")
    program = [Path(sys.executable), Path(__file__).parent / "gate", *(Path(entry) for entry in sys.path if entry)]
    for path in _with_parents([*program, *files]):
        status = path.stat()
        others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or others:  # in a sticky folder nobody can replace what is root's
            raise UsersError(f"gate_user: {path} must be root's and writable by nobody else: the gate depends on it")
    return Users(*found)


@contextlib.contextmanager
def files_of(user: pwd.struct_passwd) -> Iterator[None]:
    """Let root open inside only what `user` may open, and as that user; its groups stay that user's."""
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    _use_files_of(user.pw_uid, user.pw_gid)
    try:
        yield
    finally:
        _use_files_of(0, 0)


def become_user(users: Users, environment: MutableMapping[str, str]) -> None:
    """Be the fleet's user for ever, with the right to start gates as theirs; call it before any thread is started.

    Args:
        environment: gets that user's HOME and loses what names folders of others; no module is imported from below
            that HOME.

    Raises:
        UsersError: the kernel does not allow it.
    """
    user = users.user
    if _LIBC.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0:
        raise UsersError(f"user: PR_SET_KEEPCAPS failed: {os.strerror(ctypes.get_errno())}")
    try:
        os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except OSError as error:
        raise UsersError(f"user: this process may not become {user.pw_name!r}: {error.strerror}") from None
    _set_capabilities(_KEPT, inheritable=0)
    environment.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name, PYTHONNOUSERSITE="1")
    for name in [name for name in environment if name.startswith("XDG_") and not _owns(user, environment[name])]:
        del environment[name]


@contextlib.contextmanager
def passing_on() -> Iterator[None]:
    """Let what is exec'ed inside have the right to change users; what is exec'ed outside has no right at all."""
    _set_capabilities(_KEPT, inheritable=_KEPT)
    try:
        for one in (_SETGID, _SETUID):
            if _LIBC.prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, one, 0, 0) != 0:
                raise UsersError(f"gate_user: PR_CAP_AMBIENT failed: {os.strerror(ctypes.get_errno())}")
        yield
    finally:
        _LIBC.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
        _set_capabilities(_KEPT, inheritable=0)


def _with_parents(paths: Iterable[Path]) -> list[Path]:
    """Return what exists of some paths, of what they are links to, and of every folder above either."""
    ways = {way for path in paths for way in (path.absolute(), path.resolve())}
    return sorted(path for path in {one for way in ways for one in (way, *way.parents)} if path.exists())


def _use_files_of(uid: int, gid: int) -> None:
    _LIBC.setfsgid(gid)
    _LIBC.setfsuid(uid)
    if (_LIBC.setfsuid(uid), _LIBC.setfsgid(gid)) != (uid, gid):  # the only way to be told
        raise UsersError(f"user: this process may not use the files of uid {uid}, gid {gid}")


def _owns(user: pwd.struct_passwd, folder: str) -> bool:
    try:
        return os.stat(folder).st_uid == user.pw_uid
    except OSError:
        return False


def _set_capabilities(kept: int, inheritable: int) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(kept, kept, inheritable, 0, 0, 0)  # effective, permitted, inheritable: low, then high
    if _LIBC.capset(header, sets) != 0:
        raise UsersError(f"user: capset failed: {os.strerror(ctypes.get_errno())}")
