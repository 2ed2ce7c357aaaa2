"""The tests themselves, run on a given ZITADEL: they pass, and leave nothing there."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from instance import USERS
from local_zitadel import LocalZitadel, local_zitadel
from programs import ROOT, clone, environment, run

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
QUICK = "wrong_token or second_run or my-organization or create-project or find-project"


@pytest.fixture
def zitadel() -> Iterator[LocalZitadel]:
    """Provide a local-zitadel, given to the tests like any other ZITADEL."""
    with local_zitadel("--token-seconds", "1800") as zitadel:
        yield zitadel


def left_in(zitadel: LocalZitadel) -> list[str]:
    """Return what is in the ZITADEL besides its administrator."""
    projects = zitadel.call("/zitadel.project.v2.ProjectService/ListProjects", {})
    users = zitadel.call(f"{USERS}/ListUsers", {})["result"]
    names = [project["name"] for project in projects.get("projects", [])]
    return names + [user["username"] for user in users if user["username"] != "admin"]


@pytest.mark.slow
def test_they_pass_and_leave_nothing(zitadel: LocalZitadel, tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    (folder / "admin.pat").write_text(zitadel.admin_pat)
    given = ("--zitadel-domain", zitadel.issuer, "--zitadel-token-file", "admin.pat")
    ended = run(folder, *PYTEST, *given, "-k", QUICK)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed, " in ended.stdout and "skipped" not in ended.stdout
    assert zitadel.log().count("CreateProject: rejected") == 1  # the recorded cases ran here
    assert left_in(zitadel) == []


@pytest.mark.slow
def test_a_failure_leaves_nothing_either(zitadel: LocalZitadel, tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    (folder / "tests/test_failure.py").write_text("def test(suite): assert not suite.project")
    given = ("--zitadel-domain", zitadel.issuer)
    token = {"ZITADEL_ADMIN_TOKEN": zitadel.admin_pat}
    ended = run(folder, *PYTEST, *given, "tests/test_failure.py", **token)
    assert ended.returncode == 1
    assert "1 failed" in ended.stdout and zitadel.admin_pat not in ended.stdout
    assert left_in(zitadel) == []


@pytest.mark.slow
def test_an_interruption_leaves_nothing_either(zitadel: LocalZitadel, tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    (folder / "tests/test_endless.py").write_text("def test(suite): __import__('time').sleep(99)")
    given = ["--zitadel-domain", zitadel.issuer, f"--zitadel-token-file={zitadel.token_file}"]
    command = [sys.executable, *PYTEST, *given, "tests/test_endless.py"]
    process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE)
    try:
        while not left_in(zitadel):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output.decode()
    assert left_in(zitadel) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--zitadel-domain=http://localhost:9"], "requires --zitadel-token-file"),
        (["--zitadel-token-file=missing.pat"], "requires --zitadel-domain"),
        (["--zitadel-domain=localhost:9"], "must be like https://example.zitadel.cloud"),
        (
            ["--zitadel-domain=http://localhost:9", "--zitadel-token-file=missing.pat"],
            "--zitadel-token-file missing.pat can't be read",
        ),
        (
            ["--zitadel-domain=http://localhost:9", "--zitadel-token-file=README.md"],
            "--zitadel-token-file README.md must contain only a personal access token",
        ),
    ],
)
def test_a_wrong_option_is_one_sentence(options: list[str], sentence: str) -> None:
    ended = run(ROOT, *PYTEST, *options)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert ended.stdout == ""
    assert ended.stderr.startswith("ERROR: ") and ended.stderr.strip().count("\n") == 0
    assert sentence in ended.stderr
