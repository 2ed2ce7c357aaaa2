"""What the three programs in the root have in common: how they end, and on which Python."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from instance import Instance, new_name
from programs import ROOT, environment, run
from provisioning import Setup, lines
from tools.suite import FOLDERS

PROGRAMS = ("provision.py", "diagnose.py", "demo.py")


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_older_python_is_reported_in_one_sentence(program: str) -> None:
    text = (ROOT / program).read_text()
    ast.parse(text, feature_version=(3, 6))
    first = text.index("\nimport argparse")
    older = "import sys; sys.version_info = (3, 9, 2); sys.version = '3.9.2 (default)'\n"
    ended = run(ROOT, "-c", older + text[:first])
    assert ended.returncode == 1
    assert ended.stderr == f"{program} requires Python 3.10 or newer, but this is 3.9.2\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_or_tool_is_longer_than_330_lines(program: str) -> None:
    files = [ROOT / program, *(ROOT / "tools").glob("*.py")]
    assert {file.name: len(file.read_text().splitlines()) <= 330 for file in files} == {
        file.name: True for file in files
    }


def test_a_closed_pipe_does_not_stop_the_work(instance: Instance, tmp_path: Path) -> None:
    with instance.new_project(tmp_path) as project:
        setup = Setup(instance.issuer, instance.token_file, tmp_path, project)
        command = [sys.executable, "provision.py", *setup.options()]
        with subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout and process.stderr
            process.stdout.readline()
            process.stdout.close()
            errors = process.stderr.read()
        assert (process.returncode, errors) == (0, b"")
        assert len(lines(setup.run(), "kept")) == len(FOLDERS)


def test_a_character_that_the_terminal_lacks_is_escaped(instance: Instance, tmp_path: Path) -> None:
    name = f"{new_name()} \u4e2d"
    setup = Setup(instance.issuer, instance.token_file, tmp_path / "folders", name)
    ended = run(ROOT, "provision.py", *setup.options(), PYTHONIOENCODING="ascii")
    assert ended.returncode == 0, ended.stderr
    assert "\\u4e2d" in ended.stdout
    setup.run("--delete", "--yes")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such environment")
def test_an_environment_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    variables = {**environment(), b"ZITADEL_ADMIN_TOKEN".decode(): "\udcff"}
    ended = subprocess.run(
        [sys.executable, "provision.py", "--domain", "https://zitadel.example"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        "provision.py: ZITADEL_ADMIN_TOKEN must contain a personal access token alone, on one "
        "line, in UTF-8.\n"
    )


def test_variables_that_override_env_files_are_named(instance: Instance, tmp_path: Path) -> None:
    with instance.new_project(tmp_path) as project:
        setup = Setup(instance.issuer, instance.token_file, tmp_path, project)
        output = setup.run(API_CLIENT_ID="another", PROJECT_ID="7")
        assert "First, unset API_CLIENT_ID, PROJECT_ID: the environment overrides .env." in output
