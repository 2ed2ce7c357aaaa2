"""The fixtures that several files share, and an option for running the tests on your own ZITADEL.

    ZITADEL_ADMIN_TOKEN=… pytest --zitadel-domain https://example.zitadel.cloud

The token is a personal access token of an Org Owner there, or for all recorded cases of an IAM
Owner. It comes by a variable alone: as an argument it could be read by everyone on the machine, and
pytest takes the path of a file for a place to look for tests.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jwt
import pytest
import redis
from requests.auth import HTTPBasicAuth

from contract import Contract
from diagnosing import BASIC, claims
from instance import Instance, Suite, new_name
from introspection import TokenIntrospection
from local_zitadel import LocalZitadel, local_zitadel
from programs import APIS, SCRIPTS, copy_folder, free_port, running_api
from provisioning import TOKEN, Setup
from recorded import BY_ID
from servers import DISCOVERY, Upstream
from validator import ZitadelIntrospectTokenValidator

# A shell lets what it runs in the background ignore Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("zitadel", "the ZITADEL that the tests run on").addoption(
        "--zitadel-domain",
        metavar="https://…",
        help="run the tests that use a ZITADEL on this one, as the administrator whose personal "
        "access token is in ZITADEL_ADMIN_TOKEN; they delete what they create",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the option."""
    domain = config.option.zitadel_domain
    if domain is None:
        return
    if not re.fullmatch(r"https?://[^/?#\s]+/?", domain):
        raise pytest.UsageError("--zitadel-domain must be like https://example.zitadel.cloud.")
    token = os.environ.get("ZITADEL_ADMIN_TOKEN", "").strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise pytest.UsageError(
            "--zitadel-domain requires ZITADEL_ADMIN_TOKEN: set it to the personal access token of "
            "an administrator there, on one line."
        )
    config.option.zitadel_admin_token = token


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only the tests that run on any ZITADEL, if one is named."""
    if config.option.zitadel_domain is None:
        return

    def fits(item: pytest.Item) -> bool:
        uses_one = "instance" in getattr(item, "fixturenames", ())
        return uses_one and not item.get_closest_marker("local_zitadel")

    config.hook.pytest_deselected(items=[item for item in items if not fits(item)])
    items[:] = filter(fits, items)


@pytest.fixture(scope="session")
def instance(pytestconfig: pytest.Config) -> Iterator[Instance]:
    """Provide the ZITADEL of --zitadel-domain, or a local one."""
    if pytestconfig.option.zitadel_domain is None:
        with local_zitadel() as zitadel:
            yield zitadel
        return
    given = pytestconfig.option
    with tempfile.TemporaryDirectory() as directory:
        token_file = Path(directory, "admin.pat")
        token_file.write_text(given.zitadel_admin_token)
        issuer = given.zitadel_domain.rstrip("/")
        yield Instance(issuer, given.zitadel_admin_token, token_file)


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
    """Provide a function that creates a service account without a role and returns its id."""
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


# For provision.py


@pytest.fixture(scope="session")
def zitadel() -> Iterator[LocalZitadel]:
    """Provide a local-zitadel for tests that leave something in it."""
    with local_zitadel() as zitadel:
        yield zitadel


@pytest.fixture
def setup(zitadel: LocalZitadel, tmp_path: Path) -> Setup:
    """Provide a local-zitadel, a new project's name, and a directory that doesn't exist yet."""
    return Setup(zitadel.issuer, zitadel.token_file, tmp_path / "folders", new_name())


@pytest.fixture
def shared_setup(instance: Instance, tmp_path: Path) -> Iterator[Setup]:
    """Provide the same on any ZITADEL; what is created there is deleted afterwards."""
    directory = tmp_path / "folders"
    with instance.new_project(directory) as project:
        yield Setup(instance.issuer, instance.token_file, directory, project)


@pytest.fixture(scope="module")
def provisioned(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """Provide a provisioned directory; a test that changes it repairs it by another run."""
    directory = tmp_path_factory.mktemp("provisioned")
    with instance.new_project(directory) as project:
        setup = Setup(instance.issuer, instance.token_file, directory, project)
        setup.run()
        yield setup


@pytest.fixture
def offline(tmp_path: Path) -> Setup:
    """Provide a token file and a directory, and an address where no ZITADEL answers."""
    token_file = tmp_path / "admin.pat"
    token_file.write_text(f"{TOKEN}\n")
    return Setup(f"http://localhost:{free_port()}", token_file, tmp_path / "folders")


@pytest.fixture
def scripted_zitadel(upstream: Upstream, offline: Setup) -> Upstream:
    """Provide a scripted ZITADEL with a discovery document, which `offline` then names."""
    offline.domain = upstream.base_url
    upstream.paths[DISCOVERY] = {"issuer": upstream.base_url}
    return upstream


# For local-zitadel


@pytest.fixture(scope="module")
def replayed() -> Iterator[tuple[LocalZitadel, Contract]]:
    """Provide a local-zitadel to which every recorded request up to introspection was sent."""
    with local_zitadel() as server:
        contract = Contract(server.issuer, server.admin_pat)
        for case in BY_ID.values():
            if case["id"].startswith("introspect/"):
                break
            contract.run(case)
        yield server, contract


# For diagnose.py


@pytest.fixture
def scripted_api(upstream: Upstream, tmp_path: Path) -> tuple[Upstream, Path]:
    """Provide a scripted ZITADEL that accepts every token, and an API's folder for it."""
    upstream.paths[DISCOVERY] = {
        "issuer": upstream.base_url,
        "introspection_endpoint": upstream.url,
    }
    folder = copy_folder(BASIC, tmp_path)
    settings = {"ZITADEL_DOMAIN": upstream.base_url, "API_CLIENT_ID": "5"}
    settings["API_CLIENT_SECRET"] = "s3cret-s3cret"
    (folder / ".env").write_text("".join(f"{name}={settings[name]}\n" for name in settings))
    upstream.answer(claims())
    return upstream, folder
