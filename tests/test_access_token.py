"""The access token that renews itself, which people copy out of the client folders."""

from __future__ import annotations

import gc
import os
import pickle
import re
import select
import signal
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import requests

import access_token
import introspection
from access_token import AccessToken, TokenError
from client_credentials import ClientCredentialsToken
from jwt_profile import JWTProfileToken
from keys import RSA_KEY, pem
from servers import Upstream

THREADS = 16
REFUSED = {"error": "invalid_request", "error_description": "Errors.User.NotActive"}


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(access_token, "time", clock)
    return clock


@pytest.fixture(params=["JWT profile", "client credentials"])
def token(request: pytest.FixtureRequest, upstream: Upstream) -> AccessToken:
    """Provide each kind of token, which asks the scripted endpoint."""
    if request.param == "JWT profile":
        return JWTProfileToken(upstream.url, "https://zitadel", "s", "1", "kid", pem(RSA_KEY))
    return ClientCredentialsToken(upstream.url, "s", "user", "s3cret")


def gives(upstream: Upstream, life: float) -> Callable[[dict[str, str]], dict[str, Any]]:
    """Return what issues a token with a number of its own to each request."""
    return lambda _: {"access_token": f"t{len(upstream.forms)}", "expires_in": life}


@pytest.mark.parametrize(("life", "kept"), [(2, 1.7), (60, 53), (3600, 3539), (43200, 43139)])
def test_a_token_is_fetched_once_and_renewed_before_it_expires(
    life: float, kept: float, token: AccessToken, upstream: Upstream, clock: Clock
) -> None:
    upstream.answer(gives(upstream, life))
    assert token.token() == "t1"
    clock.now += kept
    assert token.token() == "t1"
    clock.now += (life - kept) * 0.9
    assert token.token() == "t2"
    assert len(upstream.forms) == 2


def test_a_token_with_a_lifetime_of_one_second_is_never_used_after_it_expires(
    token: AccessToken, upstream: Upstream
) -> None:
    issued: dict[str, float] = {}

    def issue(_: dict[str, str]) -> dict[str, Any]:
        name = f"t{len(upstream.forms)}"
        issued[name] = time.monotonic()
        return {"access_token": name, "expires_in": 1}

    upstream.answer(issue)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert time.monotonic() - issued[token.token()] < 1
        time.sleep(0.01)
    assert len(issued) in (3, 4)


def test_a_clock_that_is_set_back_fetches_anew(
    token: AccessToken, upstream: Upstream, clock: Clock
) -> None:
    upstream.answer(gives(upstream, 3600))
    assert token.token() == "t1"
    clock.now -= 7200
    assert token.token() == "t2"


def together(token: AccessToken) -> list[str | TokenError]:
    """Return what so many threads get that ask for the token at the same moment."""
    barrier = threading.Barrier(THREADS)

    def ask(_: int) -> str | TokenError:
        barrier.wait()
        try:
            return token.token()
        except TokenError as error:
            return error

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(ask, range(THREADS)))


def test_many_threads_fetch_one_token(token: AccessToken, upstream: Upstream) -> None:
    upstream.answer(gives(upstream, 3600), delay=0.2)
    assert set(together(token)) == {"t1"}
    assert len(upstream.forms) == 1


def test_all_waiting_threads_get_the_error_of_one_rejected_request(
    token: AccessToken, upstream: Upstream
) -> None:
    upstream.answer(REFUSED, 400, delay=0.2)
    errors = together(token)
    assert {str(error) for error in errors} == {f"status 400 from {upstream.url}"}
    assert len({id(error) for error in errors}) == THREADS  # a traceback for each
    assert len(upstream.forms) == 1

    with pytest.raises(TokenError, match="status 400"):
        token.token()
    assert len(upstream.forms) == 2

    upstream.answer(gives(upstream, 60))
    assert token.token() == "t3"


def test_all_waiting_threads_get_the_cause_of_one_unanswered_request(
    token: AccessToken, upstream: Upstream
) -> None:
    upstream.answer(stream=lambda _: time.sleep(0.2))  # and ends without an answer
    causes = {error.__cause__ for error in together(token) if isinstance(error, TokenError)}
    assert [type(cause) for cause in causes] == [requests.ConnectionError]


def test_a_rejected_renewal_leaves_the_valid_token_in_use(
    token: AccessToken, upstream: Upstream, clock: Clock
) -> None:
    upstream.answer(gives(upstream, 60))
    assert token.token() == "t1"
    upstream.answer(REFUSED, 400)
    clock.now += 55
    assert {token.token() for _ in range(5)} == {"t1"}
    assert len(upstream.forms) == 2
    clock.now += 5.1
    with pytest.raises(TokenError, match="status 400"):
        token.token()


def test_while_one_thread_renews_the_others_use_the_valid_token(
    token: AccessToken, upstream: Upstream, clock: Clock
) -> None:
    upstream.answer(gives(upstream, 60))
    assert token.token() == "t1"
    upstream.answer(gives(upstream, 60), delay=1)
    clock.now += 55
    with ThreadPoolExecutor(8) as threads:
        renewing = threads.submit(token.token)
        while len(upstream.forms) < 2:
            time.sleep(0.01)
        others = [threads.submit(token.token) for _ in range(7)]
        assert {other.result(0.5) for other in others} == {"t1"}
        assert not renewing.done()
        assert renewing.result() == "t2"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_during_a_token_request_gets_a_token(
    token: AccessToken, upstream: Upstream
) -> None:
    upstream.answer(gives(upstream, 60), delay=1)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(token.token)
        while not upstream.forms:
            time.sleep(0.01)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, token.token().encode())
            os._exit(0)
        ready, _, _ = select.select([reader], [], [], 8)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert ready and os.read(reader, 10).startswith(b"t")


@pytest.mark.parametrize("body", [b" " * 3_000_000, b'{"access_token": "' + b"a" * 2_000_000])
def test_a_large_answer_is_read_only_in_part(
    body: bytes, token: AccessToken, upstream: Upstream
) -> None:
    upstream.answer(body)
    with pytest.raises(TokenError, match="more than 1000000 bytes") as raised:
        token.token()
    assert not raised.value.temporary


def test_a_slowly_sent_answer_has_a_deadline(upstream: Upstream) -> None:
    def drip(write: Callable[[bytes], Any]) -> None:
        write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(100):
            write(b" ")
            time.sleep(0.2)

    upstream.answer(stream=drip)
    url = upstream.url
    token = ClientCredentialsToken(url, "s", "user", "s3cret", timeout=(0.5, 0.5))
    began = time.monotonic()
    with pytest.raises(TokenError, match="timed out") as raised:
        token.token()
    assert time.monotonic() - began < 5 and raised.value.temporary


def test_an_answer_that_ends_too_early_is_a_temporary_error(
    token: AccessToken, upstream: Upstream
) -> None:
    upstream.answer(stream=lambda write: write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"))
    with pytest.raises(TokenError, match=r"IncompleteRead|ProtocolError") as raised:
        token.token()
    assert raised.value.temporary


def test_an_error_that_the_caller_is_handling_is_not_named(
    token: AccessToken, upstream: Upstream
) -> None:
    upstream.stop()
    try:
        raise OSError("of the caller")
    except OSError:
        with pytest.raises(TokenError, match="refused") as raised:
            token.token()
    assert "of the caller" not in str(raised.value)


def test_a_token_discarded_during_a_failing_renewal_is_not_used_again(
    token: AccessToken, upstream: Upstream, clock: Clock
) -> None:
    upstream.answer(gives(upstream, 60))
    assert token.token() == "t1"
    clock.now += 57

    def discard(form: object) -> dict[str, str]:
        token.discard("t1")
        return {"error": "invalid_client"}

    upstream.answer(discard, 400)
    with pytest.raises(TokenError):
        token.token()
    assert token.expires_at == 0


@pytest.mark.parametrize("answers", [True, False], ids=["rejected", "unreachable"])
def test_an_error_keeps_none_of_the_earlier_ones_alive(
    answers: bool, token: AccessToken, upstream: Upstream
) -> None:
    upstream.answer(REFUSED, 400)
    if not answers:
        upstream.stop()
    errors: list[weakref.ref[BaseException]] = []
    for _ in range(3):
        try:
            token.token()
        except TokenError as error:
            errors.append(weakref.ref(error.__cause__ or error))
    gc.collect()
    alive = [error() is not None for error in errors]
    assert alive == [False, False, not answers]  # the last cause, for all who wait


def test_a_pickled_error_contains_no_credentials(token: AccessToken, upstream: Upstream) -> None:
    upstream.answer(REFUSED, 400)
    with pytest.raises(TokenError) as raised:
        token.token()
    pickled = pickle.dumps(raised.value)
    assert pickle.loads(pickled).error == "invalid_request"
    assert not re.search(rb"s3cret|Basic |assertion", pickled)


def test_the_cause_of_an_error_is_reachable(token: AccessToken, upstream: Upstream) -> None:
    upstream.stop()
    with pytest.raises(TokenError) as raised:
        token.token()
    cause = raised.value.__cause__
    assert isinstance(cause, requests.ConnectionError)
    assert cause.request is None  # which would contain the credentials


def test_pickling_is_rejected_with_a_remedy(token: AccessToken) -> None:
    with pytest.raises(TypeError, match="in each process instead"):
        pickle.dumps(token)
    session = requests.Session()
    session.auth = token
    with pytest.raises(TypeError, match="in each process instead"):
        pickle.dumps(session)


def test_an_apis_rejection_fetches_no_new_token(token: AccessToken, upstream: Upstream) -> None:
    upstream.answer(gives(upstream, 3600))
    api = Upstream()
    api.answer({"error": "invalid_token"}, 401)
    for _ in range(2):
        assert requests.post(api.url, {"a": "b"}, auth=token, timeout=5).status_code == 401
    api.stop()
    assert api.authorizations == ["Bearer t1"] * 2
    assert len(upstream.forms) == 1


@pytest.mark.parametrize(
    ("content", "status", "error", "temporary"),
    [
        ({"error": "server_error", "error_description": "x"}, 500, "server_error", True),
        ({"error": "server_error", "error_description": "Errors.Internal"}, 500,
         "server_error", False),
        (b"<html>", 502, None, True),
        ({}, 429, None, True),
        (REFUSED, 400, "invalid_request", False),
        ({"error": "invalid_grant", "error_description": "invalid assertion"}, 400,
         "invalid_grant", False),
        (b"Instance not found", 404, None, False),
        ({"error": ["odd"]}, 400, None, False),
        ({"access_token": 1, "expires_in": 60}, 200, None, False),
        ({"access_token": "a b", "expires_in": 60}, 200, None, False),
        ({"access_token": "t"}, 200, None, False),
        ({"access_token": "t", "expires_in": "60"}, 200, None, False),
        ({"access_token": "t", "expires_in": 0}, 200, None, False),
        ({"access_token": "t", "expires_in": -1}, 200, None, False),
        ({"access_token": "t", "expires_in": 1e10}, 200, None, False),
        (b"[" * 100_000, 200, None, False),
    ],
)  # fmt: skip
def test_a_token_error_has_the_status_the_error_and_whether_it_is_temporary(
    content: object,
    status: int,
    error: str | None,
    temporary: bool,
    token: AccessToken,
    upstream: Upstream,
) -> None:
    upstream.answer(content, status)
    with pytest.raises(requests.RequestException) as raised:
        requests.get("http://127.0.0.1:9", auth=token, timeout=5)
    told = raised.value
    assert isinstance(told, TokenError)
    assert (told.status, told.error, told.temporary) == (status, error, temporary)


def test_an_unreachable_zitadel_is_a_temporary_error(
    token: AccessToken, upstream: Upstream
) -> None:
    upstream.stop()
    with pytest.raises(TokenError) as raised:
        token.token()
    assert (raised.value.status, raised.value.temporary) == (None, True)


def test_a_valid_token_is_used_while_zitadel_is_unavailable(
    token: AccessToken, upstream: Upstream, clock: Clock
) -> None:
    upstream.answer(gives(upstream, 60))
    assert token.token() == "t1"
    upstream.answer({}, 503)
    clock.now += 57
    assert {token.token() for _ in range(3)} == {"t1"}
    assert len(upstream.forms) == 2  # it isn't asked for each request
    clock.now += 2.9
    assert token.token() == "t1"
    clock.now += 0.2
    with pytest.raises(TokenError):
        token.token()
    upstream.answer(gives(upstream, 60))
    assert token.token() == f"t{len(upstream.forms)}"


def test_a_valid_token_is_renewed_when_zitadel_is_available_again(
    token: AccessToken, upstream: Upstream, clock: Clock
) -> None:
    upstream.answer(gives(upstream, 3600))
    assert token.token() == "t1"
    upstream.answer({}, 503)
    clock.now += 3545
    assert token.token() == "t1"
    upstream.answer(gives(upstream, 3600))
    assert token.token() == "t1"
    clock.now += 5.1
    assert token.token() == "t3"


def test_a_discarded_token_is_replaced(token: AccessToken, upstream: Upstream) -> None:
    upstream.answer(gives(upstream, 3600))
    assert token.token() == "t1"
    token.discard()
    assert [token.token() for _ in range(2)] == ["t2", "t2"]
    token.discard()
    upstream.answer({}, 503)
    with pytest.raises(TokenError):  # not the discarded one again
        token.token()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "zitadel.example",
        "ftp://zitadel.example",
        "https://",
        "https://user:s3cret@zitadel.example/",
    ],
)
def test_an_address_without_scheme_or_host_is_rejected_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="token_url"):
        ClientCredentialsToken(url, "s", "user", "s3cret")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_with_credentials(
    status: int, token: AccessToken, upstream: Upstream
) -> None:
    elsewhere = Upstream()
    elsewhere.answer(gives(elsewhere, 60))
    upstream.answer(b"", status, headers={"Location": elsewhere.url})
    with pytest.raises(TokenError, match="status 30"):
        token.token()
    assert elsewhere.forms == []
    elsewhere.stop()


def test_many_threads_may_discard_the_same_token(token: AccessToken, upstream: Upstream) -> None:
    upstream.answer(gives(upstream, 3600))
    rejected = token.token()
    for _ in range(3):
        token.discard(rejected)
        assert token.token() == "t2"
    assert len(upstream.forms) == 2


@pytest.mark.parametrize("module", [access_token, introspection])
@pytest.mark.parametrize(
    ("reason", "ended"), [("UNEXPECTED_EOF_WHILE_READING", True), ("TLSV1_ALERT_X", False)]
)
def test_an_end_without_notice_has_only_a_reason_with_newer_versions_of_openssl(
    module: Any, reason: str, ended: bool
) -> None:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    assert module._was_cut_off(error) == ended


@pytest.mark.parametrize(
    ("answer", "words", "temporary"),
    [
        (b"", "EOF", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", r"WRONG_VERSION|RECORD_LAYER", False),
    ],
    ids=["cut off", "answered in http"],
)
def test_a_tls_handshake_that_is_cut_off_is_a_temporary_error(
    answer: bytes, words: str, temporary: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)  # with a FIN
            with suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/oauth/v2/token"
        with pytest.raises(TokenError, match=words) as raised:
            ClientCredentialsToken(url, "s", "user", "s3cret").token()
        thread.join()
    assert raised.value.temporary == temporary
