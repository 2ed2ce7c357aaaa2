"""The README's two commands, run from a fresh clone, and its app."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

from instance import Suite
from pages import blocks, snippet
from programs import APIS, FLASK, ROOT, clone, running_api
from servers import bearer, send


def run_in_clone(command: str, into: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the README in a fresh clone, with this Python and no virtual environment."""
    path = f"{Path(sys.base_prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"
    unset = ("VIRTUAL_ENV", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG")
    inherited = {key: value for key, value in os.environ.items() if key not in unset}
    return subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=clone(into),
        env=inherited | {"PATH": path} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.slow
def test_the_first_command_ends_with_the_table(tmp_path: Path) -> None:
    ended = run_in_clone(snippet("demo"), tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("200                 200                 200") == 6
    assert re.search(r"Every status is as expected\.", ended.stdout)


@pytest.mark.slow
def test_with_uv_one_command_ends_with_the_table(tmp_path: Path) -> None:
    (command,) = re.findall(r"`(uv run [^`]+)`", (ROOT / "README.md").read_text("utf-8"))
    uv = shutil.which("uv", path=f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ['PATH']}")
    assert uv, "uv is in tests/requirements.txt"
    path = f"{Path(uv).parent}{os.pathsep}{os.environ['PATH']}"
    ended = run_in_clone(command, tmp_path, PATH=path, UV_PYTHON=sys.executable)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("200                 200                 200") == 6


@pytest.mark.slow
def test_the_second_command_runs_the_tests(tmp_path: Path) -> None:
    # One quick file of them: all of them would run this one again.
    chosen = "-k test_shared_files_are_identical"
    ended = run_in_clone(snippet("tests"), tmp_path, PYTEST_ADDOPTS=chosen)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"\d passed", ended.stdout)


def test_the_readme_has_both_commands_on_its_first_screen() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:30])
    for name in ("demo", "tests"):
        assert snippet(name).startswith("python3 ") and snippet(name) in first_screen


def test_no_command_or_output_in_the_readme_is_cut_off_at_the_right() -> None:
    for block in blocks(Path("README.md")):
        if block.language != "mermaid":
            assert max(map(len, block.code.splitlines())) <= 97, block.code


@pytest.mark.parametrize("api", APIS)
def test_the_app_in_the_readme_works(api: str, suite: Suite, tmp_path: Path) -> None:
    for file in ("validator.py", "introspection.py", "client_authentication.py"):
        shutil.copy(ROOT / api / file, tmp_path)
    app = snippet("app")
    if api == "api-jwt":
        shutil.copy(suite.folder / api / "api-key-file.json", tmp_path)
        basic = re.search(r"ClientSecretBasic\(.+\)", app)
        assert basic
        app = app.replace("from client_authentication import ClientSecretBasic\n", "")
        app = app.replace("introspection = ", f"{snippet('key')}\nintrospection = ", 1)
        app = app.replace(basic[0], "client_authentication")
    (tmp_path / "server.py").write_text(app)
    variables = dotenv_values(suite.folder / "api-basic-authentication/.env")
    token = dotenv_values(suite.folder / "service-user-pat/.env")["PERSONAL_ACCESS_TOKEN"]
    with running_api(
        tmp_path, FLASK, **{name: value or "" for name, value in variables.items()}
    ) as url:
        status, _, body = send(url, "/messages", bearer(token))
        assert (status, list(body)) == (200, ["you are"])
        assert send(url, "/messages")[0] == 401
