"""What one caller, or a broken ZITADEL, must not be able to do to the whole API."""

from __future__ import annotations

import gzip
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from requests.auth import HTTPBasicAuth

from introspection import TokenIntrospection
from introspection_cache import CachedIntrospection
from servers import TOKEN, Upstream, active, protected, send, serving
from stores import Authentication, Memory

MEGABYTE = 1_000_000


@pytest.fixture
def introspect(upstream: Upstream) -> TokenIntrospection:
    return TokenIntrospection(upstream.url, HTTPBasicAuth("id", "s3cret"), timeout=(1, 0.5))


@pytest.fixture
def base_url(introspect: TokenIntrospection) -> Iterator[str]:
    with serving(protected(introspect)) as base_url:
        yield base_url


def sized(size: int) -> bytes:
    """Return an active answer of so many bytes."""
    short = json.dumps(active() | {"scope": ""}).encode()
    return json.dumps(active() | {"scope": "s" * (size - len(short))}).encode()


@pytest.mark.parametrize(
    ("size", "status"), [(MEGABYTE, 200), (MEGABYTE + 1, 503), (50 * MEGABYTE, 503)]
)
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_an_answer_of_more_than_a_megabyte_is_503(
    size: int,
    status: int,
    compressed: bool,
    base_url: str,
    upstream: Upstream,
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = sized(size)
    assert len(content) == size
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    upstream.answer(gzip.compress(content) if compressed else content, headers=headers)
    tracemalloc.start()
    assert send(base_url, "/", TOKEN)[0] == status
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * MEGABYTE
    assert (f"more than {MEGABYTE} bytes" in caplog.text) == (status == 503)
    upstream.answer(active())
    assert send(base_url, "/", TOKEN)[0] == 200


def bytes_taken(upstream: Upstream, head: bytes, part: bytes, base_url: str) -> tuple[int, int]:
    """Answer with `head` and then `part` without an end; return the status and what was taken."""
    taken = []

    def endless(write: Callable[[bytes], Any]) -> None:
        write(head)
        while True:  # until the connection is closed
            write(part)
            taken.append(len(part))

    upstream.answer(stream=endless)
    status = send(base_url, "/", TOKEN)[0]
    return status, sum(taken)


PART = b"x" * 65536
CHUNK = b"10000\r\n" + PART + b"\r\n"


@pytest.mark.parametrize(
    ("head", "part", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", PART, 503),
        (b"HTTP/1.1 200 OK\r\n\r\n", PART, 503),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK, 503),
        (b"HTTP/1.1 302 No\r\nLocation: /\r\nContent-Length: 1000000000\r\n\r\n", PART, 500),
        (b"HTTP/1.1 500 No\r\nContent-Length: 1000000000\r\n\r\n", PART, 503),
        (b"HTTP/1.1 404 No\r\nContent-Length: 1000000000\r\n\r\n", PART, 500),
    ],
    ids=["a length", "no length", "chunks", "a redirect", "500", "404"],
)
def test_an_endless_answer_is_cut_off(
    head: bytes, part: bytes, status: int, base_url: str, upstream: Upstream
) -> None:
    answered, taken = bytes_taken(upstream, head, part, base_url)
    assert answered == status
    assert taken < 12 * MEGABYTE  # the sockets' buffers are counted, too


def test_a_slowly_sent_answer_has_a_deadline(
    base_url: str, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    def drip(write: Callable[[bytes], Any]) -> None:
        write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(100):
            write(b" ")
            time.sleep(0.2)

    upstream.answer(stream=drip)
    began = time.monotonic()
    assert send(base_url, "/", TOKEN)[0] == 503
    assert 1.4 < time.monotonic() - began < 5  # timeout=(1, 0.5)
    assert "Timeout: timed out at " in caplog.text


@pytest.mark.parametrize(("size", "is_kept"), [(60_000, True), (70_000, False)])
def test_a_large_answer_is_not_cached(size: int, is_kept: bool, upstream: Upstream) -> None:
    store = Memory()
    introspection = TokenIntrospection(upstream.url, Authentication("api"))
    upstream.answer(sized(size))
    with serving(protected(CachedIntrospection(introspection, store))) as base_url:
        assert send(base_url, "/", TOKEN)[0] == 200
    assert bool(store) == is_kept


def test_above_max_concurrent_the_answer_is_503_at_once(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()

    def wait(_: dict[str, str]) -> dict[str, Any]:
        released.wait(20)
        return active()

    upstream.answer(wait)
    introspection = TokenIntrospection(
        upstream.url, HTTPBasicAuth("id", "s3cret"), max_concurrent=3
    )
    with serving(protected(introspection)) as base_url, ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(send, base_url, "/", TOKEN) for _ in range(3)]
        while len(upstream.forms) < 3:
            time.sleep(0.01)
        status, headers, body = send(base_url, "/", TOKEN)
        assert (status, body["error"]) == (503, "temporarily_unavailable")
        assert headers["retry-after"] == "5"
        assert "3 requests are under way" in caplog.text
        assert send(base_url, "/public")[0] == 200
        released.set()
        assert {call.result()[0] for call in waiting} == {200}
        assert [send(base_url, "/", TOKEN)[0] for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("status", [200, 400, 500])
def test_every_outcome_makes_room_for_the_next_request(status: int, upstream: Upstream) -> None:
    introspection = TokenIntrospection(
        upstream.url, HTTPBasicAuth("id", "s3cret"), max_concurrent=1
    )
    upstream.answer(active(), status)
    with serving(protected(introspection)) as base_url:
        first = send(base_url, "/", TOKEN)[0]
        assert [send(base_url, "/", TOKEN)[0] for _ in range(3)] == [first] * 3
        assert (first == 200) == (status == 200)
        upstream.answer(active())
        assert send(base_url, "/", TOKEN)[0] == 200


@pytest.mark.parametrize(
    "url",
    ["", "zitadel.example", "ftp://zitadel.example/", "https://", "https:///path",
     "https://user:s3cret@zitadel.example/", "https://:s3cret@zitadel.example/", "http://["],
)  # fmt: skip
def test_an_invalid_address_is_rejected_at_once(url: str) -> None:
    with pytest.raises(ValueError) as raised:
        TokenIntrospection(url, HTTPBasicAuth("id", "s3cret"))
    assert "s3cret" not in str(raised.value)


def test_a_timeout_of_another_type_occupies_no_slot(upstream: Upstream) -> None:
    basic = HTTPBasicAuth("id", "s3cret")
    introspection = TokenIntrospection(upstream.url, basic, timeout=5, max_concurrent=1)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(TypeError):
            introspection.introspect("abc")
