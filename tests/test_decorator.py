"""What the decorator lets pass and how it refuses, over real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import requests
from flask import Blueprint, Flask, Response, g, jsonify
from flask.views import MethodView
from requests.auth import HTTPBasicAuth

from servers import Upstream, send, serving
from validator import ValidatorError, ZitadelIntrospectTokenValidator, current_token

ROLES = "urn:zitadel:iam:org:project:roles"
TOKEN = b"Authorization: Bearer abc.DEF-123_~+/=="


def active(*roles: str) -> dict[str, Any]:
    """Return an active answer as ZITADEL gives it, for a user with these roles."""
    return {
        "active": True,
        "sub": "1",
        "exp": int(time.time()) + 60,
        ROLES: {role: {"2": "zitadel.localhost"} for role in roles},
    }


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def require_auth(upstream: Upstream) -> ZitadelIntrospectTokenValidator:
    return ZitadelIntrospectTokenValidator(
        upstream.url, HTTPBasicAuth("id", "s3cret"), timeout=(1, 0.5)
    )


@pytest.fixture
def app(require_auth: ZitadelIntrospectTokenValidator) -> Flask:
    app = Flask(__name__)

    @app.get("/public")
    def public() -> Response:
        return jsonify(token=bool(current_token))

    @app.get("/bare")
    @require_auth
    def bare() -> Response:
        return jsonify(dict(current_token))

    @app.get("/none")
    @require_auth(None)
    def none() -> Response:
        return jsonify(dict(current_token))

    @app.get("/empty")
    @require_auth()
    def empty() -> Response:
        return jsonify(dict(current_token))

    @app.get("/editor")
    @require_auth("editor")
    def editor() -> Response:
        return jsonify(dict(current_token))

    @app.get("/editor-or-admin")
    @require_auth(["editor", "admin"])
    def editor_or_admin() -> Response:
        return jsonify(dict(current_token))

    @app.get("/editor-and-admin")
    @require_auth([["editor", "admin"]])
    def editor_and_admin() -> Response:
        return jsonify(dict(current_token))

    @app.get("/owner-or-both")
    @require_auth(["owner", ["editor", "admin"]])
    def owner_or_both() -> Response:
        return jsonify(dict(current_token))

    @app.get("/async")
    @require_auth("editor")
    async def asynchronous() -> Response:
        return jsonify(dict(current_token))

    return app


@pytest.fixture
def base_url(app: Flask) -> Iterator[str]:
    with serving(app) as base_url:
        yield base_url


@pytest.mark.parametrize("path", ["/bare", "/none", "/empty"])
def test_any_active_token_passes_a_route_without_a_role(
    path: str, base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active())
    status, _, body = send(base_url, path, TOKEN)
    assert (status, body["sub"]) == (200, "1")
    assert upstream.forms == [{"token": "abc.DEF-123_~+/=="}]
    assert upstream.authorizations == ["Basic aWQ6czNjcmV0"]


def test_a_route_without_the_check_asks_nobody(base_url: str, upstream: Upstream) -> None:
    assert send(base_url, "/public", TOKEN)[2] == {"token": False}
    assert upstream.forms == []


@pytest.mark.parametrize(
    ("path", "roles", "status"),
    [
        ("/editor", [], 403),
        ("/editor", ["admin"], 403),
        ("/editor", ["editor"], 200),
        ("/editor-or-admin", ["admin"], 200),
        ("/editor-or-admin", ["owner"], 403),
        ("/editor-and-admin", ["editor"], 403),
        ("/editor-and-admin", ["editor", "admin", "owner"], 200),
        ("/owner-or-both", ["owner"], 200),
        ("/owner-or-both", ["admin"], 403),
        ("/owner-or-both", ["admin", "editor"], 200),
        ("/async", ["editor"], 200),
        ("/async", ["admin"], 403),
    ],
)
def test_roles_open_a_route(
    path: str, roles: list[str], status: int, base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active(*roles))
    assert send(base_url, path, TOKEN)[0] == status


@pytest.mark.parametrize("claim", [None, [], ["editor"], "editor", 1, True, {}, {"x": "editor"}])
def test_a_roles_claim_of_another_type_holds_no_roles(
    claim: object, base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active() | {ROLES: claim, "scope": "editor"})
    assert send(base_url, "/editor", TOKEN)[0] == 403


def test_a_missing_role_is_403_and_named_in_the_body_only(
    base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active("reader"))
    status, headers, body = send(base_url, "/owner-or-both", TOKEN)
    assert status == 403
    assert headers["www-authenticate"] == 'Bearer realm="api", error="insufficient_scope"'
    assert headers["content-type"] == "application/json"
    assert body == {
        "error": "insufficient_scope",
        "error_description": "This needs the role owner or admin and editor.",
    }


@pytest.mark.parametrize(
    "headers", [[], [b"Authorization:"], [b"Authorization: Basic aWQ6cw=="], [b"Authorization: x"]]
)
def test_no_bearer_token_is_401_without_an_error_code(
    headers: list[bytes], base_url: str, upstream: Upstream
) -> None:
    status, answered, body = send(base_url, "/bare", *headers)
    assert (status, body["error"]) == (401, "unauthorized")
    assert answered["www-authenticate"] == 'Bearer realm="api"'
    assert upstream.forms == []


@pytest.mark.parametrize("header", [b"Bearer", b"bearer ", b"BEARER    "])
def test_an_empty_bearer_token_is_400(header: bytes, base_url: str, upstream: Upstream) -> None:
    status, headers, body = send(base_url, "/bare", b"Authorization: " + header)
    assert (status, body["error"]) == (400, "invalid_request")
    assert headers["www-authenticate"] == 'Bearer realm="api", error="invalid_request"'
    assert upstream.forms == []


@pytest.mark.parametrize(
    "headers",
    [
        [b"Authorization: Bearer a b"],
        [b"Authorization: Bearer a,b"],
        [b"Authorization: Bearer =a"],
        [b"Authorization: Bearer a=b"],
        [b"Authorization: Bearer \xc3\xa4"],
        [b"Authorization: Bearer a%20b"],
        [b"Authorization: Bearer a\x00"],
        [b"Authorization: Bearer a", b"Authorization: Bearer a"],
    ],
)
def test_a_malformed_token_is_401_and_never_reaches_zitadel(
    headers: list[bytes], base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active())
    status, answered, body = send(base_url, "/bare", *headers)
    assert (status, body["error"]) == (401, "invalid_token")
    assert answered["www-authenticate"] == 'Bearer realm="api", error="invalid_token"'
    assert upstream.forms == []


@pytest.mark.parametrize(
    "header", [b"bearer abc", b"BEARER abc", b"Bearer     abc", b"bEaReR abc "]
)
def test_the_scheme_has_no_case_and_spaces_do_not_count(
    header: bytes, base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active())
    assert send(base_url, "/bare", b"Authorization: " + header)[0] == 200
    assert upstream.forms == [{"token": "abc"}]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"active": False},
        {"active": "true"},
        {"active": 1},
        {"active": None},
        {"active": [True]},
        active() | {"exp": 1},
        active() | {"exp": "9999999999"},
        active() | {"exp": None},
        active() | {"exp": True},
        active() | {"exp": [9999999999]},
        b'{"active": true, "exp": NaN}',
    ],
)
def test_what_is_not_exactly_active_is_401(
    answer: object, base_url: str, upstream: Upstream
) -> None:
    upstream.answer(answer)
    status, headers, body = send(base_url, "/bare", TOKEN)
    assert (status, body["error"]) == (401, "invalid_token")
    assert headers["www-authenticate"] == 'Bearer realm="api", error="invalid_token"'


def test_an_answer_without_an_end_is_active(base_url: str, upstream: Upstream) -> None:
    upstream.answer({"active": True})
    assert send(base_url, "/bare", TOKEN)[0] == 200


@pytest.mark.parametrize(
    ("status", "content", "headers", "retry_after"),
    [
        (500, {"error": "server_error"}, {}, "5"),
        (502, b"<html>", {}, "5"),
        (408, b"", {}, "5"),
        (429, b"", {"Retry_After": "7"}, "7"),
        (429, b"", {"Retry_After": "Wed, 21 Oct 2099 07:28:00 GMT"}, "5"),
        (503, b"", {"Retry_After": "\u00b2"}, "5"),
        (200, b"<html>", {}, "5"),
        (200, [], {}, "5"),
        (200, b"[" * 100_000, {}, "5"),
        (200, b"\xff", {}, "5"),
    ],
)
def test_a_zitadel_that_cannot_tell_is_503(
    status: int,
    content: object,
    headers: dict[str, str],
    retry_after: str,
    base_url: str,
    upstream: Upstream,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upstream.answer(content, status, **headers)
    answered, answered_headers, body = send(base_url, "/bare", TOKEN)
    assert (answered, body["error"]) == (503, "temporarily_unavailable")
    assert answered_headers["retry-after"] == retry_after
    assert "www-authenticate" not in answered_headers
    assert_nothing_secret(caplog)
    upstream.answer(active())
    assert send(base_url, "/bare", TOKEN)[0] == 200


@pytest.mark.parametrize(
    ("status", "content", "headers"),
    [
        (400, {"error": "unauthorized_client"}, {}),
        (400, {"error": "invalid_client", "error_description": "invalid basic auth header"}, {}),
        (401, b"", {}),
        (404, b"Instance not found", {}),
        (301, b"", {"Location": "http://127.0.0.1:1/"}),
        (204, b"", {}),
        (307, b"", {"Location": "https://example.com/"}),
    ],
)
def test_a_zitadel_that_refuses_this_api_is_500_and_the_log_says_where_to_look(
    status: int,
    content: object,
    headers: dict[str, str],
    base_url: str,
    upstream: Upstream,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upstream.answer(content, status, **headers)
    answered, answered_headers, body = send(base_url, "/bare", TOKEN)
    assert (answered, body["error"]) == (500, "server_error")
    assert "www-authenticate" not in answered_headers
    assert len(upstream.forms) == 1
    assert f"status {status}" in caplog.text
    assert "ZITADEL_DOMAIN" in caplog.text
    assert_nothing_secret(caplog)


def test_a_redirect_to_nowhere_is_503(base_url: str, upstream: Upstream) -> None:
    upstream.answer(b"", 302, Location="http://[")
    assert send(base_url, "/bare", TOKEN)[0] == 503


def test_a_missing_file_of_certificates_is_503_and_named_in_the_log(
    base_url: str,
    require_auth: ZitadelIntrospectTokenValidator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    monkeypatch.setattr(require_auth, "_url", "https://127.0.0.1:9/")
    assert send(base_url, "/bare", TOKEN)[0] == 503
    assert "REQUESTS_CA_BUNDLE" in caplog.text


def test_a_zitadel_that_is_down_is_503(
    base_url: str, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.close()
    assert send(base_url, "/bare", TOKEN)[0] == 503
    assert "ConnectionError" in caplog.text
    assert_nothing_secret(caplog)


def test_a_silent_zitadel_is_503_and_not_asked_twice(
    base_url: str, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answer(active())
    upstream.delay = 1.0
    status, _, body = send(base_url, "/bare", TOKEN)
    assert (status, body["error"]) == (503, "temporarily_unavailable")
    assert len(upstream.forms) == 1
    assert_nothing_secret(caplog)


def test_a_connection_that_was_closed_while_idle_goes_unnoticed(
    base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active())
    upstream.closes_quietly = True
    assert [send(base_url, "/bare", TOKEN)[0] for _ in range(3)] == [200, 200, 200]
    assert len(upstream.forms) == 3


def test_a_connection_closed_in_mid_answer_is_503(base_url: str, upstream: Upstream) -> None:
    upstream.raw = b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"active": true'
    assert send(base_url, "/bare", TOKEN)[0] == 503
    assert len(upstream.forms) == 1


def test_one_connection_serves_many_requests(base_url: str, upstream: Upstream) -> None:
    upstream.answer(active())
    assert {send(base_url, "/bare", TOKEN)[0] for _ in range(20)} == {200}
    assert upstream.connections == 1


@pytest.mark.parametrize(
    "roles",
    ["", [], (), [[]], [""], [[""]], ["editor", ""], 1, True, [1], [["editor", 1]], {}, [None],
     {"editor": 1}, {"editor"}, [["editor"], []], b"editor", [b"editor"], [[["editor"]]]],
)  # fmt: skip
def test_roles_that_say_nothing_are_refused_when_decorating(
    roles: Any, require_auth: ZitadelIntrospectTokenValidator
) -> None:
    with pytest.raises(ValueError, match="roles"):
        require_auth(roles)


def test_a_views_name_and_docstring_stay(require_auth: ZitadelIntrospectTokenValidator) -> None:
    def view() -> None:
        """Say something."""

    assert (require_auth(view).__name__, require_auth(view).__doc__) == ("view", "Say something.")


def test_check_protects_a_blueprint_before_each_request(
    require_auth: ZitadelIntrospectTokenValidator, upstream: Upstream
) -> None:
    app = Flask(__name__)
    blueprint = Blueprint("messages", __name__)
    blueprint.before_request(lambda: require_auth.check("editor"))
    blueprint.add_url_rule("/", view_func=lambda: jsonify(current_token["sub"]))
    app.register_blueprint(blueprint)
    with serving(app) as base_url:
        upstream.answer(active("editor"))
        assert send(base_url, "/", TOKEN)[::2] == (200, "1")
        upstream.answer(active())
        assert send(base_url, "/", TOKEN)[0] == 403


def test_a_method_view_takes_it_as_a_decorator(
    require_auth: ZitadelIntrospectTokenValidator, upstream: Upstream
) -> None:
    class Messages(MethodView):
        decorators: ClassVar = [require_auth("editor")]

        def get(self) -> Response:
            return jsonify(current_token["sub"])

    app = Flask(__name__)
    app.add_url_rule("/", view_func=Messages.as_view("messages"))
    with serving(app) as base_url:
        upstream.answer(active("editor"))
        assert send(base_url, "/", TOKEN)[::2] == (200, "1")
        upstream.answer(active())
        assert send(base_url, "/", TOKEN)[0] == 403


def test_an_apps_own_error_handler_wins(app: Flask) -> None:
    @app.errorhandler(ValidatorError)
    def handle(error: ValidatorError) -> tuple[Response, int]:
        return jsonify(ours=error.error["error"]), error.status_code

    with serving(app) as base_url:
        assert send(base_url, "/bare")[::2] == (401, {"ours": "unauthorized"})


def test_no_identity_outlives_its_request(app: Flask, upstream: Upstream) -> None:
    upstream.answer(active())
    with app.app_context():
        client = app.test_client()
        assert client.get("/bare", headers={"Authorization": "Bearer abc"}).status_code == 200
        assert client.get("/public").json == {"token": False}
        assert not current_token
        assert not list(g)


def test_above_the_route_decorator_it_protects_nothing(
    require_auth: ZitadelIntrospectTokenValidator,
) -> None:
    app = Flask(__name__)

    @require_auth("editor")
    @app.get("/")
    def upside_down() -> Response:
        return jsonify("open to everyone")

    with serving(app) as base_url:
        assert requests.get(base_url, timeout=5).status_code == 200


def assert_nothing_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Check that the log holds something, and neither the token nor the API's credentials."""
    assert caplog.text
    for secret in ("abc.DEF", "s3cret", "aWQ6czNjcmV0"):
        assert secret not in caplog.text
