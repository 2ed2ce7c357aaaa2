"""The benchmarks run to their end, with few requests, and count rightly. No speed is asserted."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import pytest

from programs import ROOT, environment, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn doesn't run there")
OURS = {"cached": 1, "Basic": 0, "JWT": 1}  # the signatures, however many requests there are
SAMPLES = {"sample's way, Basic": 0, "sample's way, JWT": 1}  # the signatures for each request


def test_the_table_has_every_row_the_counts_are_right_and_each_goal_is_met_or_missed() -> None:
    ended = run(ROOT, "benchmarks/run.py", "--requests", "50")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    row = r"^(\S.*?) +(none|HTTPS?) +[0-9.]+ +\d+ +\d+ +(\d+) *(\d*) *(\d*)$"
    found = re.findall(row, ended.stdout, re.MULTILINE)
    rows = {(name, transport): tuple(numbers) for name, transport, *numbers in found}
    expected = {("unprotected", "none"): ("50", "0", "0")}
    for transport in ("HTTP", "HTTPS"):
        expected["the endpoint alone", transport] = ("50", "", "")
        for name, signatures in OURS.items():
            expected[name, transport] = ("50", "1", str(signatures))
        for name, signatures in SAMPLES.items():
            expected[name, transport] = ("10", "10", str(10 * signatures))
    assert rows == expected
    _, goals = ended.stdout.split("\nGoals, of which so few requests tell nothing:\n")
    assert {line.split()[0] for line in goals.splitlines()} <= {"met", "MISSED"}
    assert "met     50 requests one after another use 1 connection: 1\n" in goals


def test_the_memory_is_shown_at_each_step() -> None:
    ended = run(ROOT, "benchmarks/memory.py", "--requests", "500")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    _, *lines = ended.stdout.splitlines()
    steps = ["5", "100", "200", "300", "400", "500"]
    assert [line.split()[:2] for line in lines] == [
        [route, step] for route in ("jwt", "cached") for step in steps
    ]
    assert all(float(line.split()[2]) > 10 for line in lines)


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
        assert (len(servers), len(workers)) == (3, 1)  # two endpoints and gunicorn, its worker
        process.send_signal(number)
        assert process.wait(30) != 0
    end = time.monotonic() + 10  # gunicorn doesn't wait for a worker that it kills
    while (servers | workers) & set(processes()):
        assert time.monotonic() < end
        time.sleep(0.05)
