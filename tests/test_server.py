"""How an API's server ends if its settings are wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import requests
from dotenv import dotenv_values

from folders import prepare
from programs import APIS, FLASK, GUNICORN, free_port, run, running_api


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("options", [(), ("--preload",), ("--workers", "2")])
def test_gunicorn_prints_the_sentence_and_exits(
    name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    folder = prepare(name, tmp_path, ZITADEL_DOMAIN="(absent)")
    ended = run(folder, *GUNICORN, f"127.0.0.1:{free_port()}", *options)
    # With several workers gunicorn may stumble over the second one's end, and say so: status 1.
    assert ended.returncode in (4, 1) if "--workers" in options else ended.returncode == 4
    assert ended.stderr.count("ZITADEL_DOMAIN is not set") <= 2
    assert "ZITADEL_DOMAIN is not set" in ended.stderr
    assert "settings.py" not in ended.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("command", [FLASK, ("server.py", "--port")], ids=["flask", "python"])
@pytest.mark.parametrize("name", APIS)
def test_a_named_pipe_above_stops_no_server_that_reads_no_file_above(
    name: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    folder = prepare(name, tmp_path)
    os.mkfifo(tmp_path / ".env")
    (folder / ".env").rename(tmp_path / "variables")
    variables = {name: value or "" for name, value in dotenv_values(tmp_path / "variables").items()}
    with running_api(folder, command, **variables, FLASK_SKIP_DOTENV="1") as base_url:
        assert requests.get(f"{base_url}/api/private", timeout=5).status_code == 401
