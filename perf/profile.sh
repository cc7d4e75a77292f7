#!/usr/bin/env bash
# Profile any part of a running fleet: where its time goes, what it does now, who holds its memory. docs/profiling.md
set -uo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
BIN=${HIVE_BIN:-$ROOT/.venv/bin}

usage() {
    cat <<TEXT
usage: perf/profile.sh COMMAND PART [options] [-- options for py-spy]

  record PART   sample its stacks for a while and draw a flame graph
  top PART      watch its functions live
  dump PART     print the stack of every thread now
  memory PART   trace its allocations for a while: a table of allocation sites, and a flame graph of what was kept

  PART          worker0, worker1, ..., feed, gate, recorder, server, supervisor, or a strategy's id: its worker

  --fleet NAME  which fleet; not needed when one runs
  -d SECONDS    how long to record or trace (10)
  -o FILE       where the graph goes (PART.svg, memory: PART.html); *.txt of record: stacks and counts instead
  -h, --help

Options after -- go to py-spy, for instance \`-- --native --gil\`. Needs the packages of Hive's group dev, and for memory
gdb or lldb. The fleet file must say monitoring.enable_profiling: true, unless root asks; gate and supervisor have keys
at hand, and only root may look into them.
TEXT
}

die() {
    printf 'profile.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

# The pid of a part, by what \`hive status\` says.
pid_of() {
    local status
    status=$("$BIN/hive" status ${FLEET:+"$FLEET"} --json) || die "there is no such fleet, or more than one: --fleet NAME"
    "$BIN/python" - "$1" 3<<<"$status" <<'PYTHON'
import json, sys
part, status = sys.argv[1], json.load(open(3))
parts = {one["role"] + (str(one["index"]) if one["role"] == "worker" else ""): one for one in status["processes"]}
homes = {one["id"]: f"worker{one['worker']}" for one in status["strategies"]}
found = parts.get(homes.get(part, part.replace(" ", "")))
if found is None or not found["pid"]:
    sys.exit(f"profile.sh: PART must be one of {', '.join(parts)} or a strategy's id, was {part}")
print(found["pid"])
PYTHON
}

# Only root, or whom the process lets, may look into it.
may_look() {
    [ "$(id -u)" = 0 ] && return
    case $PART in gate | supervisor) die "$PART has keys at hand: only root may look into it" 4 ;; esac
    [ -r "/proc/$PID/maps" ] || die "$PART (pid $PID) is not yours to look into: be the fleet's user, or root" 4
}

memory() {
    command -v gdb >/dev/null || command -v lldb >/dev/null || die "memory needs gdb or lldb: apt-get install gdb" 3
    local trace
    trace=$(mktemp "${TMPDIR:-/tmp}/hive-memray.XXXXXX") || exit 1
    trap "rm -f '$trace'" EXIT # quoted now: the name is gone when the function has returned
    chown --reference="/proc/$PID" "$trace" 2>/dev/null # the process itself writes it
    "$BIN/python" -m memray attach --force --trace-python-allocators --duration "$SECONDS_LONG" --output "$trace" "$PID" >&2 ||
        die "memray could not attach to $PART (pid $PID): may it be traced? docs/profiling.md"
    sleep "$SECONDS_LONG"
    local patience=60
    while find "/proc/$PID/fd" -lname "$trace*" 2>/dev/null | grep -q .; do # it ends by itself, a little later
        [ $((patience -= 1)) -gt 0 ] || die "$PART did not end its trace"
        sleep 0.5
    done
    "$BIN/python" -m memray flamegraph --force --leaks --output "$OUTPUT" "$trace" >/dev/null || die "memray drew no graph"
    COLUMNS=${COLUMNS:-200} "$BIN/python" -m memray summary --sort-column 4 --max-rows 40 "$trace"
    printf 'what was allocated meanwhile and kept: %s\n' "$OUTPUT"
}

COMMAND="" PART="" FLEET="" SECONDS_LONG=10 OUTPUT="" MORE=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --fleet | -d | -o)
            [ $# -ge 2 ] || die "$1 needs a value" 2
            case $1 in --fleet) FLEET=$2 ;; -d) SECONDS_LONG=$2 ;; -o) OUTPUT=$2 ;; esac
            shift
            ;;
        --) shift && MORE=("$@") && break ;;
        -*) die "$1 is no option of it (--help)" 2 ;;
        *) if [ -z "$COMMAND" ]; then COMMAND=$1; else PART="$PART${PART:+ }$1"; fi ;;
    esac
    shift
done
case $COMMAND in record | top | dump | memory) ;; *) usage >&2 && exit 2 ;; esac
[ -n "$PART" ] || die "which part? (--help)" 2
[[ $SECONDS_LONG =~ ^[1-9][0-9]*$ ]] || die "-d must be whole seconds >= 1, was $SECONDS_LONG" 2
PY_SPY=$BIN/py-spy
[ -x "$PY_SPY" ] || PY_SPY=$(command -v py-spy) || die "there is no py-spy in $BIN nor on PATH: run ./compile" 3

PID=$(pid_of "$PART") || exit 1
may_look
case $COMMAND in
    record)
        OUTPUT=${OUTPUT:-${PART// /}.svg}
        case $OUTPUT in *.txt) FORMAT=raw ;; *) FORMAT=flamegraph ;; esac
        exec "$PY_SPY" record --pid "$PID" --duration "$SECONDS_LONG" --format $FORMAT --output "$OUTPUT" "${MORE[@]}"
        ;;
    top) exec "$PY_SPY" top --pid "$PID" "${MORE[@]}" ;;
    dump) exec "$PY_SPY" dump --pid "$PID" "${MORE[@]}" ;;
    memory) OUTPUT=${OUTPUT:-${PART// /}.html} && memory ;;
esac
