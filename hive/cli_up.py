"""`hive up`: everything between the command line and the supervisor that this process then becomes."""

import contextlib
import importlib.metadata
from typing import NoReturn

from hive import descriptors
from hive._build_info import HUMMINGBOT_RELEASE
from hive.cli_errors import CONFIG, Failure
from hive.cli_keys import keys_of, secret_variables
from hive.config import ConfigError, load_fleet, users_in
from hive.fleet import FleetConfig
from hive.handover import PROGRAM, PROGRAM_WITH_METRICS, HandOver, UpOptions, become
from hive.placing import placed
from hive.plan import Placement
from hive.users import Users, UsersError, files_of, find_users


def up(options: UpOptions) -> NoReturn:
    """Read a fleet and become its supervisor, whose exit code is this process's.

    Raises:
        Failure: it cannot be started: its configuration or its keys are in the way.
    """
    try:
        users = users_of(options)
        with files_of(users.user) if users is not None else contextlib.nullcontext():
            fleet, placement = prepared(options)
    except UsersError as error:
        raise Failure(f"{options.strategies.name}: {error}", CONFIG) from None
    check_hummingbot()
    if options.report is not None and not options.report.absolute().parent.is_dir():
        raise Failure(f"--report: there is no folder {options.report.absolute().parent}")
    check_files(fleet, placement)
    key_fds = keys_of(fleet, options.password_stdin)
    program = PROGRAM_WITH_METRICS if fleet.monitoring.metrics_port else PROGRAM
    become(HandOver(options, fleet, placement, users, key_fds), secret_variables(fleet), program)


def check_files(fleet: FleetConfig, placement: Placement) -> None:
    """Let this process, and so its children, open as many files as it may; Failure when the fleet needs more."""
    descriptors.allow_all()
    needed = descriptors.open_files(fleet, [len(worker.strategies) for worker in placement.workers])
    if problem := descriptors.too_few(needed, descriptors.allowed()):
        raise Failure(problem)


def prepared(options: UpOptions) -> tuple[FleetConfig, Placement]:
    """Return the checked fleet and its placement; Failure with code 4 names everything that is wrong."""
    fleet = loaded(options)
    return fleet, placed(fleet, options)


def loaded(options: UpOptions) -> FleetConfig:
    """Return the checked fleet; Failure with code 4 names everything that is wrong."""
    try:
        return load_fleet(options.strategies, config=options.config, root=options.root, name=options.name)
    except ConfigError as error:
        raise Failure("\n".join(error.problems), CONFIG) from None


def users_of(options: UpOptions) -> Users | None:
    """Return the users that the fleet is to run as, None when everything runs as this process does."""
    user, gate_user = users_in(options.strategies, options.config)
    if not isinstance(user, str) or not isinstance(gate_user, str):
        return None  # nobody is named, or load_fleet() refuses it
    return find_users(user, gate_user, [file for file in (options.strategies, options.config) if file is not None])


def check_hummingbot() -> None:
    """Raise Failure unless the installed Hummingbot is the one that the extensions were compiled against."""
    try:
        installed = importlib.metadata.version("hummingbot")
    except importlib.metadata.PackageNotFoundError:
        raise Failure("hummingbot is not installed here: run ./compile in Hive's folder") from None
    if installed != HUMMINGBOT_RELEASE:
        raise Failure(
            f"hummingbot {installed} is installed, but Hive was compiled against {HUMMINGBOT_RELEASE}: "
            f"run ./compile in Hive's folder, which installs that release and builds again"
        )
