"""Hostile callers: generated Authorization headers and roles claims, against running servers."""

from __future__ import annotations

import random
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from programs import FLASK, GUNICORN, copy_folder, running_api
from servers import TOKEN, Upstream, active

B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
SCHEMES = [b"Bearer", b"bearer", b"BEARER", b"bEaReR", b"Basic", b"DPoP", b"Bearer:", b"Bear", b""]
SPACES = [b" ", b" ", b" ", b"  ", b" " * 500, b"", b"\t", b" \t ", b"\xa0", b",", b", "]
HARMLESS = [b"abc", b"A-._~+/z09", b"a.b.c", b"null", b"=", b"==", b"a" * 4000]
TEXT = [
    b" ", b",", b"%20", b"%00", b"%zz", b"' OR '1'='1", b"'; DROP TABLE tokens; --", b"token=abc",
    b"../../etc/passwd", b"${jndi:ldap://127.0.0.1/}", b"{{7*7}}", b"<script>", b"&client_id=x",
    b'"abc"', b"Bearer abc", b"[]", b"\xff", "\u00e4".encode(), "\u212a".encode(),
    "\u200b".encode(), "\U0001f600".encode(), b"\x80",
]  # fmt: skip
CONTROL = [
    b"\x00", b"\x01", b"\x0b", b"\x1b[31m", b"\x7f", b"a" * 70_000, b"\rabc", b"\nabc", b"\r\n abc",
    b"\r\nAuthorization: Bearer abc", b"\r\n\r\nGET /api/private HTTP/1.1\r\n\r\n",
]  # fmt: skip


def generated_headers(count: int) -> Iterator[bytes]:
    """Yield header lines, the same in every run: pieces in any order, and random bytes."""
    generator = random.Random(6750)
    for number in range(count):
        scheme, space = generator.choice(SCHEMES), generator.choice(SPACES)
        pieces = [HARMLESS, HARMLESS + TEXT, HARMLESS + TEXT + CONTROL][number % 3]
        rest = b"".join(generator.choices(pieces, k=generator.randrange(4)))
        if number % 10 == 0:
            rest = generator.randbytes(generator.randrange(200))
        yield b"Authorization:" + generator.choice([b" ", b"", b"\t"]) + scheme + space + rest


def statuses(base_url: str, header: bytes) -> list[int]:
    """Send a request with this header line and return the status of each answer to it."""
    request = b"GET /api/private HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    port = int(base_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(request + header + b"\r\n\r\n")
            with suppress(OSError):  # of a server that has hung up already
                connection.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        except (ConnectionResetError, BrokenPipeError):
            return []  # the server had read enough of it
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d{3})", received, re.M)]


@pytest.mark.parametrize("count", [1500, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("command", [FLASK, GUNICORN], ids=["flask", "gunicorn"])
def test_no_generated_authorization_header_is_accepted_or_breaks_the_server(
    command: tuple[str, ...], count: int, tmp_path: Path, upstream: Upstream
) -> None:
    folder = copy_folder("api-basic-authentication", tmp_path)
    settings = {
        "ZITADEL_DOMAIN": "https://zitadel.example",
        "ZITADEL_INTROSPECTION_URL": upstream.url,
        "API_CLIENT_ID": "id",
        "API_CLIENT_SECRET": "s3cret",
    }
    counted: Counter[int] = Counter()
    with running_api(folder, command, **settings) as base_url:
        for header in generated_headers(count):
            answered = statuses(base_url, header)
            counted.update(answered)  # a line break in it may make a second request of its end
            assert all(400 <= status < 500 for status in answered), header
        tokens = [form["token"] for form in upstream.forms]
        upstream.answer(active())
        assert statuses(base_url, TOKEN) == [200]
    assert all(B64TOKEN.fullmatch(token) for token in tokens)
    assert len(tokens) > count * 0.03, counted
    assert counted[401] > count * 0.5 and counted[400] > count * 0.03, counted
    log = (folder / "log.txt").read_text()
    assert "Traceback" not in log
    assert "s3cret" not in log
