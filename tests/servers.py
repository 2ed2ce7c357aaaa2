"""Real servers on real sockets for the tests: a scripted introspection endpoint, and Flask apps."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from flask import Flask
from werkzeug.serving import make_server


class Upstream:
    """An introspection endpoint that answers what it is told to and remembers what it was sent."""

    def __init__(self) -> None:
        """Answer every token as inactive until told otherwise."""
        self.answer({"active": False})
        self.forms: list[dict[str, str]] = []
        self.authorizations: list[str | None] = []
        self.connections = 0
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer, or Nagle's algorithm delays each by 40 ms

            def setup(self) -> None:
                super().setup()
                upstream.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                fields = parse_qs(body, keep_blank_values=True)
                upstream.forms.append({name: values[0] for name, values in fields.items()})
                upstream.authorizations.append(self.headers["Authorization"])
                time.sleep(upstream.delay)
                if upstream.raw is not None:
                    raw, upstream.raw = upstream.raw, None
                    self.wfile.write(raw)
                    self.close_connection = True
                    return
                self.send_response_only(upstream.status)
                for name, value in upstream.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(upstream.body)))
                self.end_headers()
                self.wfile.write(upstream.body)
                # A keep-alive server closes an idle connection without a word.
                self.close_connection = upstream.closes_quietly

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *arguments: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/oauth/v2/introspect"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, content: object, status: int = 200, **headers: str) -> None:
        """Answer with JSON, or with `content` as it stands if it is bytes."""
        self.status = status
        self.body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.raw: bytes | None = None
        self.delay = 0.0
        self.closes_quietly = False

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve a Flask app from a thread and give its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


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
