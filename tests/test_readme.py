"""The README's two commands, run from a fresh clone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from programs import ROOT, clone


def command(name: str) -> str:
    """Return the command that stands below the mark `name` in the README."""
    pattern = rf"<!-- {name} -->\n```sh\n(.+)\n```"
    found = re.search(pattern, (ROOT / "README.md").read_text())
    assert found, name
    return found[1]


def run_in_clone(name: str, into: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the README in a fresh clone, with this Python and no virtual environment."""
    path = f"{Path(sys.base_prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"
    unset = ("VIRTUAL_ENV", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG")
    inherited = {key: value for key, value in os.environ.items() if key not in unset}
    return subprocess.run(
        command(name),
        shell=True,
        cwd=clone(into),
        env=inherited | {"PATH": path} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_the_first_command_ends_with_the_table(tmp_path: Path) -> None:
    ended = run_in_clone("demo", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("200                 200                 200") == 6
    assert "Every status is as it must be." in ended.stdout


def test_the_second_command_runs_the_tests(tmp_path: Path) -> None:
    # One quick file of them: all of them would run this one again.
    ended = run_in_clone("tests", tmp_path, PYTEST_ADDOPTS="-k test_shared_files_are_identical")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"\d passed, \d+ deselected", ended.stdout)


def test_the_readme_has_both_commands_on_its_first_screen() -> None:
    first_screen = (ROOT / "README.md").read_text().splitlines()[:24]
    assert command("demo") in first_screen and command("tests") in first_screen
