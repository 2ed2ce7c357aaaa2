"""The README's two commands, run from a fresh clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from dotenv import dotenv_values
from flask import Flask

from conftest import Suite
from programs import APIS, FLASK, ROOT, clone, running_api
from servers import TOKEN, Upstream, active, bearer, send, serving
from test_cache import Authentication
from test_pages import blocks
from validator import ZitadelIntrospectTokenValidator


def block(name: str) -> str:
    """Return the code that stands below the mark `name` in the README."""
    (code,) = (found.code for found in blocks(Path("README.md")) if found.mark == name)
    return code


def run_in_clone(name: str, into: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the README in a fresh clone, with this Python and no virtual environment."""
    path = f"{Path(sys.base_prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"
    unset = ("VIRTUAL_ENV", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG")
    inherited = {key: value for key, value in os.environ.items() if key not in unset}
    return subprocess.run(
        block(name),
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
    assert block("demo") in first_screen and block("tests") in first_screen


@pytest.mark.parametrize("api", APIS)
def test_the_app_in_the_readme_works(api: str, suite: Suite, tmp_path: Path) -> None:
    for file in ("validator.py", "client_authentication.py"):
        shutil.copy(ROOT / api / file, tmp_path)
    app = block("app")
    if api == "api-jwt":
        shutil.copy(suite.folder / api / "api-key-file.json", tmp_path)
        basic = re.search(r"ClientSecretBasic\(.+\)", app)
        assert basic
        app = app.replace("from client_authentication import ClientSecretBasic\n", "")
        app = app.replace("app = Flask", f"{block('key')}\napp = Flask")
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


def test_the_cache_in_the_readme_works(
    upstream: Upstream, redis_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZITADEL_DOMAIN", upstream.base_url)
    monkeypatch.setenv("API_CLIENT_ID", "id")
    monkeypatch.setenv("API_CLIENT_SECRET", "s3cret")
    redis = block("redis").replace('"localhost"', f'"localhost", {redis_port}')
    for cache in (block("cache"), f"{redis}\n{block('cache')}".replace("SimpleCache()", "cache")):
        names: dict[str, Any] = {
            "os": os,
            "ZitadelIntrospectTokenValidator": ZitadelIntrospectTokenValidator,
            "ClientSecretBasic": Authentication,
        }
        exec(cache, names)
        app = Flask(__name__)
        app.add_url_rule("/", view_func=names["require_auth"](lambda: {"message": "in"}))
        upstream.answer(active())
        before = len(upstream.forms)
        with serving(app) as base_url:
            assert [send(base_url, "/", TOKEN)[0] for _ in range(2)] == [200, 200]
        assert len(upstream.forms) == before + 1


def test_the_preflight_requests_in_the_readme_pass(
    upstream: Upstream, require_auth: ZitadelIntrospectTokenValidator
) -> None:
    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: {"message": "in"})
    exec(block("preflight"), {"app": app, "require_auth": require_auth})
    upstream.answer(active("read:messages"))
    with serving(app) as base_url:
        assert requests.options(base_url, timeout=5).status_code == 200
        assert send(base_url, "/")[0] == 401
        assert send(base_url, "/", TOKEN)[0] == 200
