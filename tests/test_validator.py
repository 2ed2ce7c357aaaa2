"""What the decorator lets pass and how it refuses, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, jsonify

from servers import ROLES, TOKEN, Upstream, active, send, serving
from validator import ZitadelIntrospectTokenValidator, current_token

ROUTES: dict[str, tuple[Any, ...]] = {
    "/none": (None,),
    "/empty": (),
    "/editor": ("editor",),
    "/editor-or-admin": (["editor", "admin"],),
    "/editor-and-admin": ([["editor", "admin"]],),
    "/owner-or-both": (["owner", ["editor", "admin"]],),
}


@pytest.fixture
def base_url(require_auth: ZitadelIntrospectTokenValidator) -> Iterator[str]:
    app = Flask(__name__)

    @app.get("/public")
    def public() -> Response:
        return jsonify(token=bool(current_token()))

    def protected() -> Response:
        return jsonify(dict(current_token()))

    app.add_url_rule("/bare", "bare", require_auth(protected))
    for path, roles in ROUTES.items():
        decorate: Any = require_auth(*roles)
        app.add_url_rule(path, path, decorate(protected))
    with serving(app) as base_url:
        yield base_url


@pytest.mark.parametrize("path", ["/bare", "/none", "/empty"])
def test_a_route_without_a_role_accepts_any_active_token(
    path: str, base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active())
    status, _, body = send(base_url, path, TOKEN)
    assert (status, body["sub"]) == (200, "1")
    assert upstream.forms == [{"token": "abc.DEF-123_~+/=="}]
    assert upstream.authorizations == ["Basic aWQ6czNjcmV0"]


def test_an_unprotected_route_never_asks_zitadel(base_url: str, upstream: Upstream) -> None:
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
    ],
)
def test_a_route_accepts_only_users_with_its_roles(
    path: str, roles: list[str], status: int, base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active(*roles))
    assert send(base_url, path, TOKEN)[0] == status


@pytest.mark.parametrize(
    "claim",
    [None, [], ["editor"], [["editor"]], [{"editor": {}}], "editor", "", 1, 0, -1.5, True, False,
     {}, {"x": "editor"}, {"Editor": {}}, {"editor ": {}}, {"": {}}, {"editor,admin": {}},
     {"x": {"editor": {}}}, {"editor\x00": {}}, {"\ud800": {}}],
)  # fmt: skip
def test_a_malformed_roles_claim_grants_no_roles(
    claim: object, base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active() | {ROLES: claim, "scope": "editor"})
    assert send(base_url, "/editor", TOKEN)[0] == 403


def test_a_missing_role_is_403_and_named_only_in_the_body(
    base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active("reader"))
    status, headers, body = send(base_url, "/owner-or-both", TOKEN)
    assert status == 403
    assert headers["www-authenticate"] == 'Bearer realm="api", error="insufficient_scope"'
    assert headers["content-type"] == "application/json"
    assert body == {
        "error": "insufficient_scope",
        "error_description": "This route requires the role owner or admin and editor.",
    }


@pytest.mark.parametrize(
    "headers", [[], [b"Authorization:"], [b"Authorization: Basic aWQ6cw=="], [b"Authorization: x"]]
)
def test_a_missing_token_is_401_without_an_error_code(
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
def test_the_schemes_case_and_extra_spaces_are_ignored(
    header: bytes, base_url: str, upstream: Upstream
) -> None:
    upstream.answer(active())
    assert send(base_url, "/bare", b"Authorization: " + header)[0] == 200
    assert upstream.forms == [{"token": "abc"}]


@pytest.mark.parametrize(
    "roles",
    ["", [], (), [[]], [""], [[""]], ["editor", ""], 1, True, [1], [["editor", 1]], {}, [None],
     {"editor": 1}, {"editor"}, [["editor"], []], b"editor", [b"editor"], [[["editor"]]]],
)  # fmt: skip
def test_invalid_roles_are_rejected_when_decorating(
    roles: Any, require_auth: ZitadelIntrospectTokenValidator
) -> None:
    with pytest.raises(ValueError, match="roles"):
        require_auth(roles)
