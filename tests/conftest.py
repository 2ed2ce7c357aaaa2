"""What many tests need: a scripted ZITADEL, and one with everything created in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import jwt
import pytest
import redis
from requests.auth import HTTPBasicAuth

from instance import Instance, new_name
from introspection import TokenIntrospection
from local_zitadel import local_zitadel
from programs import APIS, SCRIPTS, copy_folder, free_port, running_api
from servers import Upstream
from validator import ZitadelIntrospectTokenValidator

# A shell lets what it runs in the background ignore Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose, for a ZITADEL that was given, the tests that use one and can do with any."""
    if config.option.zitadel_domain is None:
        return

    def fits(item: pytest.Item) -> bool:
        uses_one = "instance" in getattr(item, "fixturenames", ())
        return uses_one and not item.get_closest_marker("local_zitadel")

    config.hook.pytest_deselected(items=[item for item in items if not fits(item)])
    items[:] = filter(fits, items)


@pytest.fixture(scope="session")
def instance(pytestconfig: pytest.Config) -> Iterator[Instance]:
    """Provide the ZITADEL that was given, or a local one."""
    if pytestconfig.option.zitadel_domain is None:
        with local_zitadel() as zitadel:
            yield zitadel
        return
    given = pytestconfig.option
    with tempfile.TemporaryDirectory() as directory:
        token_file = given.zitadel_token_file
        if token_file is None:
            token_file = Path(directory, "admin.pat")
            token_file.write_text(given.zitadel_admin_token)
        issuer = given.zitadel_domain.rstrip("/")
        yield Instance(issuer, given.zitadel_admin_token, token_file.absolute())


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
    introspection = TokenIntrospection(upstream.url, authentication, timeout=(1, 0.5))
    return ZitadelIntrospectTokenValidator(introspection)


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Provide a list that grows with each signature."""
    encode = Mock(wraps=jwt.encode)
    monkeypatch.setattr(jwt, "encode", encode)
    return encode.call_args_list


@pytest.fixture
def marker() -> str:
    """Return a value by which the processes of one test are known."""
    return uuid.uuid4().hex


class Suite(NamedTuple):
    """The five folders, copied out and provisioned, and the project and ZITADEL they belong to."""

    zitadel: Instance
    folder: Path
    project: str


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory, instance: Instance) -> Iterator[Suite]:
    """Provide the five folders, each with its `.env`, and the running ZITADEL."""
    folder = tmp_path_factory.mktemp("suite")
    for name in (*APIS, *SCRIPTS):
        copy_folder(name, folder)
    with instance.new_project(folder) as project:
        instance.provision(folder, project)
        yield Suite(instance, folder, project)


@pytest.fixture(scope="module", params=APIS)
def base_url(request: pytest.FixtureRequest, suite: Suite) -> Iterator[str]:
    """Provide the address of each API in turn, which runs."""
    with running_api(suite.folder / request.param) as base_url:
        yield base_url


@pytest.fixture
def add_user(instance: Instance) -> Iterator[Callable[[], str]]:
    """Provide a function that makes a service user without a role and returns its id."""
    made = []

    def add() -> str:
        made.append(instance.add_user(new_name()))
        return made[-1]

    yield add
    for user_id in made:
        instance.delete_user(user_id)


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
