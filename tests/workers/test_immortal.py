"""Objects that are never counted again: still what they were, shared by forks, and no trouble at the end."""

import subprocess
import sys
import textwrap

from hive.workers.immortal import IMMORTAL, can_immortalize


def outcome(script: str) -> str:
    """Return what a script prints in a process of its own, which must end well."""
    begin = "import gc, os, sys\nfrom hive.workers.immortal import IMMORTAL, immortalize\n"
    result = subprocess.run(
        [sys.executable, "-c", begin + textwrap.dedent(script)], capture_output=True, text=True, timeout=120
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def test_what_is_found_is_immortal_and_what_comes_later_is_not():
    assert outcome("""
        class Kind:
            "A text that only this class has."
            def method(self, number=123_456_789):
                def inner():
                    return "a constant of an inner function"
                return inner() + str(number)
        kept = {"one": [Kind(), ("a", 1.5)], "untracked": ("tuple of texts", 98_765.25)}
        assert immortalize() > 10_000
        gc.freeze()
        code = Kind.method.__code__
        inner = next(one for one in code.co_consts if hasattr(one, "co_code"))
        parts = [kept, kept["one"], kept["one"][0], kept["one"][1], kept["untracked"][1], Kind, Kind.__doc__, code,
                 Kind.method, Kind.method.__defaults__[0], code.co_consts, inner, inner.co_consts[-1]]
        print({sys.getrefcount(one) for one in parts} == {IMMORTAL})
        later = [object() for _ in range(3)]
        print(all(sys.getrefcount(one) < 10 for one in later))
        print(kept["one"][0].method())
    """).split("\n") == ["True", "True", "a constant of an inner function123456789"]


def test_everything_goes_on_as_before():
    assert outcome("""
        import asyncio, copy, decimal, json, pickle, re, threading, weakref
        items, table, text = [1, 2, 3], {"a": 1}, "text of " + str(len(sys.argv))
        immortalize()
        gc.freeze()
        items.append(4); items[0] = "x"; del items[1]; table["b"] = 2; del table["a"]; text += "!"
        for _ in range(100_000):
            held = [items, table, text, json.dumps]
            del held
        sys.intern(text)
        class Later: pass
        gone = weakref.ref(Later())
        thread = threading.Thread(target=items.sort, kwargs={"key": str}); thread.start(); thread.join()
        async def main(): return await asyncio.gather(*(asyncio.sleep(0, n) for n in range(3)))
        print(items, table, text, pickle.loads(pickle.dumps(copy.deepcopy(table))), gone() is None, gc.collect() >= 0)
        print(asyncio.run(main()), re.sub("a", "b", "aba"), decimal.Decimal("1.10") + 1)
    """) == "[3, 4, 'x'] {'b': 2} text of 1! {'b': 2} True True\n[0, 1, 2] bbb 2.10"


def test_a_fork_that_reads_shared_objects_makes_them_no_copies_of_its_own():
    script = """
        kept = [[str(n) for n in range(20)] for _ in range(20_000)]
        {make}
        gc.freeze(); gc.disable()
        def private_kb():
            with open("/proc/self/smaps_rollup") as lines:
                return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))
        if os.fork() == 0:
            before = private_kb()
            held = [one for part in kept for one in part]
            del held
            print(private_kb() - before, flush=True)
            os._exit(0)
        os.wait()
    """
    counted = int(outcome(script.replace("{make}", "")))
    uncounted = int(outcome(script.replace("{make}", "immortalize()")))
    assert counted > 20_000
    assert uncounted < counted / 4


def test_the_supported_interpreters_keep_their_counts_where_they_are_looked_for():
    assert can_immortalize()
    assert sys.getrefcount(object()) < IMMORTAL  # asking has changed nothing
