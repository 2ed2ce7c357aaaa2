"""Real servers on real sockets for the tests: a scripted introspection endpoint, and Flask apps."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from flask import Flask
from werkzeug.serving import make_server

from validator import Introspection, ZitadelIntrospectTokenValidator

ROLES = "urn:zitadel:iam:org:project:roles"
DISCOVERY = "/.well-known/openid-configuration"
TOKEN = b"Authorization: Bearer abc.DEF-123_~+/=="


def bearer(token: str | None) -> bytes:
    """Return the header line that carries the token."""
    return f"Authorization: Bearer {token}".encode()


def active(*roles: str) -> dict[str, Any]:
    """Return ZITADEL's answer about an active token of a user with these roles."""
    return {
        "active": True,
        "sub": "1",
        "exp": int(time.time()) + 60,
        ROLES: {role: {"2": "zitadel.localhost"} for role in roles},
    }


class Upstream:
    """A ZITADEL that answers as scripted and records what it was sent.

    What `paths` names is always answered with 200, and everything else as `answer` says.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Answer every token as inactive until told otherwise."""
        self.answer({"active": False})
        self.forms: list[dict[str, str]] = []
        self.ports: list[int] = []  # of the connections that each form came by
        self.authorizations: list[str | None] = []
        self.cookies: list[str | None] = []
        self.paths: dict[str, object] = {}
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._crowd: list[socket.socket] = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer, or Nagle's algorithm delays each by 40 ms

            def setup(self) -> None:
                if tls:
                    self.request = tls.wrap_socket(self.request, server_side=True)
                super().setup()
                upstream.connections += 1
                upstream._open.add(self.connection)

            def finish(self) -> None:
                upstream._open.discard(self.connection)
                super().finish()
                self.connection.close()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
                fields = parse_qs(body, keep_blank_values=True)
                form = {name: values[0] for name, values in fields.items()}
                upstream.forms.append(form)
                upstream.ports.append(self.client_address[1])
                upstream.authorizations.append(self.headers["Authorization"])
                upstream.cookies.append(self.headers["Cookie"])
                time.sleep(upstream.delay)
                if upstream.stream:
                    self.close_connection = True
                    with suppress(OSError):
                        upstream.stream(self.connection.sendall)
                    return
                if upstream.raw is not None:
                    self.wfile.write(upstream.raw)
                    self.close_connection = True
                    return
                content = upstream.paths.get(self.path, upstream.content)
                content = content(form) if callable(content) else content
                answer = content if isinstance(content, bytes) else json.dumps(content).encode()
                if upstream.early:
                    self.wfile.write(upstream.early)
                    self.wfile.flush()
                    time.sleep(0.2)
                self.send_response_only(200 if self.path in upstream.paths else upstream.status)
                for name, value in upstream.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                # A keep-alive server closes an idle connection without a word.
                self.close_connection = upstream.closes_quietly

            do_GET = do_POST  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def handle_error(self, *arguments: object) -> None:
                pass

        self._server_type, self._handler = Server, Handler
        self._port = 0
        self.start()
        scheme = "https" if tls else "http"
        self.base_url = f"{scheme}://127.0.0.1:{self._port}"
        self.url = f"{self.base_url}/oauth/v2/introspect"

    def answer(
        self,
        content: object = b"",
        status: int = 200,
        raw: bytes | None = None,
        stream: Callable[[Callable[[bytes], Any]], None] | None = None,
        early: bytes = b"",
        delay: float = 0,
        closes_quietly: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer with `content`: bytes as they stand, a function of the form, else as JSON.

        Args:
            content: what is answered.
            status: its status.
            raw: sent in place of all of this, and the connection closed after it.
            stream: called with a function that sends bytes, in place of all of this.
            early: sent a moment before all of this.
            delay: seconds to wait first.
            closes_quietly: close the connection after each answer without saying so in it.
            headers: more headers.
        """
        self.content, self.status, self.raw, self.early = content, status, raw, early
        self.delay, self.closes_quietly = delay, closes_quietly
        self.headers, self.stream = headers or {}, stream

    def start(self) -> None:
        """Listen, after a stop at the same port as before."""
        while self._crowd:
            self._crowd.pop().close()
        self._server = self._server_type(("127.0.0.1", self._port), self._handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and close the connections."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Listen and let nobody in, as behind a firewall that drops packets."""
        self.stop()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(0)
        self._crowd.append(listener)
        for _ in range(100):
            caller = socket.socket()
            self._crowd.append(caller)
            caller.settimeout(0.2)
            try:
                caller.connect(("127.0.0.1", self._port))
            except TimeoutError:
                return
        raise AssertionError("The queue of connections has no end here.")


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve a Flask app from a thread and yield its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def protected(introspection: Introspection) -> Flask:
    """Return an app with a route that the decorator protects and a public one."""
    require_auth = ZitadelIntrospectTokenValidator(introspection)
    app = Flask(__name__)
    app.add_url_rule("/", view_func=require_auth(lambda: {"message": "in"}))
    app.add_url_rule("/public", "public", lambda: {"message": "up"})
    return app


def send(base_url: str, path: str, *headers: bytes) -> tuple[int, dict[str, str], Any]:
    """Send a GET with exactly these header lines; return status, headers and the JSON body."""
    host, port = base_url.removeprefix("http://").split(":")
    lines = [f"GET {path} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close", *headers]
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, *header_lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in header_lines)
    answered = {name.lower(): value for name, value in pairs}
    return int(status_line.split()[1]), answered, json.loads(body)
