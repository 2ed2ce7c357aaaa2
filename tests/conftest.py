"""What many tests need: a scripted ZITADEL, and one with everything created in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from requests.auth import HTTPBasicAuth

from local_zitadel import LocalZitadel, local_zitadel
from programs import APIS, ROOT, SCRIPTS, copy_folder, run
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

    zitadel: LocalZitadel
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
