"""`hive up`: the keys of the fleet's live venues, from where its file says into sealed descriptors.

    variables | key file | keystore and password  ->  keys.seal()  ->  handover.become(), without the variables

All of it happens before anything else of the fleet starts, and in a process that is replaced at its end.
"""

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping

from hive import keys
from hive.cli_errors import CONFIG, Failure
from hive.fleet import EnvironmentKeys, FileKeys, FleetConfig, KeystoreKeys, LiveVenue
from hive.key_file import KeyFileError, others_may, read_key_file

PASSWORD_VARIABLE = "HBOT_PASSWORD"
LINE_MAX = 4096


def keys_of(fleet: FleetConfig, password_stdin: bool) -> dict[str, int]:
    """Return the descriptor of each live venue's keys; nobody of this user can read this process's memory from then on.

    Args:
        password_stdin: read the keystore's password from standard input instead of HBOT_PASSWORD.

    Raises:
        Failure: with code 4 and every key that cannot be had.
    """
    keys.forbid_reads()
    pairs = read_keys(fleet, os.environ, read_password if password_stdin else None)
    return {venue: keys.seal(*pair) for venue, pair in pairs.items()}


def read_keys(
    fleet: FleetConfig, environment: Mapping[str, str], ask: Callable[[], str] | None = None
) -> dict[str, tuple[str, str]]:
    """Return key and secret of each live venue by its name; Failure when one cannot be had.

    Args:
        environment: where variables are looked up.
        ask: returns the keystore's password; None: HBOT_PASSWORD has it.
    """
    stores = _open_stores(fleet, environment, ask)
    pairs = {}
    problems = []
    for venue in _live(fleet):
        try:
            pairs[venue.name] = _checked(venue, _pair(venue, environment, stores))
        except _NoKeys as error:
            problems += [f"{_place(fleet, venue)}.{line}" for line in error.lines]
    if problems:
        raise Failure("\n".join(problems), CONFIG)
    return pairs


def read_password() -> str:
    """Return the first line of standard input; from a terminal it is asked for and not shown."""
    if os.isatty(0):
        return getpass.getpass("password of Hummingbot's keystore: ", sys.stderr)
    line = b""
    while len(line) < LINE_MAX and not line.endswith(b"\n"):
        byte = os.read(0, 1)  # one by one: what follows the line is not ours
        if not byte:
            break
        line += byte
    return line.rstrip(b"\r\n").decode(errors="surrogateescape")


def secret_variables(fleet: FleetConfig) -> set[str]:
    """Return the variables that may hold keys of this fleet's venues, or the password of some."""
    named = [venue.keys for venue in _live(fleet) if isinstance(venue.keys, EnvironmentKeys)]
    return {PASSWORD_VARIABLE, *(name for one in named for name in (one.api_key_env, one.api_secret_env))}


def without_secrets(fleet: FleetConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that children find: this one without any variable that may hold a secret."""
    secret = secret_variables(fleet)
    return {name: value for name, value in environment.items() if name not in secret}


def notices(fleet: FleetConfig, environment: Mapping[str, str]) -> list[str]:
    """Return a line for each thing that `hive up` will need for the keys and would not find now."""
    lines = []
    for venue in _live(fleet):
        source = venue.keys
        if isinstance(source, EnvironmentKeys):
            for name in (source.api_key_env, source.api_secret_env):
                if not environment.get(name):
                    lines.append(f"venues.{venue.name}: the variable {name} is not set here; `hive up` needs it")
        elif not source.path.is_file():
            lines.append(f"venues.{venue.name}: there is no {source.path} here; `hive up` needs it")
        elif isinstance(source, FileKeys) and others_may(source.path.stat()):
            lines.append(f"venues.{venue.name}: `hive up` wants mode 0600: chmod 600 {source.path}")
    return lines


class _NoKeys(Exception):
    """Why a venue's keys cannot be had: a line for each option, "option: rule"."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


def _open_stores(
    fleet: FleetConfig, environment: Mapping[str, str], ask: Callable[[], str] | None
) -> dict[str, tuple[str, str] | str]:
    """Return by venue what its keystore holds, or what is wrong with it; a wrong password is one Failure for all."""
    venues = [venue for venue in _live(fleet) if isinstance(venue.keys, KeystoreKeys)]
    if not venues:
        if ask is not None:
            raise Failure(f"--password-stdin: no venue of {fleet.path.name} has a keystore", CONFIG)
        return {}
    password = ask() if ask is not None else environment.get(PASSWORD_VARIABLE, "")
    if not password:
        where = "standard input has none" if ask is not None else f"{PASSWORD_VARIABLE} is not set"
        rule = f"needs its password: in the variable {PASSWORD_VARIABLE}, or on standard input with --password-stdin"
        raise Failure(f"{_place(fleet, venues[0])}.keystore: {rule}; {where}", CONFIG)
    request = {"password": password, "stores": [[str(venue.keys.path), venue.kind] for venue in venues]}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hive.keystore"],
        input=json.dumps(request) + "\n",
        stdout=subprocess.PIPE,
        env=without_secrets(fleet, os.environ),
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failure(f"the process that opens keystores ended with exit code {done.returncode}")
    answer = json.loads(done.stdout)
    if "wrong" in answer:
        raise Failure(answer["wrong"], CONFIG)
    given = [one if isinstance(one, str) else (one[0], one[1]) for one in answer["stores"]]
    return dict(zip((venue.name for venue in venues), given, strict=True))


def _pair(
    venue: LiveVenue, environment: Mapping[str, str], stores: Mapping[str, tuple[str, str] | str]
) -> tuple[str, str]:
    source = venue.keys
    if isinstance(source, KeystoreKeys):
        opened = stores[venue.name]
        if isinstance(opened, str):
            raise _NoKeys(f"keystore: {opened}")
        return opened
    if isinstance(source, FileKeys):
        try:
            return read_key_file(source.path)
        except KeyFileError as error:
            raise _NoKeys(f"keys_file: {error}") from None
    variables = {"api_key_env": source.api_key_env, "api_secret_env": source.api_secret_env}
    missing = [f"{key}: the variable {name} is not set" for key, name in variables.items() if not environment.get(name)]
    if missing:
        raise _NoKeys(*missing)
    return environment[source.api_key_env], environment[source.api_secret_env]


def _checked(venue: LiveVenue, pair: tuple[str, str]) -> tuple[str, str]:
    """Refuse what no venue takes as a key, before the gate finds it; nothing of it is shown."""
    option = {EnvironmentKeys: "{}_env", FileKeys: "keys_file: {}", KeystoreKeys: "keystore: {}"}[type(venue.keys)]
    bad = [name for name, text in zip(("api_key", "api_secret"), pair, strict=True) if not _sendable(text)]
    if bad:
        rule = "must be ASCII without blanks or line ends, and not empty"
        raise _NoKeys(*(f"{option.format(name)}: {rule}" for name in bad))
    return pair


def _sendable(text: str) -> bool:
    return bool(text) and all("!" <= letter <= "~" for letter in text)


def _live(fleet: FleetConfig) -> list[LiveVenue]:
    return [venue for venue in fleet.venues if isinstance(venue, LiveVenue)]


def _place(fleet: FleetConfig, venue: LiveVenue) -> str:
    return f"{fleet.path.name}: venues.{venue.name}"
