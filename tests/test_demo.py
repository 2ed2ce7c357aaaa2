"""demo.py as a newcomer runs it: the table, wrong statuses, interruptions, --use-env."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from demonstration import ALL_RIGHT, left, processes, rows, start
from instance import Suite
from programs import APIS, SCRIPTS, clone

POISON = """\
ZITADEL_DOMAIN="http://localhost:9"
ZITADEL_INTROSPECTION_URL="http://localhost:9/i"
ZITADEL_TOKEN_URL="http://localhost:9/t"
API_BASE_URL="http://localhost:9"
API_CLIENT_ID="poison"
API_PRIVATE_KEY_FILE="poison.json"
FLASK_RUN_PORT="9"
FLASK_DEBUG="1"
PERSONAL_ACCESS_TOKEN="poison"
"""
UNREADABLE = "PERSONAL_ACCESS_TOKEN=poison".encode("utf-16")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Provide a clone whose folders all contain misleading `.env` files."""
    copied = clone(tmp_path / "clone")
    for folder in (".", *APIS, *SCRIPTS):
        (copied / folder / ".env").write_text(POISON)
    (copied / "service-user-pat/.env").write_bytes(UNREADABLE)
    return copied


def test_the_table_is_right_whatever_is_in_env_files_and_variables(copy: Path, marker: str) -> None:
    demo = start(
        copy, marker, HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="", FLASK_RUN_PORT="9",
        CLIENT_ID="poison", ZITADEL_ADMIN_TOKEN="poison",
    )  # fmt: skip
    output, errors = demo.communicate(timeout=60)
    assert (demo.returncode, errors) == (0, "")
    assert "Every status is as expected." in output
    for api in APIS:
        assert rows(output, api) == ALL_RIGHT
    assert max(map(len, output.splitlines())) <= 100
    assert processes(marker) == []
    for folder in (".", *APIS, *SCRIPTS):
        if folder != "service-user-pat":
            assert (copy / folder / ".env").read_text() == POISON
    assert (copy / "service-user-pat/.env").read_bytes() == UNREADABLE


def test_a_wrong_status_is_marked_and_fails(copy: Path, marker: str) -> None:
    server = copy / "api-jwt/server.py"
    server.write_text(server.read_text().replace('["read:messages"]', "None"))
    output, _ = start(copy, marker).communicate(timeout=60)
    assert "200, not 403" in output
    assert "A status is NOT as expected." in output


def test_a_part_that_does_not_start_is_named_with_its_log(copy: Path, marker: str) -> None:
    (copy / "api-jwt/server.py").write_text("import sys; sys.exit('out of order')")
    demo = start(copy, marker)
    output, errors = demo.communicate(timeout=60)
    assert demo.returncode == 2
    assert "api-jwt didn't start." in errors and "out of order" in errors
    assert "Traceback" not in output + errors
    assert processes(marker) == []


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("seconds", [0.1, 0.7, 1.4])
def test_nothing_is_left_running_when_it_is_interrupted(
    number: signal.Signals, status: int, seconds: float, copy: Path, marker: str
) -> None:
    demo = start(copy, marker)
    assert demo.stdout
    assert demo.stdout.readline().startswith("Starting everything")
    time.sleep(seconds)
    # A terminal's Ctrl-C reaches all of its processes, kill just the one.
    (os.killpg if number == signal.SIGINT else os.kill)(demo.pid, number)
    _, errors = demo.communicate(timeout=20)
    assert demo.returncode == status
    assert "Traceback" not in errors
    assert left(marker) == []


def test_use_env_calls_the_zitadel_of_the_env_files(copy: Path, marker: str, suite: Suite) -> None:
    (copy / ".env").unlink()
    for folder in (*APIS, *SCRIPTS):
        for file in (suite.folder / folder).iterdir():
            if file.name == ".env" or file.suffix == ".json":
                shutil.copy(file, copy / folder)
    demo = start(copy, marker, "--use-env")
    output, errors = demo.communicate(timeout=60)
    assert (demo.returncode, errors) == (0, "")
    for api in APIS:
        assert rows(output, api) == [row for row in ALL_RIGHT if "without" not in row[0]]
    assert "Not tried with --use-env" in output
    assert processes(marker) == []


def test_missing_settings_are_named(copy: Path, marker: str) -> None:
    for folder in (".", *APIS, *SCRIPTS):
        (copy / folder / ".env").unlink()
    demo = start(copy, marker, "--use-env")
    output, errors = demo.communicate(timeout=60)
    assert demo.returncode == 2
    assert "ZITADEL_DOMAIN is not set" in errors
    assert "Traceback" not in output + errors
