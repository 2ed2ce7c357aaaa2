"""What the decorator answers while ZITADEL fails, over real sockets, and that it recovers."""

from __future__ import annotations

import json
import pickle
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from flask import Flask
from requests.auth import HTTPBasicAuth

import keys
from introspection import IntrospectionUnavailableError, TokenIntrospection
from servers import TOKEN, Upstream, active, send, serving
from validator import ZitadelIntrospectTokenValidator

UNAVAILABLE = (503, "temporarily_unavailable")
OUR_FAULT = (500, "server_error")
INACTIVE = (401, "invalid_token")

Break = Callable[[Upstream], None]


def answers(content: object = b"", status: int = 200, **headers: str) -> Break:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda upstream: upstream.answer(content, status, headers=named)


def sends(raw: bytes) -> Break:
    return lambda upstream: upstream.answer(raw=raw)


# What ZITADEL does, what the caller gets, `Retry-After`, what the log names.
FAULTS: dict[str, tuple[Break, tuple[int, str], str | None, str]] = {
    "refuses the connection": (Upstream.stop, UNAVAILABLE, "5", "ConnectionError"),
    "lets nobody connect": (Upstream.hang, UNAVAILABLE, "5", "ConnectTimeout"),
    "is silent": (lambda u: u.answer(active(), delay=0.7), UNAVAILABLE, "5", "ReadTimeout"),
    "closes without an answer": (sends(b""), UNAVAILABLE, "5", "ConnectionError"),
    "closes in the headers": (
        sends(b"HTTP/1.1 200 OK\r\nCont"), UNAVAILABLE, "5", "no JSON object",
    ),
    "closes in mid-answer": (
        sends(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"active": true'),
        UNAVAILABLE, "5", "ProtocolError",
    ),
    "speaks no HTTP": (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), UNAVAILABLE, "5", "ConnectionError"),
    "sends a broken encoding": (
        sends(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
        UNAVAILABLE, "5", "DecodeError",
    ),
    "500": (answers({"error": "server_error"}, 500), UNAVAILABLE, "5", "status 500"),
    "502 with HTML": (answers(b"<html>", 502), UNAVAILABLE, "5", "status 502"),
    "503 with a digit that is none": (
        answers(b"", 503, Retry_After="\u00b2"), UNAVAILABLE, "5", "status 503",
    ),
    "408": (answers(b"", 408), UNAVAILABLE, "5", "status 408"),
    "429": (answers(b"", 429, Retry_After="7"), UNAVAILABLE, "7", "status 429"),
    "429 with a date": (
        answers(b"", 429, Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"),
        UNAVAILABLE, "5", "status 429",
    ),
    "200 with HTML": (answers(b"<html>"), UNAVAILABLE, "5", "no JSON object"),
    "200 with a list": (answers([]), UNAVAILABLE, "5", "no JSON object"),
    "200 with nothing": (answers(), UNAVAILABLE, "5", "no JSON object"),
    "200 with a depth": (answers(b"[" * 100_000), UNAVAILABLE, "5", "no JSON object"),
    "200 with no text": (answers(b"\xff"), UNAVAILABLE, "5", "no JSON object"),
    "a redirect to nowhere": (
        answers(b"", 302, Location="http://["), OUR_FAULT, None, "a redirect to 'http://['",
    ),
    "a redirect": (
        answers(b"", 301, Location="http://127.0.0.1:9/"),
        OUR_FAULT, None, "a redirect to 'http://127.0.0.1:9/'",
    ),
    "a redirect to https": (
        answers(b"", 307, Location="https://example.com/"), OUR_FAULT, None, "307",
    ),
    "204": (answers(b"", 204), OUR_FAULT, None, "204"),
    "400 unauthorized_client": (
        answers({"error": "unauthorized_client"}, 400), OUR_FAULT, None, "status 400",
    ),
    "400 invalid_client": (
        answers({"error": "invalid_client", "error_description": "invalid basic auth"}, 400),
        OUR_FAULT, None, "status 400",
    ),
    "401": (answers(b"", 401), OUR_FAULT, None, "status 401"),
    "404 for an unknown host": (
        answers(b"Instance not found", 404), OUR_FAULT, None, "status 404",
    ),
    "200 with {}": (answers({}), INACTIVE, None, ""),
    "inactive": (answers({"active": False}), INACTIVE, None, ""),
    "active as text": (answers({"active": "true"}), INACTIVE, None, ""),
    "active as a number": (answers({"active": 1}), INACTIVE, None, ""),
    "active as null": (answers({"active": None}), INACTIVE, None, ""),
    "active as a list": (answers({"active": [True]}), INACTIVE, None, ""),
    "exp in the past": (answers(active() | {"exp": 1}), INACTIVE, None, ""),
    "exp as text": (answers(active() | {"exp": "9999999999"}), INACTIVE, None, ""),
    "exp as null": (answers(active() | {"exp": None}), INACTIVE, None, ""),
    "exp as a truth": (answers(active() | {"exp": True}), INACTIVE, None, ""),
    "exp as a list": (answers(active() | {"exp": [9999999999]}), INACTIVE, None, ""),
    "exp as no number": (answers(b'{"active": true, "exp": NaN}'), INACTIVE, None, ""),
}  # fmt: skip


def validator_of(url: str) -> ZitadelIntrospectTokenValidator:
    introspection = TokenIntrospection(url, HTTPBasicAuth("id", "s3cret"))
    return ZitadelIntrospectTokenValidator(introspection)


def application(require_auth: ZitadelIntrospectTokenValidator) -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/", view_func=require_auth(lambda: {"message": "in"}))
    return app


@pytest.fixture
def base_url(require_auth: ZitadelIntrospectTokenValidator) -> Iterator[str]:
    with serving(application(require_auth)) as base_url:
        yield base_url


@pytest.mark.parametrize("zitadel", FAULTS)
def test_each_fault_of_zitadel_has_its_answer_and_the_api_recovers(
    zitadel: str, base_url: str, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    fault, expected, retry_after, logged = FAULTS[zitadel]
    upstream.answer(active())
    assert send(base_url, "/", TOKEN)[0] == 200

    fault(upstream)
    status, headers, body = send(base_url, "/", TOKEN)
    assert (status, body["error"]) == expected
    assert headers["content-type"] == "application/json"
    assert headers.get("retry-after") == retry_after
    assert headers.get("www-authenticate") == (
        'Bearer realm="api", error="invalid_token"' if status == 401 else None
    )
    log = "".join(r.getMessage() for r in caplog.records if r.name == __name__)
    assert (log == "") == (status == 401)  # an inactive token is nobody's fault here
    assert logged in log
    assert (upstream.url in log) == (status != 401)
    for secret in ("abc.DEF", "s3cret", "aWQ6czNjcmV0"):
        assert secret not in caplog.text + json.dumps([headers, body])

    upstream.stop()
    upstream.start()
    upstream.answer(active())
    assert send(base_url, "/", TOKEN)[0] == 200


@pytest.mark.parametrize("zitadel", ["is silent", "500", "429", "closes in mid-answer"])
def test_after_a_fault_zitadel_isnt_asked_again(
    zitadel: str, base_url: str, upstream: Upstream
) -> None:
    FAULTS[zitadel][0](upstream)
    assert send(base_url, "/", TOKEN)[0] == 503
    assert len(upstream.forms) == 1


def test_an_active_answer_without_an_expiry_is_accepted(base_url: str, upstream: Upstream) -> None:
    upstream.answer({"active": True})
    assert send(base_url, "/", TOKEN)[0] == 200


@pytest.mark.parametrize(
    ("variable", "url", "logged"),
    [
        ("NO_PROXY", "http://zitadel.invalid/", "http://zitadel.invalid/"),
        ("REQUESTS_CA_BUNDLE", "https://127.0.0.1:9/", "TLS CA certificate bundle, invalid path"),
    ],
    ids=["an unknown name", "a missing file of certificates"],
)
def test_an_unusable_address_is_503(
    variable: str,
    url: str,
    logged: str,
    require_auth: ZitadelIntrospectTokenValidator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(variable, "/nowhere.pem")
    unreachable = validator_of(url)
    with serving(application(unreachable)) as base_url:
        status, _, body = send(base_url, "/", TOKEN)
    assert (status, body["error"]) == UNAVAILABLE
    assert logged in caplog.text


def test_an_untrusted_certificate_is_503_until_it_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    context, certificate = keys.tls(tmp_path)
    upstream = Upstream(context)
    upstream.answer(active())
    with serving(application(validator_of(upstream.url))) as base_url:
        assert send(base_url, "/", TOKEN)[0] == 503
    assert "certificate verify failed: self-signed certificate" in caplog.text
    assert upstream.forms == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(application(validator_of(upstream.url))) as base_url:
        assert send(base_url, "/", TOKEN)[0] == 200
    upstream.stop()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("seen", [True, False], ids=["seen in time", "met in use"])
def test_a_connection_that_was_closed_while_idle_goes_unnoticed(
    scheme: str, seen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = keys.tls(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    upstream = Upstream(context if scheme == "https" else None)
    upstream.answer(active(), closes_quietly=True)
    require_auth = validator_of(upstream.url)
    if not seen:  # it is closed in the moment between this look and the request
        monkeypatch.setattr("urllib3.connectionpool.is_connection_dropped", lambda _: False)
    with serving(application(require_auth)) as base_url:
        assert [send(base_url, "/", TOKEN)[0] for _ in range(5)] == [200] * 5
    assert len(upstream.forms) == 5
    upstream.stop()


def test_a_zitadel_that_closes_every_connection_is_asked_only_twice(
    base_url: str, upstream: Upstream
) -> None:
    upstream.answer(raw=b"")
    assert send(base_url, "/", TOKEN)[0] == 503
    assert len(upstream.forms) == 2


def test_an_error_that_the_caller_is_handling_is_not_named() -> None:
    introspection = TokenIntrospection("http://127.0.0.1:9/", HTTPBasicAuth("id", "s3cret"))
    try:
        raise OSError("of the caller")
    except OSError:
        with pytest.raises(IntrospectionUnavailableError, match="refused") as raised:
            introspection.introspect("abc")
    assert "of the caller" not in str(raised.value)


def test_a_refused_connection_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[object] = []
    connect = urllib3.util.connection.create_connection

    def counted(*arguments: Any, **options: Any) -> socket.socket:
        attempts.append(arguments)
        return connect(*arguments, **options)

    monkeypatch.setattr("urllib3.util.connection.create_connection", counted)
    with serving(application(validator_of("http://127.0.0.1:9/"))) as base_url:
        attempts.clear()
        assert send(base_url, "/", TOKEN)[0] == 503
    assert len(attempts) == 1


@pytest.mark.parametrize("status", [101, 102, 103])
def test_an_answer_after_a_1xx_status_never_reaches_the_next_caller(
    status: int, base_url: str, upstream: Upstream
) -> None:
    early = f"HTTP/1.1 {status} Early\r\n\r\n".encode()
    upstream.answer(active(), early=early)
    assert send(base_url, "/", TOKEN)[0] == 503
    upstream.answer({"active": False})
    assert send(base_url, "/", b"Authorization: Bearer another")[0] == 401


@pytest.mark.parametrize("next_callers", [1, 16])
def test_many_connections_closed_at_once_go_unnoticed(
    next_callers: int, base_url: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.answer(active(), delay=0.2)
    with ThreadPoolExecutor(16) as threads:
        for callers in (16, next_callers, 16, next_callers):
            burst = [threads.submit(send, base_url, "/", TOKEN) for _ in range(callers)]
            assert {call.result()[0] for call in burst} == {200}
            upstream.stop()
            upstream.start()
            monkeypatch.setattr("urllib3.connectionpool.is_connection_dropped", lambda _: False)


def test_many_requests_share_one_connection(base_url: str, upstream: Upstream) -> None:
    upstream.answer(active())
    assert {send(base_url, "/", TOKEN)[0] for _ in range(20)} == {200}
    assert upstream.connections == 1


def test_cookies_are_not_kept(
    base_url: str, require_auth: ZitadelIntrospectTokenValidator, upstream: Upstream
) -> None:
    upstream.answer(active(), headers={"Set-Cookie": "session=1; Path=/"})
    assert [send(base_url, "/", TOKEN)[0] for _ in range(2)] == [200, 200]
    introspection = require_auth.introspection
    assert isinstance(introspection, TokenIntrospection)
    assert len(introspection._session.cookies) == 0


def only_headers(write: Callable[[bytes], Any]) -> None:
    write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    time.sleep(1)


@pytest.mark.parametrize("zitadel", ["is silent", "closes without an answer"])
def test_the_cause_of_an_error_contains_no_credentials(zitadel: str, upstream: Upstream) -> None:
    FAULTS[zitadel][0](upstream)
    basic = HTTPBasicAuth("id", "s3cret")
    introspection = TokenIntrospection(upstream.url, basic, timeout=(0.3, 0.3))
    with pytest.raises(IntrospectionUnavailableError) as raised:
        introspection.introspect("abc.DEF")
    cause = raised.value.__cause__
    assert isinstance(cause, requests.RequestException)
    assert not re.search(rb"abc.DEF|aWQ6czNjcmV0", pickle.dumps(cause))


@pytest.mark.parametrize(
    "silence", [{"delay": 1}, {"stream": only_headers}], ids=["at once", "after the headers"]
)
def test_while_zitadel_is_silent_one_caller_at_a_time_waits_for_it(
    silence: dict[str, Any], upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    basic = HTTPBasicAuth("id", "s3cret")
    introspection = TokenIntrospection(upstream.url, basic, timeout=(0.3, 0.5))
    app = application(ZitadelIntrospectTokenValidator(introspection))
    with serving(app) as base_url, ThreadPoolExecutor(20) as threads:
        upstream.answer(active(), **silence)
        burst = [threads.submit(send, base_url, "/", TOKEN) for _ in range(10)]
        assert {call.result()[0] for call in burst} == {503}
        assert len(upstream.forms) == 10  # until then, an ordinary burst

        burst = [threads.submit(send, base_url, "/", TOKEN) for _ in range(10)]
        assert {call.result()[0] for call in burst} == {503}
        assert len(upstream.forms) == 11
        assert caplog.text.count("ZITADEL is silent") == 9

        upstream.answer(active())
        assert send(base_url, "/", TOKEN)[0] == 200
        upstream.answer(active(), delay=0.2)
        burst = [threads.submit(send, base_url, "/", TOKEN) for _ in range(10)]
        assert {call.result()[0] for call in burst} == {200}


def test_one_or_two_lost_packets_delay_nobody_else(upstream: Upstream) -> None:
    basic = HTTPBasicAuth("id", "s3cret")
    introspection = TokenIntrospection(upstream.url, basic, timeout=(0.3, 0.3))
    app = application(ZitadelIntrospectTokenValidator(introspection))
    with serving(app) as base_url, ThreadPoolExecutor(20) as threads:
        for _ in range(3):
            upstream.answer(active(), delay=0.6)
            assert [send(base_url, "/", TOKEN)[0] for _ in range(2)] == [503, 503]
            upstream.answer(active(), delay=0.1)
            burst = [threads.submit(send, base_url, "/", TOKEN) for _ in range(10)]
            assert {call.result()[0] for call in burst} == {200}
