"""The tests run on your own ZITADEL: they pass there, and delete everything they create."""

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
QUICK = "an_invalid_token or second_run or my-organization or create-project or find-project"


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
@pytest.mark.parametrize("form", ["--zitadel-domain {}", "--zitadel-domain={}"])
def test_a_successful_run_deletes_what_it_created(
    form: str, zitadel: LocalZitadel, tmp_path: Path
) -> None:
    folder, given = clone(tmp_path / "clone"), form.format(zitadel.issuer).split()
    ended = run(folder, *PYTEST, *given, "-k", QUICK, ZITADEL_ADMIN_TOKEN=zitadel.admin_pat)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed, " in ended.stdout and "skipped" not in ended.stdout
    assert zitadel.log().count("CreateProject: rejected") == 1  # the recorded cases ran here
    assert left_in(zitadel) == []


@pytest.mark.slow
def test_a_failed_run_deletes_what_it_created(zitadel: LocalZitadel, tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    (folder / "tests/test_failure.py").write_text("def test(suite): assert not suite.project")
    given = ("--zitadel-domain", zitadel.issuer)
    token = {"ZITADEL_ADMIN_TOKEN": zitadel.admin_pat}
    ended = run(folder, *PYTEST, *given, "tests/test_failure.py", **token)
    assert ended.returncode == 1
    assert "1 failed" in ended.stdout and zitadel.admin_pat not in ended.stdout
    assert left_in(zitadel) == []


@pytest.mark.slow
def test_an_interrupted_run_deletes_what_it_created(zitadel: LocalZitadel, tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    (folder / "tests/test_endless.py").write_text("def test(suite): __import__('time').sleep(99)")
    given = ["--zitadel-domain", zitadel.issuer]
    command = [sys.executable, *PYTEST, *given, "tests/test_endless.py"]
    variables = environment(ZITADEL_ADMIN_TOKEN=zitadel.admin_pat)
    process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE)
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
    ("domain", "token", "sentence"),
    [
        ("http://localhost:9", "", "--zitadel-domain requires ZITADEL_ADMIN_TOKEN"),
        ("http://localhost:9", "two hushed\nwords", "requires ZITADEL_ADMIN_TOKEN: set it to the"),
        ("localhost:9", "hushed", "--zitadel-domain must be like https://example.zitadel.cloud"),
    ],
)
def test_a_missing_or_invalid_option_is_reported_in_one_sentence(
    domain: str, token: str, sentence: str
) -> None:
    ended = run(ROOT, *PYTEST, "--zitadel-domain", domain, ZITADEL_ADMIN_TOKEN=token)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert ended.stdout == ""
    assert ended.stderr.startswith("ERROR: ") and ended.stderr.strip().count("\n") == 0
    assert sentence in ended.stderr and "hushed" not in ended.stderr
