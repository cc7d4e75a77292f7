"""What a strategy may not do to its process: refused with its name, and nothing is changed."""

import locale
import multiprocessing
import os
import resource
import signal
import sys
import threading
import warnings

import pytest

from hive.workers.refusals import Refusals


@pytest.fixture
def refusals():
    made = Refusals()
    made.install()
    yield made
    made.uninstall()


def change_directory():
    os.chdir("/")


def change_directory_by_descriptor():
    fd = os.open("/", os.O_RDONLY)
    try:
        os.fchdir(fd)
    finally:
        os.close(fd)


def set_variable():
    os.environ["HIVE_TEST_REFUSAL"] = "1"


def put_variable():
    os.putenv("HIVE_TEST_REFUSAL", "1")


def clear_variables():
    os.environ.clear()


def set_recursion_limit():
    sys.setrecursionlimit(10**9)


def set_locale():
    locale.setlocale(locale.LC_ALL, "C")


def set_mask():
    os.umask(0)


def set_priority():
    os.nice(1)


def set_priority_by_pid():
    os.setpriority(os.PRIO_PROCESS, os.getpid(), 19)


def set_cpus():
    os.sched_setaffinity(0, os.sched_getaffinity(0))


def become_another_program():
    os.execv("/bin/true", ["true"])


def limit_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))


def limit_files_by_pid():
    resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_its_group():
    os.killpg(0, signal.SIGKILL)


HARMS = [
    change_directory,
    change_directory_by_descriptor,
    set_variable,
    put_variable,
    clear_variables,
    set_recursion_limit,
    set_locale,
    kill_itself,
    kill_its_group,
    set_mask,
    set_priority,
    set_priority_by_pid,
    set_cpus,
    become_another_program,
    limit_files,
    limit_files_by_pid,
]


def fork():
    if os.fork() == 0:
        signal.raise_signal(signal.SIGKILL)


def fork_with_a_terminal():
    if os.forkpty()[0] == 0:
        signal.raise_signal(signal.SIGKILL)


HARMS += [fork, fork_with_a_terminal]


def state():
    shared = os.getcwd(), dict(os.environ), sys.getrecursionlimit(), locale.setlocale(locale.LC_ALL)
    mask = os.umask(0o77)
    os.umask(mask)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    return shared, mask, os.nice(0), os.sched_getaffinity(0), limit


@pytest.mark.parametrize("harm", HARMS)
def test_a_strategy_is_refused_by_name_and_nothing_is_changed(refusals, idle_strategies, harm):
    context = idle_strategies.new("guilty")
    before = state()
    with pytest.raises(PermissionError, match=r"is refused to strategy guilty: .* is the whole worker's"):
        context.run(harm)
    assert state() == before
    ((who, text),) = refusals.take()
    assert (who, "was refused" in text) == (context, True)
    assert refusals.take() == []


@pytest.mark.parametrize("leave", [lambda: os._exit(7), lambda: os.abort()])
def test_an_exit_past_python_becomes_a_systemexit_of_the_strategy(refusals, idle_strategies, leave):
    context = idle_strategies.new("guilty")
    with pytest.raises(SystemExit):
        context.run(leave)
    ((who, text),) = refusals.take()
    assert (who, text.startswith("it asked its process to end")) == (context, True)


def test_a_forked_child_of_a_strategy_may_end_itself(refusals, idle_strategies):
    pid = os.fork()
    if pid == 0:
        idle_strategies.new("parent").run(os._exit, 7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_forked_child_of_a_strategy_may_have_a_priority_and_a_mask_of_its_own(refusals, idle_strategies):
    pid = os.fork()
    if pid == 0:
        try:
            idle_strategies.new("parent").run(lambda: (os.nice(1), os.umask(0o77), os.execv("/bin/true", ["true"])))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert refusals.take() == []


def test_multiprocessing_may_fork_and_its_child_ends_when_it_is_told_to(refusals, idle_strategies):
    def start():
        child = multiprocessing.get_context("fork").Process(target=signal.pause)
        child.start()
        return child

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = idle_strategies.new("a").run(start)
    child.kill()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert refusals.take() == []


def test_a_thread_without_a_strategys_name_is_refused_as_well(refusals):
    caught = []

    def harm():
        try:
            change_directory()
        except PermissionError as error:
            caught.append(str(error))

    thread = threading.Thread(target=harm)
    thread.start()
    thread.join()
    assert caught == ["os.chdir is refused to a thread of a strategy: the working directory is the whole worker's"]


def test_a_library_may_set_variables_while_it_is_imported(refusals, idle_strategies, tmp_path, monkeypatch):
    (tmp_path / "sets_a_variable.py").write_text("import os\nos.environ['HIVE_TEST_IMPORT'] = '1'\n")
    monkeypatch.syspath_prepend(tmp_path)
    idle_strategies.new("a").run(__import__, "sets_a_variable")
    assert os.environ.pop("HIVE_TEST_IMPORT") == "1"
    assert refusals.take() == []


def test_what_does_no_harm_is_allowed(refusals, idle_strategies):
    def harmless():
        locale.setlocale(locale.LC_ALL)
        sys.setrecursionlimit(sys.getrecursionlimit())
        os.kill(os.getpid(), 0)
        os.nice(0)
        resource.prlimit(0, resource.RLIMIT_NOFILE)
        return os.environ.get("HOME")

    assert idle_strategies.new("a").run(harmless) == os.environ.get("HOME")
    assert refusals.take() == []


def test_outside_of_strategies_and_after_the_end_everything_is_as_it_was(refusals):
    os.environ["HIVE_TEST_REFUSAL"] = "1"
    del os.environ["HIVE_TEST_REFUSAL"]
    os.chdir(os.getcwd())
    exit_now, set_limit = os._exit, sys.setrecursionlimit
    refusals.uninstall()
    assert os._exit is not exit_now
    assert sys.setrecursionlimit is not set_limit
