"""The snippets in docs/, each continuing the README's app, over real HTTP."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apiflask
import flask_smorest
import pytest
import requests
from dotenv import dotenv_values
from flask import Flask
from flask.views import MethodView
from flask_caching import Cache
from flask_cors import CORS
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from requests.auth import HTTPBasicAuth
from simple_websocket import Client
from simple_websocket import ConnectionError as HandshakeError

import introspection
import validator
from instance import Suite
from pages import snippet
from programs import ROOT, run, running_api
from servers import ROLES, TOKEN, Upstream, active, bearer, send, serving
from stores import Authentication
from validator import ZitadelIntrospectTokenValidator

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
COPIED = ("validator.py", "introspection.py", "client_authentication.py")


class Page:
    """The names that the snippets use, and the app that they build."""

    def __init__(self, require_auth: ZitadelIntrospectTokenValidator) -> None:
        self.app = Flask(__name__)
        self.names: dict[str, Any] = {
            "app": self.app,
            "introspection": require_auth.introspection,
            "require_auth": require_auth,
            "current_token": validator.current_token,
        }

    def run(self, code: str) -> None:
        """Run a snippet in the app's module."""
        exec(code, self.names)


@pytest.fixture
def page(require_auth: ZitadelIntrospectTokenValidator) -> Page:
    return Page(require_auth)


class Views(MethodView):
    """A view that answers OPTIONS itself."""

    def get(self) -> dict[str, str]:
        return {"message": "in"}

    options = get


def test_only_preflight_requests_that_flask_answers_pass(page: Page, upstream: Upstream) -> None:
    page.run(snippet("preflight"))

    def view() -> dict[str, str]:
        return {"message": "in"}

    app = page.app
    CORS(app)
    app.add_url_rule("/", view_func=view)
    app.add_url_rule("/listed", "listed", view, methods=["GET", "OPTIONS"])
    app.add_url_rule("/class", view_func=Views.as_view("class"))
    app.add_url_rule("/off", "off", view, provide_automatic_options=False, methods=["OPTIONS"])
    upstream.answer(active("read:messages"))
    headers = {"Origin": "https://app.test", "Access-Control-Request-Method": "GET"}
    with serving(app) as base_url:
        answer = requests.options(base_url, headers=headers, timeout=5)
        assert answer.status_code == 200 and answer.content == b""
        assert "Access-Control-Allow-Origin" in answer.headers
        for path in ("/listed", "/class", "/off", "/missing"):
            answer = requests.options(f"{base_url}{path}", headers=headers, timeout=5)
            assert answer.status_code == 401, path
            assert "Access-Control-Allow-Origin" in answer.headers
        assert send(base_url, "/")[0] == 401
        assert send(base_url, "/", TOKEN)[0] == 200


def test_an_app_is_tested_with_a_fake_and_with_responses(tmp_path: Path) -> None:
    for file in COPIED:
        shutil.copy(ROOT / "api-basic-authentication" / file, tmp_path)
    (tmp_path / "server.py").write_text(snippet("app"))
    (tmp_path / "test_server.py").write_text(f"{snippet('fake')}\n\n{snippet('responses')}\n")
    ended = run(tmp_path, *PYTEST, "test_server.py")
    assert ended.returncode == 0 and "4 passed" in ended.stdout, ended.stdout


def test_an_app_factory_binds_late(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "messages").mkdir()
    (tmp_path / "messages/auth.py").write_text(snippet("factory auth"))
    (tmp_path / "messages/views.py").write_text(snippet("factory views"))
    (tmp_path / "messages/__init__.py").write_text(snippet("factory"))
    for file in COPIED:
        code = (ROOT / "api-basic-authentication" / file).read_text()
        code = code.replace("from introspection", "from .introspection")  # as the page says
        (tmp_path / "messages" / file).write_text(code)
    variables = {
        name: value or ""
        for name, value in dotenv_values(suite.folder / "api-basic-authentication/.env").items()
    }
    token = dotenv_values(suite.folder / "service-user-pat/.env")["PERSONAL_ACCESS_TOKEN"]
    command = ("-m", "flask", "--app", "messages", "run", "--port")
    with running_api(tmp_path, command, **variables) as url:
        status, _, body = send(url, "/messages", bearer(token))
        assert (status, list(body)) == (200, ["you are"])
        assert send(url, "/messages")[0] == 401

    ended = run(tmp_path, "-c", "from messages import create_app; create_app()")
    assert (ended.returncode, ended.stderr.splitlines()) == (
        1,
        ["Set these environment variables: ZITADEL_DOMAIN, API_CLIENT_ID, API_CLIENT_SECRET."],
    )

    (tmp_path / "test_messages.py").write_text(snippet("factory_test"))
    ended = run(tmp_path, *PYTEST, "test_messages.py")
    assert ended.returncode == 0 and "2 passed" in ended.stdout, ended.stdout


def test_a_token_of_an_impersonator_is_refused_and_recorded(
    page: Page, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    page.run(snippet("impersonation"))
    page.app.logger.setLevel("INFO")
    with serving(page.app) as base_url:
        assert send(base_url, "/account")[0] == 401
        upstream.answer(active("read:messages"))
        assert send(base_url, "/account", TOKEN)[0] == 200
        assert " acted as " not in caplog.text
        upstream.answer(active("read:messages") | {"sub": "1", "act": {"sub": "2"}})
        assert send(base_url, "/account", TOKEN)[0] == 403
    assert "2 acted as 1" in caplog.text


def test_a_websocket_is_checked_before_the_upgrade(page: Page, upstream: Upstream) -> None:
    page.run(snippet("sock"))
    with serving(page.app) as base_url:
        address = f"{base_url.replace('http', 'ws')}/echo"
        with pytest.raises(HandshakeError, match="401"):
            Client(address)
        upstream.answer(active())
        with pytest.raises(HandshakeError, match="403"):
            Client(address, headers={"Authorization": "Bearer abc"})
        upstream.answer(active("read:messages") | {"sub": "1"})
        client = Client(address, headers={"Authorization": "Bearer abc"})
        client.send("hello")
        assert client.receive(timeout=5) == "1: hello"
        client.close()


def openapi(page: Page, path: str) -> dict[str, Any]:
    with serving(page.app) as base_url:
        document: dict[str, Any] = requests.get(f"{base_url}{path}", timeout=5).json()
    return document


SMOREST = {
    "API_TITLE": "t",
    "API_VERSION": "1",
    "OPENAPI_VERSION": "3.0.3",
    "OPENAPI_URL_PREFIX": "/",
}
BEARER = {"bearer": {"type": "http", "scheme": "bearer"}}


def test_flask_smorests_document_has_the_bearer_scheme(page: Page) -> None:
    page.app.config |= SMOREST
    page.run(snippet("smorest"))
    flask_smorest.Api(page.app)
    document = openapi(page, "/openapi.json")
    assert document["components"]["securitySchemes"] == BEARER
    assert document["security"] == [{"bearer": []}]


def test_apiflasks_document_has_the_bearer_scheme(page: Page) -> None:
    page.app = app = page.names["app"] = apiflask.APIFlask(__name__)
    page.run(snippet("apiflask"))
    view = page.names["require_auth"](lambda: {})
    app.get("/")(app.doc(security="bearer")(view))

    document = openapi(page, "/openapi.json")
    assert document["components"]["securitySchemes"] == BEARER
    assert document["paths"]["/"]["get"]["security"] == [{"bearer": []}]


def test_flask_restxs_document_has_the_bearer_scheme(page: Page) -> None:
    page.run(snippet("restx"))
    document = openapi(page, "/swagger.json")
    assert document["securityDefinitions"]["bearer"]["name"] == "Authorization"
    assert document["security"] == [{"bearer": []}]


class Note(apiflask.Schema):
    text = apiflask.fields.String(required=True)


@pytest.mark.parametrize(("above", "status"), [(True, 401), (False, 422)])
def test_the_decorator_is_above_smorests_arguments(above: bool, status: int, page: Page) -> None:
    app, require_auth = page.app, page.names["require_auth"]
    app.config |= SMOREST
    blueprint = flask_smorest.Blueprint("notes", __name__)
    decorators = [blueprint.arguments(Note), require_auth("editor")]
    view = lambda note: note  # noqa: E731
    for decorator in decorators if above else reversed(decorators):
        view = decorator(view)
    blueprint.route("/notes", methods=["POST"])(view)
    flask_smorest.Api(app).register_blueprint(blueprint)
    with serving(app) as base_url:
        assert requests.post(f"{base_url}/notes", json={}, timeout=5).status_code == status


@pytest.mark.parametrize(("above", "status"), [(True, 401), (False, 422)])
def test_the_decorator_is_above_apiflasks_input(above: bool, status: int, page: Page) -> None:
    app, require_auth = apiflask.APIFlask(__name__), page.names["require_auth"]
    decorators = [app.input(Note), require_auth("editor")]
    view = lambda json_data: json_data  # noqa: E731
    for decorator in decorators if above else reversed(decorators):
        view = decorator(view)
    app.post("/notes")(view)
    with serving(app) as base_url:
        assert requests.post(f"{base_url}/notes", json={}, timeout=5).status_code == status


def test_a_handler_sends_problem_details_with_the_headers(page: Page) -> None:
    page.run(snippet("problem"))
    page.app.add_url_rule("/", view_func=page.names["require_auth"](lambda: {}))
    with serving(page.app) as base_url:
        status, headers, body = send(base_url, "/")
    assert (status, body["status"]) == (401, 401)
    assert headers["content-type"] == "application/problem+json"
    assert headers["www-authenticate"] == 'Bearer realm="api"'


def test_the_coalescing_recipe_works(page: Page, upstream: Upstream) -> None:
    page.run(snippet("coalescing"))
    page.app.add_url_rule("/", view_func=page.names["require_auth"](lambda: {}))
    upstream.answer(active())
    with serving(page.app) as base_url:
        assert send(base_url, "/", TOKEN)[0] == 200
    assert len(upstream.forms) == 1


def test_login_is_optional_but_a_bad_token_is_not_accepted(page: Page, upstream: Upstream) -> None:
    page.run(snippet("optional"))
    with serving(page.app) as base_url:
        assert send(base_url, "/greeting")[::2] == (200, {"hello": "stranger"})
        assert send(base_url, "/greeting", TOKEN)[0] == 401
        assert send(base_url, "/greeting", b"Authorization: Basic abc")[0] == 401
        upstream.answer(active())
        assert send(base_url, "/greeting", TOKEN)[::2] == (200, {"hello": "1"})


def test_a_role_counts_only_in_the_organization_that_granted_it(
    page: Page, upstream: Upstream
) -> None:
    page.run(snippet("organizations"))
    upstream.answer({**active(), ROLES: {"read:messages": {"7": "seven.test"}}})
    with serving(page.app) as base_url:
        assert send(base_url, "/organizations/7/messages", TOKEN)[0] == 200
        status, _, body = send(base_url, "/organizations/8/messages", TOKEN)
        assert (status, body["error"]) == (403, "insufficient_scope")
        upstream.answer({**active(), ROLES: {"admin": {"7": "seven.test"}}})
        assert send(base_url, "/organizations/7/messages", TOKEN)[0] == 403


def test_a_token_is_checked_without_a_request(page: Page, upstream: Upstream) -> None:
    page.run(snippet("elsewhere"))
    may_read = page.names["may_read"]
    assert may_read("abc") is False
    upstream.answer(active("read:messages"))
    assert may_read("abc") is True
    assert asyncio.run(asyncio.to_thread(may_read, "abc")) is True
    upstream.answer(active())
    assert may_read("abc") is False
    upstream.answer(b"", 503)
    assert may_read("abc") is False
    upstream.answer({"error": "unauthorized_client"}, 400)
    with pytest.raises(introspection.IntrospectionRejectedError):
        may_read("abc")


def test_flask_restful_works_as_it_is(page: Page, upstream: Upstream) -> None:
    page.run(snippet("restful"))
    with serving(page.app) as base_url:
        status, headers, body = send(base_url, "/notes")
        assert (status, body["error"]) == (401, "unauthorized")
        assert "www-authenticate" in headers
        upstream.answer(active("read:messages"))
        assert send(base_url, "/notes", TOKEN)[0] == 200


def test_one_line_keeps_our_error_in_another_format(page: Page) -> None:
    page.app = page.names["app"] = apiflask.APIFlask(__name__)
    page.run(snippet("formats"))
    page.app.add_url_rule("/", view_func=page.names["require_auth"](lambda: {"message": "in"}))
    with serving(page.app) as base_url:
        assert send(base_url, "/")[2]["error"] == "unauthorized"


def test_limits_and_cached_answers_belong_to_one_user(page: Page, upstream: Upstream) -> None:
    page.names["cache"] = Cache(page.app, config={"CACHE_TYPE": "SimpleCache"})
    page.names["limiter"] = Limiter(get_remote_address, app=page.app, storage_uri="memory://")
    page.run(snippet("limits").replace("10 per", "2 per"))
    with serving(page.app) as base_url:
        for user, statuses in (("1", [200, 200, 429]), ("2", [200])):
            upstream.answer({**active("read:messages"), "sub": user})
            for expected in statuses:
                answer = requests.get(
                    f"{base_url}/inbox", headers={"Authorization": "Bearer abc"}, timeout=5
                )
                assert answer.status_code == expected
                assert expected == 429 or answer.json() == {"inbox of": user}
        assert send(base_url, "/inbox")[0] == 401


def test_an_apps_own_handlers(page: Page) -> None:
    require_auth = page.names["require_auth"]
    page.app.add_url_rule("/", view_func=require_auth(lambda: {"message": "in"}))
    page.app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    plain = Flask("plain")
    plain.add_url_rule("/", view_func=require_auth(lambda: {"message": "in"}))
    for app in (page.app, plain):
        app.register_error_handler(401, lambda error: ({"error": "not called"}, 401))
        app.register_error_handler(Exception, lambda error: ({"error": "failure"}, 500))
    with serving(plain) as base_url:
        assert send(base_url, "/")[::2] == (500, {"error": "failure"})
    page.run(snippet("handlers"))
    with serving(page.app) as base_url:
        status, headers, body = send(base_url, "/")
        assert (status, body["error"]) == (401, "unauthorized")
        assert headers["cache-control"] == "no-store" and "www-authenticate" in headers
        assert send(base_url, "/broken")[::2] == (500, {"error": "failure"})


@pytest.fixture
def cached(upstream: Upstream) -> Iterator[Page]:
    """Provide the app, and check that its cache serves the second request."""
    introspects = introspection.TokenIntrospection(upstream.url, Authentication("id"))
    page = Page(ZitadelIntrospectTokenValidator(introspects))
    yield page
    page.app.add_url_rule("/", view_func=page.names["require_auth"](lambda: {"message": "in"}))
    upstream.answer(active())
    with serving(page.app) as base_url:
        assert [send(base_url, "/", TOKEN)[0] for _ in range(2)] == [200, 200]
    assert len(upstream.forms) == 1


def test_the_cache_works(cached: Page) -> None:
    cached.run(snippet("cache"))


def test_redis_works(cached: Page, redis_port: int) -> None:
    cached.run("from introspection_cache import CachedIntrospection")
    cached.run(snippet("redis").replace('"localhost"', f'"localhost", {redis_port}'))


def test_zitadel_is_asked_under_an_internal_address(suite: Suite, page: Page) -> None:
    variables = dotenv_values(suite.folder / "api-basic-authentication/.env")
    issuer = str(variables["ZITADEL_DOMAIN"])
    internal = issuer.replace("localhost", "127.0.0.1")
    page.names["TokenIntrospection"] = introspection.TokenIntrospection
    page.names["client_authentication"] = HTTPBasicAuth(
        str(variables["API_CLIENT_ID"]), str(variables["API_CLIENT_SECRET"])
    )
    code = snippet("host").replace("http://zitadel:8080", internal)
    page.run(code.replace("auth.example.com", issuer.partition("//")[2]))
    assert page.names["introspection"].introspect("abc") == {"active": False}
    page.run(code.replace(', host_header="auth.example.com"', ""))
    with pytest.raises(introspection.IntrospectionRejectedError, match="404"):
        page.names["introspection"].introspect("abc")


def test_more_introspections_than_the_limit_fail_immediately(
    page: Page, upstream: Upstream
) -> None:
    page.names |= {
        "TokenIntrospection": introspection.TokenIntrospection,
        "url": upstream.url,
        "client_authentication": Authentication("id"),
    }
    page.run(snippet("limit"))
    introspect = page.names["introspection"].introspect
    upstream.answer(active(), delay=1)
    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(introspect, "abc") for _ in range(6)]
        while len(upstream.forms) < 6:
            time.sleep(0.01)
        with pytest.raises(
            introspection.IntrospectionUnavailableError, match="6 requests are under way"
        ):
            introspect("abc")
        assert all(answer.result()["active"] for answer in answers)


@pytest.mark.skipif(os.name == "nt", reason="gunicorn doesn't run on Windows")
def test_gevent_workers_ask_zitadel(suite: Suite, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(suite.folder / "api-jwt", tmp_path / "api-jwt"))
    (folder / "gunicorn.conf.py").write_text(snippet("gevent"))
    token = dotenv_values(suite.folder / "service-user-pat/.env")["PERSONAL_ACCESS_TOKEN"]
    command = ("-m", "gunicorn", "-k", "gevent", "--preload", "server:app", "--bind")
    with running_api(folder, command) as base_url:
        assert send(base_url, "/api/private-scoped", bearer(token))[0] == 200
    assert "MonkeyPatchWarning" not in (folder / "log.txt").read_text()
