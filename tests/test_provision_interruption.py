"""provision.py killed or interrupted at any point: the next run completes it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from programs import ROOT, environment, run
from provisioning import FILES, Setup, lines
from servers import Upstream

KILLED = """
import os, sys
import provision
from tools import zitadel

changes, send = int(sys.argv.pop(1)), zitadel.Zitadel.send

def send_and_die(self, path, *arguments, **options):
    global changes
    answer = send(self, path, *arguments, **options)
    changes -= path.startswith("/zitadel.") and "/List" not in path
    if changes == 0:
        os._exit(9)
    return answer

zitadel.Zitadel.send = send_and_die
sys.exit(provision.main())
"""
LAST_CHANGE = 14


def check_completion_after_kill(setup: Setup, changes: int) -> None:
    """Kill a run after so many changes in ZITADEL, and check that the next one completes it."""
    ended = run(ROOT, "-c", KILLED, str(changes), *setup.options())
    assert ended.returncode == 9, ended.stderr
    output = setup.run()
    assert len(lines(output, "proved")) == 5
    assert FILES <= setup.contents().keys() <= FILES | {"service-user-jwt/.env.old"}
    assert len(lines(setup.run(), "kept")) == 5


@pytest.mark.parametrize("changes", [1, 5])  # a project, and a key, that no file names yet
def test_the_next_run_completes_a_killed_one(setup: Setup, changes: int) -> None:
    check_completion_after_kill(setup, changes)


@pytest.mark.slow
@pytest.mark.parametrize("changes", sorted({*range(1, LAST_CHANGE + 1)} - {1, 5}))
def test_the_next_run_completes_one_killed_after_any_other_change(
    setup: Setup, changes: int
) -> None:
    check_completion_after_kill(setup, changes)


def test_a_run_makes_no_more_changes_than_those(setup: Setup) -> None:
    ended = run(ROOT, "-c", KILLED, str(LAST_CHANGE + 1), *setup.options())
    assert len(lines(ended.stdout, "proved")) == 5


@pytest.mark.parametrize(
    "line", ["created  project", "written  service-user-jwt/.env", "proved   api-jwt"]
)
def test_a_killed_run_leaves_no_half_written_file(line: str, setup: Setup) -> None:
    command = [sys.executable, "provision.py", *setup.options()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while not (printed := process.stdout.readline()).startswith(line):
            assert printed, line
        process.kill()
    setup.check_no_file_is_half_written()
    setup.run("--delete", "--yes")


def test_an_interrupted_run_says_what_it_has_changed(
    offline: Setup, scripted_zitadel: Upstream
) -> None:
    scripted_zitadel.answer({}, delay=30)
    process = subprocess.Popen(
        [sys.executable, "provision.py", *offline.options()],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not scripted_zitadel.authorizations:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=10)
    assert process.returncode == 130
    assert output.startswith("provision.py: interrupted.\nNothing was changed.")
