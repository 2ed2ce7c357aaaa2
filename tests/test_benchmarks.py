"""The benchmarks run to their end, with few requests, and count correctly. No speed is asserted."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest

from programs import ROOT, environment, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="gunicorn doesn't run there"),
]
OURS = {"cached": 1, "Basic": 0, "private key JWT": 1}  # signatures, for any number of requests
SAMPLES = {"sample, Basic": 0, "sample, JWT": 1}  # signatures for each request


def lines(script: str, *options: str) -> list[str]:
    """Run one of the benchmarks and return what it prints."""
    ended = run(ROOT, f"benchmarks/{script}", *options)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    return ended.stdout.splitlines()


def test_the_table_has_every_row_the_counts_are_right_and_each_goal_is_met_or_missed() -> None:
    printed = lines("run.py", "--requests", "50")
    row = re.compile(r"(\S.*?) +(https?)? +[0-9.]+ +\d+ +\d+ +-?\d+ +\d+ +(\d+) +(\d+) +(\d+)")
    found = [match.groups() for match in map(row.fullmatch, printed) if match]
    expected: list[tuple[str | None, ...]] = [("unprotected", None, "50", "0", "0")]
    for name, signatures in OURS.items():
        for transport in ("http", "https"):
            expected.append((name, transport, "50", "1", str(signatures)))
    for name, signatures in SAMPLES.items():
        for transport in ("http", "https"):
            expected.append((name, transport, "10", "10", str(10 * signatures)))
    assert found == expected

    row = re.compile(r" *(\d+) +(one|quick|distinct) +(nothing|coalescing|a cache) .* ([0-9.]+)")
    asked = {match.groups()[:3]: float(match[4]) for match in map(row.fullmatch, printed) if match}
    assert len(asked) == 27
    assert {share for (_, tokens, _), share in asked.items() if tokens == "distinct"} == {1}
    assert {share for (*_, name), share in asked.items() if name == "nothing"} == {1}
    assert asked["16", "one", "coalescing"] < asked["4", "one", "coalescing"] < 1
    assert asked["1", "one", "coalescing"] == 1 and asked["1", "one", "a cache"] < 0.2

    goals = printed[printed.index("Goals (meaningless with so few requests):") + 1 :]
    assert {line.split()[0] for line in goals} <= {"met", "MISSED"}
    assert "met     requests on one connection: 50.00, at least 50" in goals


def test_the_chart_shows_every_row_the_machine_and_the_date(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="it is in benchmarks/requirements.txt only")
    lines("run.py", "--requests", "10", "--chart", str(tmp_path / "chart.svg"))
    picture = ElementTree.parse(tmp_path / "chart.svg")
    shown = [text.text or "" for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    for name in (*OURS, *SAMPLES):
        assert {f"{name} http", f"{name} https"} <= set(shown)
    for callers in ("1", "4", "16"):
        assert f"{callers} at once, coalescing" in shown
    assert any(f"Python {sys.version.split()[0]}, {date.today()}" in text for text in shown)


def test_the_memory_is_shown_at_each_step_and_for_each_attack() -> None:
    printed = lines("memory.py", "--requests", "500", "--calls", "8")
    split = printed.index("")
    grown = [line for line in printed[1:split] if "grown by" in line]
    assert len(grown) == 2 and all(line.endswith("  met") for line in grown)
    steps = [line.split() for line in printed[1:split] if line not in grown]
    assert [(route, done) for route, done, _ in steps] == [
        (route, done)
        for route in ("jwt", "cached")
        for done in ("5", "100", "200", "300", "400", "500")
    ]
    attacks = [re.split(" {2,}", line) for line in printed[split + 2 :]]
    assert len(attacks) == 9
    assert {calls for _, calls, *_ in attacks} == {"8"}
    assert {verdict for *_, verdict in attacks} == {"met"}
    assert all(10 < float(peak) < 1000 for *_, peak in steps)
    # None of the large answers is kept in memory, and the smallest is 118 MB.
    assert all(10 < float(peak) < 118 for _, _, peak, _ in attacks), attacks


def test_a_missed_goal_of_memory_is_a_failing_status() -> None:
    options = ("--requests", "100", "--calls", "1", "--goal", "1")
    ended = run(ROOT, "benchmarks/memory.py", *options)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout.count("MISSED") == 9


def test_a_silent_zitadel_leaves_the_public_route_to_others() -> None:
    limited, default, coalesced = (line.split() for line in lines("slow.py", "--seconds", "25")[1:])
    assert limited[0] == "4" and limited[1] == limited[2] and int(limited[1]) > 5
    # Until the first timeouts, after 10 s, all threads wait; those who share one, for another 10 s.
    assert default[0] == "default" and int(default[2]) > 5
    assert coalesced[0] == "coalesced" and int(coalesced[2]) > 5


def processes() -> dict[int, int]:
    """Return the parent of each process, without those that ended and weren't waited for."""
    command = ["ps", "-A", "-o", "pid=,ppid=,stat="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_an_interrupted_run_ends_what_it_started(number: signal.Signals) -> None:
    command = [sys.executable, "benchmarks/memory.py"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.readline()  # the first line of the table: all are at work
        parents = processes()
        servers = {child for child, parent in parents.items() if parent == process.pid}
        workers = {child for child, parent in parents.items() if parent in servers}
        assert (len(servers), len(workers)) == (2, 1)  # the endpoint and gunicorn, its worker
        process.send_signal(number)
        assert process.wait(30) != 0
    end = time.monotonic() + 10  # gunicorn doesn't wait for a worker that it kills
    while (servers | workers) & set(processes()):
        assert time.monotonic() < end
        time.sleep(0.05)
