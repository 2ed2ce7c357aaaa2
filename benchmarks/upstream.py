"""The introspection endpoint of the benchmarks. The token decides what is answered.

It serves two listening sockets, whose numbers are its arguments, the second over TLS. A GET
returns how many connections and introspections there were so far. What is large is sent piece by
piece, so that this process never contains it.
"""

import asyncio
import json
import re
import socket
import ssl
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, repeat

from introspection import MAX_BYTES

ROLES = {"read:messages": {"314159265358979323": "example.zitadel.cloud"}}
ACTIVE = {  # as ZITADEL answers about a service account
    "active": True,
    "aud": ["271828182845904523", "161803398874989484"],
    "client_id": "service-user-jwt",
    "exp": int(time.time()) + 43200,
    "iat": int(time.time()),
    "iss": "https://example.zitadel.cloud",
    "jti": "V2_314159265358979323-at_271828182845904523",
    "name": "service-user-jwt",
    "nbf": int(time.time()),
    "preferred_username": "service-user-jwt",
    "scope": "openid profile urn:zitadel:iam:org:project:id:161803398874989484:aud",
    "sub": "141421356237309504",
    "token_type": "Bearer",
    "updated_at": int(time.time()),
    "urn:zitadel:iam:org:project:161803398874989484:roles": ROLES,
    "urn:zitadel:iam:org:project:roles": ROLES,
    "username": "service-user-jwt",
}
PIECE = b"a" * 10_000
TOKEN = re.compile(rb"token=([a-z]+)")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
connections = introspections = 0
PACE_SECONDS = 0.005  # for a token that begins with "paced"


def head(headers: str, status: str = "200 OK") -> bytes:
    """Return the head of an answer."""
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}\r\n\r\n".encode()


def whole(content: object) -> bytes:
    """Return the whole answer that carries `content` as JSON."""
    body = json.dumps(content).encode()
    return head(f"Content-Length: {len(body)}") + body


def large(size: int, status: str = "200 OK", headers: str = "", scope: str = "") -> Iterator[bytes]:
    """Yield an answer of about `size` bytes: its scope is as long as the caller wanted."""
    text = json.dumps(ACTIVE | {"scope": f"{scope}|"}, ensure_ascii=False)
    first, last = text.encode().split(b"|")
    pieces = size // len(PIECE)
    length = len(first) + pieces * len(PIECE) + len(last)
    yield head(f"{headers}Content-Length: {length}", status) + first
    yield from repeat(PIECE, pieces)
    yield last


def compressed() -> Iterator[bytes]:
    """Yield an answer of 1 MB that expands to 1 GB."""
    gzip = zlib.compressobj(level=9, wbits=31)
    pieces = [gzip.compress(bytes(10**6)) + gzip.flush(zlib.Z_FULL_FLUSH) for _ in range(2)]
    length = len(pieces[0]) + 999 * len(pieces[1])
    yield head(f"Content-Encoding: gzip\r\nContent-Length: {length}") + pieces[0]
    yield from repeat(pieces[1], 999)  # after a full flush each is the same


def answer(token: bytes) -> Iterable[bytes]:
    """Return the pieces of the answer about a token; none means that there is no answer."""
    if token == b"echoed":
        return large(118_000_000)
    if token == b"gigabyte":
        return large(10**9)
    if token == b"compressed":
        return compressed()
    if token == b"endless":
        chunk = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
        return chain([head("Transfer-Encoding: chunked")], repeat(chunk))
    if token == b"redirect":
        return large(10**9, "302 Found", "Location: /\r\n")
    if token == b"below":
        return large(MAX_BYTES - 20_000)
    if token == b"wide":  # Python stores the whole text with as many bytes as its widest character
        return large(MAX_BYTES - 20_000, scope="\N{LOCK}")
    return [] if token == b"silent" else [ORDINARY]


ORDINARY = whole(ACTIVE)


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection until the other side closes it."""
    global connections, introspections
    connections += 1
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            if request.startswith(b"GET"):
                counts = {"connections": connections, "introspections": introspections}
                writer.write(whole(counts))
                continue
            length = CONTENT_LENGTH.search(request)
            form = await reader.readexactly(int(length[1]) if length else 0)
            token = TOKEN.search(form)
            introspections += 1
            if token and token[1].startswith(b"paced"):
                await asyncio.sleep(PACE_SECONDS)
            for piece in answer(token[1] if token else b""):
                writer.write(piece)
                await writer.drain()
    writer.close()


async def serve(plain: int, tls: int) -> None:
    """Serve both sockets until the process is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("certificate.pem", "key.pem")
    await asyncio.start_server(converse, sock=socket.socket(fileno=plain))
    server = await asyncio.start_server(converse, sock=socket.socket(fileno=tls), ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[1:])))
