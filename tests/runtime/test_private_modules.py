"""Modules of one strategy: its own state, its own root, its own folders on sys.path; the bytecode is everybody's."""

import decimal
import gc
import importlib
import json
import keyword
import logging
import os
import random
import sys
import warnings
from types import SimpleNamespace

import pytest

from hive.workers.rehearsal import Rehearsal
from hummingbot.runtime import private_modules
from hummingbot.runtime.private_modules import PrivateModules


@pytest.fixture(autouse=True)
def installed(host_config):
    """Hummingbot is set up, and with it the imports of strategies."""


@pytest.fixture
def make(tmp_path):
    """Make modules of a strategy, over a root that has these files."""
    made = []

    def make(tag, root="root", **files):
        for name, text in files.items():
            path = tmp_path / root / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        made.append(PrivateModules(tag, tmp_path / root))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_two_strategies_of_one_file_have_state_of_their_own_and_share_the_bytecode(make):
    text = "seen = []\nclass Quoter:\n    orders = {}\n    def tick(self): seen.append(1)\n"
    a = make("aaaaa", scripts__quoter=text).load("scripts.quoter")
    b = make("bbbbb").load("scripts.quoter")
    a.Quoter().tick()
    a.Quoter.orders["x"] = 1
    assert (a.seen, b.seen, b.Quoter.orders) == ([1], [], {})
    assert a.Quoter is not b.Quoter
    assert a.Quoter.tick.__code__ is b.Quoter.tick.__code__


def test_a_bare_import_and_executed_code_find_the_strategys_own_modules(make):
    quoter = """
def bare(): return __import__("scripts.words").words.WORD
def executed(names):
    exec("from scripts.words import WORD", names)
    return names["WORD"]
"""
    for tag in ("aaaaa", "bbbbb"):
        modules = make(tag, tag, scripts__quoter=quoter, scripts__words=f"WORD = {tag!r}")
        module = modules.load("scripts.quoter")
        strategy = Rehearsal(tag, SimpleNamespace(modules=modules))
        found = [strategy.run(module.bare), strategy.run(module.executed, {}), module.executed(vars(module))]
        assert found == [tag] * 3


def test_files_of_one_name_from_different_roots_never_meet(make):
    text = "from controllers.generic.grid import WORD"
    words = []
    for tag, root in (("aaaaa", "here"), ("bbbbb", "there")):
        modules = make(tag, root, scripts__quoter=text, controllers__generic__grid=f"WORD = {root!r}")
        words.append(modules.load("scripts.quoter").WORD)
    assert words == ["here", "there"]


def test_every_way_to_import_leads_to_the_strategys_own(make):
    modules = make(
        "aaaaa",
        scripts__base="N = 1",
        scripts__quoter="import scripts.base\n"
        "import scripts.base as aliased\n"
        "from scripts import base\n"
        "from . import base as relative\n"
        "from scripts.base import N\n"
        "same = {id(one) for one in (scripts.base, aliased, base, relative)}\n",
    )
    module = modules.load("scripts.quoter")
    assert len(module.same) == module.N == 1
    assert module.base is sys.modules["hive_aaaaa.scripts.base"]


def test_what_is_installed_is_shared(make):
    modules = make("aaaaa", json="N = 'not the real one'", scripts__quoter="import json\nimport decimal")
    module = modules.load("scripts.quoter")
    assert module.json is sys.modules["json"]
    assert module.decimal is sys.modules["decimal"]


@pytest.fixture
async def contexts(stage):
    return [stage.context(name) for name in ("one", "other")]


ADDS_A_FOLDER = (
    "import os, sys\n"
    "sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'lib'))\n"
    "sys.path += [os.path.join(os.path.dirname(__file__), 'lib')]\n"
    "import hive_test_helper\n"
    "import hive_test_package.part\n"
    "WORD = hive_test_helper.WORD + hive_test_package.part.WORD\n"
)


class Owner:
    """What a context's host has of its strategy, as far as imports look at it."""

    def __init__(self, modules):
        self.modules = modules


async def test_a_folder_on_sys_path_is_the_strategys_alone(make, contexts):
    before = list(sys.path)
    words = []
    for context, word in zip(contexts, ("here", "there"), strict=True):
        modules = make(
            context.tag,
            word,
            scripts__quoter=ADDS_A_FOLDER,
            scripts__lib__hive_test_helper=f"import hive_test_package\nWORD = {word!r}",
            scripts__lib__hive_test_package__part=f"WORD = {word[0]!r}",
        )
        context.host_data = Owner(modules)
        words.append(context.run(modules.load, "scripts.quoter").WORD)
        assert word == context.run(importlib.import_module, "hive_test_helper").WORD
        context.host_data = None
    assert words == ["hereh", "theret"]
    assert sys.path == before
    assert "hive_test_helper" not in sys.modules


def test_a_changed_file_is_compiled_again(make):
    first = make("aaaaa", scripts__quoter="N = 1").load("scripts.quoter")
    again = make("aaaaa", scripts__quoter="N = 1234").load("scripts.quoter")
    assert (first.N, again.N) == (1, 1234)


def test_a_reload_is_of_the_strategys_own_module(make):
    a = make("aaaaa", scripts__quoter="seen = []").load("scripts.quoter")
    b = make("bbbbb").load("scripts.quoter")
    for module in (a, b):
        module.seen.append(1)
    importlib.reload(a)
    assert (a.seen, b.seen) == ([], [1])


def test_a_strategy_that_went_leaves_no_module_behind_and_takes_none_of_its_next_life(make):
    modules = make("aaaaa", scripts__quoter="import scripts.base", scripts__base="N = 1")
    modules.load("scripts.quoter")
    again = make("aaaaa")
    again.load("scripts.quoter")
    modules.close()
    assert "hive_aaaaa.scripts.base" in sys.modules
    again.close()
    assert not [name for name in sys.modules if name.startswith("hive_aaaaa")]


def test_a_script_that_cannot_be_imported_costs_only_itself(tmp_path, make):
    files = {"scripts__bad": "raise LookupError('no key')", "scripts__gone": "import sys; sys.exit(3)"}
    make("aaaaa", scripts__good="N = 1", **files)
    path = list(sys.path)
    names = ["scripts.bad", "scripts.gone", "scripts.missing", "scripts.good"]
    failed = {name: type(error).__name__ for name, error in private_modules.warm_up(tmp_path / "root", names)}
    errors = {"bad": "LookupError", "gone": "SystemExit", "missing": "ModuleNotFoundError"}
    assert failed == {f"scripts.{name}": error for name, error in errors.items()}
    assert sys.path == path
    assert not [name for name in sys.modules if name.startswith("hive_.")]


def test_what_is_imported_beforehand_does_to_the_process_what_a_strategy_may(tmp_path, make):
    text = (
        "import decimal, gc, logging, os, random, sys, warnings\n"
        "gc.disable()\nlogging.disable(logging.CRITICAL)\nlogging.getLogger().handlers.clear()\n"
        "random.seed(1)\nwarnings.filterwarnings('ignore')\ndecimal.getcontext().prec = 3\n"
        "sys.path.append('/nowhere')\n"
    )
    make("aaaaa", scripts__careless=text, scripts__harmful="import os\nos.chdir('/')\n")
    root = logging.getLogger()
    before = list(root.handlers), root.manager.disable, gc.isenabled(), list(warnings.filters), random.getstate()
    found = dict(private_modules.warm_up(tmp_path / "root", ["scripts.careless", "scripts.harmful"]))
    after = list(root.handlers), root.manager.disable, gc.isenabled(), list(warnings.filters), random.getstate()
    assert after == before
    assert decimal.getcontext().prec == 28
    assert "/nowhere" not in sys.path
    assert list(found) == ["scripts.harmful"]
    assert str(found["scripts.harmful"]).startswith("os.chdir is refused to strategy scripts.harmful")
    assert os.getcwd() != "/"


async def test_a_module_that_all_strategies_use_is_not_reloaded_by_one(make, contexts):
    context = contexts[0]
    context.host_data = Owner(make(context.tag, scripts__quoter=""))
    with pytest.raises(PermissionError, match=r"importlib.reload of json is refused"):
        context.run(importlib.reload, json)
    context.host_data = None
    assert importlib.reload(keyword) is keyword  # as ever, outside a strategy
