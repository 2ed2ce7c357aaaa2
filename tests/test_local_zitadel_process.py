"""Starting and stopping local-zitadel."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest
import requests

from contract import Contract
from local_zitadel import SERVER, LocalZitadel, local_zitadel
from programs import ROOT, run


def test_it_prints_the_next_command_and_keeps_the_token_private() -> None:
    with local_zitadel() as server:
        process = server.process
        assert process.stdout
        assert "not for production" in process.stdout.readline()
        command = f"python provision.py --domain {server.issuer} --token-file {server.token_file}"
        assert command in process.stdout.readline()
        if os.name == "posix":
            assert server.token_file.stat().st_mode & 0o777 == 0o600


def test_a_port_in_use_is_reported_in_one_sentence(
    replayed: tuple[LocalZitadel, Contract], tmp_path: Any
) -> None:
    port = replayed[0].issuer.rsplit(":", 1)[1]
    ended = run(ROOT, SERVER, "--port", port, "--token-file", str(tmp_path / "admin.pat"))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"Port {port} can't be used")
    assert ended.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["missing/admin.pat", "folder", "folder/"])
def test_an_unwritable_token_file_is_reported_in_one_sentence(tmp_path: Any, place: str) -> None:
    (tmp_path / "folder").mkdir()
    ended = run(ROOT, SERVER, "--port", "0", "--token-file", f"{tmp_path}/{place}")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "can't be written" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows stops processes without a signal")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_without_a_traceback(number: signal.Signals) -> None:
    with local_zitadel() as server:
        assert requests.get(f"{server.issuer}/oauth/v2/keys", timeout=10).status_code == 200
        server.process.send_signal(number)
        assert server.process.wait(timeout=10) == 0
        assert server.log() == ""
