"""Many callers at once, in one process and in several."""

from __future__ import annotations

import copy
import pickle
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, jsonify
from requests.auth import AuthBase, HTTPBasicAuth

from client_authentication import PrivateKeyJWT
from instance import Suite
from introspection import TokenIntrospection
from keys import RSA_KEY, pem
from programs import APIS, ROOT, run, running_api
from servers import Upstream, active, bearer, send, serving
from validator import ZitadelIntrospectTokenValidator, current_token

THREADS = 32


def whose(form: dict[str, str]) -> dict[str, Any]:
    """Answer as a ZITADEL where each token is of a user of its own."""
    return active() | {"sub": form["token"]}


@pytest.fixture
def app(upstream: Upstream) -> Flask:
    """Provide an application that has never been called."""
    authentication = PrivateKeyJWT("client", "kid", pem(RSA_KEY), "https://zitadel.example")
    require_auth = ZitadelIntrospectTokenValidator(TokenIntrospection(upstream.url, authentication))
    upstream.answer(whose)
    app = Flask(__name__)

    @app.get("/")
    @require_auth
    def private() -> Response:
        before = current_token()["sub"]
        time.sleep(0.01)  # others come meanwhile
        assert current_token()["sub"] == before
        return jsonify(before)

    return app


def test_threads_that_start_together_share_one_assertion_and_one_pool(
    app: Flask, upstream: Upstream, signatures: list[Any]
) -> None:
    together = threading.Barrier(THREADS)

    def call(number: int) -> int:
        together.wait()
        return send(base_url, "/", bearer(f"t{number}"))[0]

    with serving(app) as base_url, ThreadPoolExecutor(THREADS) as threads:
        assert set(threads.map(call, range(THREADS))) == {200}
        first = upstream.connections
        assert first <= THREADS
        upstream.answer(whose, delay=0.05)  # so that all of them are in use at once
        assert set(threads.map(call, range(THREADS * 4))) == {200}
    assert len(signatures) == 1
    assert len({form["client_assertion"] for form in upstream.forms}) == 1
    assert upstream.connections <= THREADS < len(upstream.forms)


def test_no_thread_sees_anothers_token(app: Flask) -> None:
    def call(number: int) -> bool:
        return bool(send(base_url, "/", bearer(f"t{number}"))[2] == f"t{number}")

    with serving(app) as base_url, ThreadPoolExecutor(THREADS) as threads:
        assert all(threads.map(call, range(1000)))


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "options",
    [("--workers", "3"), ("--workers", "2", "--worker-class", "gthread", "--threads", "8")],
    ids=["sync", "gthread"],
)
def test_every_preloaded_gunicorn_worker_answers_correctly(
    api: str, options: tuple[str, ...], suite: Suite, upstream: Upstream
) -> None:
    def judge(form: dict[str, str]) -> dict[str, Any]:
        kind = form["token"][-1]
        role = {"r": ["read:messages"], "w": ["write:messages"]}.get(kind, [])
        return active(*role) | {"active": kind != "i"}

    def call(number: int) -> tuple[str, int]:
        kind = "rwi"[number % 3]
        return kind, send(base_url, "/api/private-scoped", bearer(f"{number}{kind}"))[0]

    upstream.answer(judge)
    command = ("-m", "gunicorn", "server:app", "--preload", *options, "--bind")
    folder = suite.folder / api
    with (
        running_api(folder, command, ZITADEL_INTROSPECTION_URL=upstream.url) as base_url,
        ThreadPoolExecutor(THREADS) as threads,
    ):
        counted = Counter(threads.map(call, range(300)))
    assert counted == {("r", 200): 100, ("w", 403): 100, ("i", 401): 100}
    log = (folder / "log.txt").read_text()
    assert log.count("Booting worker with pid") == int(options[1])


APPLICATION = """
import os
from flask import Flask
from client_authentication import ClientSecretBasic
from introspection import TokenIntrospection
from validator import ZitadelIntrospectTokenValidator, current_token

app = Flask(__name__)
introspection = TokenIntrospection(os.environ["URL"], ClientSecretBasic("a", "b"))
require_auth = ZitadelIntrospectTokenValidator(introspection)
app.add_url_rule("/", "private", require_auth(lambda: {"sub": current_token()["sub"]}))
app.add_url_rule("/api/public", "public", lambda: "up")
assert app.test_client().get("/", headers={"Authorization": "Bearer before"}).status_code == 200
"""


def test_workers_forked_after_a_request_share_no_connection(
    tmp_path: Path, upstream: Upstream
) -> None:
    for file in ("validator.py", "introspection.py", "client_authentication.py"):
        shutil.copy(ROOT / "api-basic-authentication" / file, tmp_path)
    (tmp_path / "server.py").write_text(APPLICATION)
    upstream.answer(whose)

    def call(number: int) -> bool:
        return bool(send(url, "/", bearer(f"t{number}"))[2] == {"sub": f"t{number}"})

    command = ("-m", "gunicorn", "server:app", "--preload", "--workers", "4", "--bind")
    with (
        running_api(tmp_path, command, URL=upstream.url) as url,
        ThreadPoolExecutor(THREADS) as threads,
    ):
        assert all(threads.map(call, range(300)))


@pytest.mark.parametrize(
    "authentication",
    [HTTPBasicAuth("id", "s3cret"), PrivateKeyJWT("c", "k", pem(RSA_KEY), "https://zitadel")],
)
def test_a_copy_for_another_process_is_rejected_with_a_remedy(
    authentication: AuthBase, upstream: Upstream
) -> None:
    introspection = TokenIntrospection(upstream.url, authentication)
    for copied in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="in each process instead"):
            copied(introspection)


FORKING = """
import os, sys, threading, time
from introspection import TokenIntrospection, requests

introspection = TokenIntrospection(sys.argv[1], None)
introspection.introspect("before")

begin = requests.Session.__init__

def begin_slowly(session):
    time.sleep(0.1)  # so that other threads come meanwhile
    begin(session)

requests.Session.__init__ = begin_slowly
together = threading.Barrier(8)
wrong = []

def ask(token):
    together.wait()
    if introspection.introspect(token)["sub"] != token:
        wrong.append(token)

children = [0] * 8
for number in range(8):
    children[number] = os.fork()
    if not children[number]:
        threads = [threading.Thread(target=ask, args=[f"{number}-{i}"]) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(len(wrong))
sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
"""


def test_threads_of_a_forked_process_share_no_connection_with_its_parent(
    upstream: Upstream,
) -> None:
    upstream.answer(whose)
    ended = run(ROOT / "api-jwt", "-c", FORKING, upstream.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(upstream.forms) == 1 + 8 * 8
    assert upstream.ports.count(upstream.ports[0]) == 1
