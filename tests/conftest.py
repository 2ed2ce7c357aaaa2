"""What many tests need: a scripted ZITADEL, and one with everything created in it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
import redis
from requests.auth import HTTPBasicAuth

from instance import Instance
from local_zitadel import local_zitadel
from programs import APIS, ROOT, SCRIPTS, copy_folder, free_port, run, running_api
from servers import Upstream
from validator import ZitadelIntrospectTokenValidator


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """Provide a scripted introspection endpoint."""
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture
def require_auth(upstream: Upstream) -> ZitadelIntrospectTokenValidator:
    """Provide the decorator, asking the scripted endpoint."""
    authentication = HTTPBasicAuth("id", "s3cret")
    return ZitadelIntrospectTokenValidator(upstream.url, authentication, timeout=(1, 0.5))


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Provide a list that grows by the time of each signature."""
    made: list[float] = []
    encode = jwt.encode

    def counting(*arguments: Any, **options: Any) -> str:
        made.append(time.monotonic())
        return encode(*arguments, **options)

    monkeypatch.setattr(jwt, "encode", counting)
    return made


class Suite(NamedTuple):
    """The five folders, copied out and provisioned, and the ZITADEL that they belong to."""

    zitadel: Instance
    folder: Path


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """Provide the five folders, each with its `.env`, and the running local-zitadel."""
    folder = tmp_path_factory.mktemp("suite")
    for name in (*APIS, *SCRIPTS):
        copy_folder(name, folder)
    with local_zitadel() as zitadel:
        command = ("provision.py", "--domain", zitadel.issuer)
        files = ("--token-file", str(zitadel.token_file), "--directory", str(folder))
        ended = run(ROOT, *command, *files)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        yield Suite(zitadel, folder)


@pytest.fixture(scope="module", params=APIS)
def base_url(request: pytest.FixtureRequest, suite: Suite) -> Iterator[str]:
    """Provide the address of each API in turn, which runs."""
    with running_api(suite.folder / request.param) as base_url:
        yield base_url


@pytest.fixture
def add_user(suite: Suite) -> Iterator[Callable[[], str]]:
    """Provide a function that makes a service user without a role and returns its id."""
    made = []

    def add() -> str:
        made.append(suite.zitadel.add_user(f"tests-{secrets.token_hex(8)}"))
        return made[-1]

    yield add
    for user_id in made:
        suite.zitadel.delete_user(user_id)


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Provide the port of a Redis that runs. Where none is installed, only CI fails."""
    program = shutil.which("redis-server")
    if not program:
        missing = "There is no redis-server: install it, as with `apt-get install redis-server`."
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    options = f"--port {port} --bind 127.0.0.1 --dir {folder} --appendonly no".split()
    process = subprocess.Popen([program, *options, "--save", ""], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        with redis.Redis(port=port) as client:
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    assert process.poll() is None and time.monotonic() < end
                    time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)
