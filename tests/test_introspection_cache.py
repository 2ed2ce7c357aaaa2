"""The optional cache: what it keeps, for how long, and what happens when it fails."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cachelib import FileSystemCache, RedisCache, SimpleCache
from flask import Flask, Response, jsonify
from flask_caching import Cache
from requests.auth import HTTPBasicAuth

from introspection import TokenIntrospection
from introspection_cache import CachedIntrospection
from servers import TOKEN, Upstream, active, send, serving
from stores import Authentication, Broken, Fixed, Memory
from validator import ZitadelIntrospectTokenValidator, current_token

SECRET = "abc.DEF"


@pytest.fixture(params=["SimpleCache", "FileSystemCache", "RedisCache", "Flask-Caching"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Provide each kind of store that the documentation names."""
    if request.param == "RedisCache":
        return RedisCache(port=request.getfixturevalue("redis_port"), key_prefix=str(tmp_path))
    if request.param == "FileSystemCache":
        return FileSystemCache(str(tmp_path))
    return SimpleCache() if request.param == "SimpleCache" else Cache()


def application(url: str, client_id: str = "api", store: Any = None, **options: Any) -> Flask:
    """Return an application whose decorator has these options."""
    authentication = Authentication(client_id)
    introspection = TokenIntrospection(url, authentication)
    cached = (
        CachedIntrospection(introspection, store, **options) if store is not None else introspection
    )
    require_auth = ZitadelIntrospectTokenValidator(cached)
    app = Flask(__name__)
    if isinstance(store, Cache):
        store.init_app(app, config={"CACHE_TYPE": "SimpleCache"})

    @app.get("/")
    @require_auth
    def private() -> Response:
        claims = jsonify(dict(current_token()))
        current_token()["sub"] = "changed by the view"
        return claims

    @app.get("/editor")
    @require_auth("editor")
    def editor() -> Response:
        return jsonify(dict(current_token()))

    return app


def test_without_a_cache_each_request_is_introspected(upstream: Upstream) -> None:
    upstream.answer(active())
    with serving(application(upstream.url)) as base_url:
        assert send(base_url, "/", TOKEN)[0] == 200
        upstream.answer({"active": False})
        assert send(base_url, "/", TOKEN)[0] == 401


def test_an_active_answer_is_cached(store: Any, upstream: Upstream) -> None:
    upstream.answer(active("reader"))
    with serving(application(upstream.url, store=store)) as base_url:
        first, second = (send(base_url, "/", TOKEN) for _ in range(2))
        assert first[0] == second[0] == 200
        assert first[2] == second[2] == upstream.content
        assert send(base_url, "/editor", TOKEN)[0] == 403
        assert len(upstream.forms) == 1
        send(base_url, "/", TOKEN + b"=")
        assert len(upstream.forms) == 2


def test_a_revoked_token_is_rejected_after_max_age(store: Any, upstream: Upstream) -> None:
    upstream.answer(active())
    with serving(application(upstream.url, store=store, max_age=1)) as base_url:
        assert send(base_url, "/", TOKEN)[0] == 200
        kept_at = time.monotonic()
        upstream.answer({"active": False})
        while send(base_url, "/", TOKEN)[0] == 200:
            assert time.monotonic() < kept_at + 1.5
            time.sleep(0.05)
        assert send(base_url, "/", TOKEN)[0] == 401


def test_no_token_can_be_read_in_the_store(store: Any, upstream: Upstream, tmp_path: Path) -> None:
    upstream.answer(active() | {"marker": "kept"})
    with serving(application(upstream.url, store=store)) as base_url:
        assert send(base_url, "/", TOKEN)[0] == 200
    content = repr(vars(getattr(store, "cache", store)))
    content += "".join(f"{file} {file.read_bytes()!r}" for file in tmp_path.iterdir())
    if isinstance(store, RedisCache):
        client = store._read_client
        content += repr([(key, client.get(key)) for key in client.keys()])
    assert "kept" in content
    assert SECRET not in content


@pytest.mark.parametrize(
    ("lifetime", "cache_seconds", "expected"),
    [(60, 30, [30]), (20.9, 30, [20]), (1.5, 30, [1]), (0.9, 30, []), (60, 1, [1]), (60, 0, []),
     (60, 0.9, []), (60, 1.9, [1]), (10**400, 30, [30])],
)  # fmt: skip
def test_an_answer_is_cached_for_max_age_or_until_the_token_expires(
    lifetime: float, cache_seconds: float, expected: list[int], upstream: Upstream
) -> None:
    store = Memory()
    with serving(application(upstream.url, store=store, max_age=cache_seconds)) as base_url:
        expiry = time.time() + lifetime if lifetime < 1e9 else lifetime
        upstream.answer(active() | {"exp": expiry})
        assert send(base_url, "/", TOKEN)[0] == 200
    assert store.timeouts == expected


def test_an_expired_token_is_rejected_even_if_the_store_keeps_it(upstream: Upstream) -> None:
    upstream.answer(active() | {"exp": time.time() + 1.1})
    with serving(application(upstream.url, store=Memory())) as base_url:
        assert [send(base_url, "/", TOKEN)[0] for _ in range(2)] == [200, 200]
        assert len(upstream.forms) == 1
        upstream.answer({"active": False})
        time.sleep(1.1)
        assert send(base_url, "/", TOKEN)[0] == 401


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"active": False}, 401),
        ({"active": "true", "exp": 9999999999}, 401),
        ({"active": True, "exp": 1}, 401),
        ({"active": True, "exp": "9999999999"}, 401),
        ({"active": True}, 200),
        ([], 503),
        (b"<html>", 503),
    ],
)
def test_only_active_answers_with_an_expiry_are_cached(
    answer: object, status: int, upstream: Upstream
) -> None:
    store = Memory()
    upstream.answer(answer)
    with serving(application(upstream.url, store=store)) as base_url:
        assert send(base_url, "/", TOKEN)[0] == status
    assert not store


@pytest.mark.parametrize("difference", ["another client id", "another ZITADEL"])
def test_two_apis_on_one_store_never_see_each_others_answers(
    difference: str, store: Any, upstream: Upstream
) -> None:
    elsewhere = Upstream()
    upstream.answer(active("editor"))
    with serving(application(upstream.url, "first", store=store)) as base_url:
        assert send(base_url, "/editor", TOKEN)[0] == 200

    upstream.answer({"active": False})
    other = {
        "another client id": application(upstream.url, "second", store=store),
        "another ZITADEL": application(elsewhere.url, "first", store=store),
    }[difference]
    with serving(other) as base_url:
        assert send(base_url, "/editor", TOKEN)[0] == 401
    elsewhere.stop()


def test_two_processes_of_one_api_share_cached_answers(tmp_path: Path, upstream: Upstream) -> None:
    upstream.answer(active())
    for _ in range(2):
        store = FileSystemCache(str(tmp_path))
        with serving(application(upstream.url, store=store)) as base_url:
            assert send(base_url, "/", TOKEN)[0] == 200
    assert len(upstream.forms) == 1


def kept(**changes: Any) -> str:
    """Return what a store holds after an editor's request, apart from `changes`."""
    answer = active("editor") | {"introspected_at": time.time()} | changes
    return json.dumps({name: value for name, value in answer.items() if value is not None})


LIES: dict[str, Callable[[], Any]] = {
    "dead": lambda: Broken(ConnectionError("abc.DEF")),
    "out of memory": lambda: Broken(MemoryError()),
    "bytes": lambda: Fixed(kept().encode()),
    "a dictionary": lambda: Fixed(json.loads(kept())),
    "a truth": lambda: Fixed(True),
    "a number": lambda: Fixed(0),
    "no text": lambda: Fixed(""),
    "garbage": lambda: Fixed("\x80\x04garbage"),
    "a depth": lambda: Fixed("[" * 100_000),
    "a list": lambda: Fixed("[true]"),
    "bare": lambda: Fixed('{"active": true}'),
    "without an end": lambda: Fixed(kept(exp=None)),
    "inactive": lambda: Fixed(kept(active=False)),
    "nearly active": lambda: Fixed(kept(active=1)),
    "expired": lambda: Fixed(kept(exp=time.time() - 1)),
    "an end that is no number": lambda: Fixed(kept(exp=float("nan"))),
    "an end as text": lambda: Fixed(kept(exp="9999999999")),
    "of no time": lambda: Fixed(kept(introspected_at=None)),
    "of old": lambda: Fixed(kept(introspected_at=time.time() - 31)),
    "of the future": lambda: Fixed(kept(introspected_at=time.time() + 5)),
    "of a time as text": lambda: Fixed(kept(introspected_at="now")),
}


@pytest.mark.parametrize("roles", [["editor"], [], None])
@pytest.mark.parametrize("lie", LIES)
def test_after_a_store_fails_or_returns_something_invalid_zitadel_is_asked(
    lie: str, roles: list[str] | None, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answer({"active": False} if roles is None else active(*roles))
    expected = 401 if roles is None else 200 if roles else 403
    with serving(application(upstream.url, store=LIES[lie]())) as base_url:
        assert send(base_url, "/editor", TOKEN)[0] == expected
    assert len(upstream.forms) == 1
    assert SECRET not in caplog.text
    if lie in ("dead", "out of memory", "bytes", "a dictionary", "garbage"):
        assert "The introspection cache failed" in caplog.text


def test_a_valid_cached_answer_is_used(upstream: Upstream) -> None:
    """So that the lies above are refused for what they are."""
    with serving(application(upstream.url, store=Fixed(kept()))) as base_url:
        status, _, claims = send(base_url, "/editor", TOKEN)
    assert (status, upstream.forms) == (200, [])
    assert "introspected_at" not in claims


@pytest.mark.parametrize("store", [Memory, SimpleCache])
def test_a_shorter_max_age_applies_to_what_another_api_cached(
    store: Callable[[], Any], upstream: Upstream
) -> None:
    shared = store()
    upstream.answer(active())
    with serving(application(upstream.url, store=shared, max_age=300)) as base_url:
        assert send(base_url, "/", TOKEN)[0] == 200
    upstream.answer({"active": False})
    time.sleep(1)
    with serving(application(upstream.url, store=shared, max_age=1)) as base_url:
        assert send(base_url, "/", TOKEN)[0] == 401


def test_while_redis_is_unreachable_zitadel_is_asked(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answer(active())
    store = RedisCache(host="127.0.0.1", port=9, socket_connect_timeout=1, retry=None)
    with serving(application(upstream.url, store=store)) as base_url:
        assert [send(base_url, "/", TOKEN)[0] for _ in range(2)] == [200, 200]
    assert len(upstream.forms) == 2
    assert "ConnectionError" in caplog.text


def test_a_cache_requires_a_client_id(upstream: Upstream) -> None:
    with pytest.raises(ValueError, match="client_id"):
        introspection = TokenIntrospection(upstream.url, HTTPBasicAuth("id", "s3cret"))
        CachedIntrospection(introspection, SimpleCache())


@pytest.mark.parametrize("seconds", [None, "30", float("nan"), float("inf"), -1, 86401])
def test_an_invalid_max_age_is_rejected_at_once(seconds: Any, upstream: Upstream) -> None:
    with pytest.raises(ValueError, match="max_age"):
        application(upstream.url, store=SimpleCache(), max_age=seconds)


def test_max_age_starts_when_zitadel_is_asked(upstream: Upstream) -> None:
    store = Memory()
    upstream.answer(active(), delay=0.3)
    with serving(application(upstream.url, store=store)) as base_url:
        asked_at = time.time()
        assert send(base_url, "/", TOKEN)[0] == 200
    (value,) = store.values()
    assert 0 <= json.loads(value)["introspected_at"] - asked_at < 0.2


def test_answers_for_different_host_headers_are_cached_separately(upstream: Upstream) -> None:
    store = Memory()
    upstream.answer(active())
    for host in (None, "one.example", "two.example"):
        introspection = TokenIntrospection(upstream.url, Authentication("api"), host_header=host)
        CachedIntrospection(introspection, store).introspect("abc")
    assert len(store) == len(upstream.forms) == 3
