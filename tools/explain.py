"""The lecture of `demo.py --explain`: what client, API and ZITADEL say to each other, and why.

A reverse proxy between the three passes everything on unchanged, shows each kind of exchange once
and counts the rest. It cuts secrets to their first few characters.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tools.connection import printable
from tools.exchange import COLUMNS, Exchange, answer_lines, request_lines
from tools.lessons import LESSONS, OPENING, Lesson

HOP_BY_HOP = ("connection", "host", "keep-alive", "transfer-encoding")
SECONDS = 60
BOLD, RED, GREEN, CYAN = "1", "31", "32", "36"


class Lecture:
    """Listen to the exchanges, and explain each kind once."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        self._colours = (
            sys.stdout.isatty()
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
            and (os.name != "nt" or "WT_SESSION" in os.environ)  # older consoles print the codes
        )
        self._lock = threading.Lock()
        self._is_over = False
        self._introspection: Exchange | None = None
        self._issued: set[str] = set()
        self._explained: list[str] = []
        self._left_out = {"calls to an API": 0, "token requests": 0, "introspections": 0}
        self._say()
        self._say(OPENING)

    def hear(self, exchange: Exchange) -> None:
        """Take in a completed exchange: explain it or count it."""
        with self._lock:
            try:
                if not self._is_over:
                    self._sort(exchange)
            except BrokenPipeError:  # nobody reads on; demo.py itself finds out at the end
                self._is_over = True

    def _sort(self, exchange: Exchange) -> None:
        if exchange.path.endswith("/introspect"):
            # It is part of a call that is still under way; there is one at a time.
            self._introspection = exchange
            return
        introspection, self._introspection = self._introspection, None
        kind = self._kind(exchange, introspection)
        if kind and kind not in self._explained:
            self._explained.append(kind)
            self._explain(kind, exchange, introspection)
            return
        is_call = exchange.path.startswith("/api/")
        self._left_out["calls to an API" if is_call else "token requests"] += 1
        if introspection:
            self._left_out["introspections"] += 1

    def end(self) -> None:
        """Say what was left out."""
        self._heading("All calls")
        counts = [f"{count} {what}" for what, count in self._left_out.items() if count]
        self._say(
            f"Omitted: {', '.join(counts)}, which were repetitions or calls to the public route. "
            "Results:"
        )
        self._say()

    def stop(self) -> None:
        """Be silent from now on."""
        with self._lock:
            self._is_over = True

    def _kind(self, exchange: Exchange, introspection: Exchange | None) -> str:
        """Return a key of LESSONS, the status if none fits, and "" for the public route."""
        status = str(exchange.status)
        if exchange.path.endswith("/token"):
            if status != "200":
                return status
            self._issued.add(str(exchange.answer.get("access_token")))
            return exchange.form.get("grant_type", "")
        if introspection is None:
            return {"200": "", "401": "no token"}.get(status, status)
        if status != "200":
            return {"401": "inactive", "403": "role"}.get(status, status)
        if "Authorization" in introspection.headers:
            return "basic"
        _, _, token = exchange.headers.get("Authorization", "").partition(" ")
        return "assertion" if token in self._issued else "personal"

    def _explain(self, kind: str, exchange: Exchange, introspection: Exchange | None) -> None:
        lesson = LESSONS.get(kind) or Lesson(f"Unexpected: {kind}")
        server = "API" if exchange.path.startswith("/api/") else "ZITADEL"
        self._heading(f"{len(self._explained)}. {lesson.title}")
        self._step(f"client -> {server}", lesson.request, request_lines(exchange), 2)
        if introspection:
            lines = request_lines(introspection)
            # The whole question is shown once for each way to authenticate.
            shown = lines if kind in ("assertion", "basic") else lines[:1]
            self._step("API -> ZITADEL", lesson.question, shown, 6)
            shown = answer_lines(introspection, lesson.claims)
            self._step("ZITADEL -> API", lesson.verdict, shown, 6)
        self._step(f"{server} -> client", lesson.answer, answer_lines(exchange), 2)

    def _heading(self, title: str) -> None:
        self._say()
        self._say(title, style=BOLD)
        self._say("=" * len(title), style=BOLD)

    def _step(self, arrow: str, text: str, lines: list[str], indent: int) -> None:
        margin = " " * indent
        self._say()
        self._say(arrow, margin, BOLD)
        if text:
            self._say(text, margin)
        for line in lines:
            indentation = len(line) - len(line.lstrip())
            self._say(line, f"{margin}  | ", style_of(line), hanging=indentation + 4)

    def _say(self, text: str = "", margin: str = "", style: str = "", hanging: int = 0) -> None:
        """Print a paragraph; the lines after its first are indented further, by `hanging`."""
        lines = textwrap.wrap(
            printable(text),
            COLUMNS - len(margin),
            subsequent_indent=" " * hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines or [""]:
            if style and self._colours:
                line = f"\x1b[{style}m{line}\x1b[0m"
            print(f"{margin}{line}", flush=True)


# How requests and answers are shown


def style_of(line: str) -> str:
    """Return the colour of a message's line; that of a status line shows success or failure."""
    if re.match("2[0-9]{2} ", line):
        return GREEN
    if re.match("[3-5][0-9]{2} ", line):
        return RED
    return CYAN


class Proxy(ThreadingTCPServer):
    """Forward requests to the API or to ZITADEL, and let the lecture hear each exchange."""

    daemon_threads = True

    def __init__(self, lecture: Lecture, zitadel: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        port = self.server_address[1]
        self.url = f"http://localhost:{port}"
        # A client that reaches ZITADEL under another address than its own may still name its own.
        self.hosts = (f"localhost:{port}", f"127.0.0.1:{port}", urlsplit(zitadel).netloc)
        self.lecture = lecture
        self.zitadel = zitadel
        self.api = ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a broken connection: the program that waits for an answer reports it."""
        if not isinstance(sys.exc_info()[1], OSError | HTTPException):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One exchange."""

    server: Proxy
    wbufsize = -1  # the answer goes out as one

    def do_POST(self) -> None:
        """Forward the request and return the answer."""
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            # A web page may have made its own host name resolve to this machine.
            self.send_response_only(HTTPStatus.MISDIRECTED_REQUEST)
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.server.api if self.path.startswith("/api/") else self.server.zitadel
        connection = HTTPConnection(urlsplit(target).netloc, timeout=SECONDS)
        try:
            connection.request(self.command, self.path, body, end_to_end(self.headers))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        form = dict(parse_qsl(body.decode(errors="replace")))
        request = (self.command, self.path, self.headers, form)
        self.server.lecture.hear(
            Exchange(*request, response.status, response.reason, response.headers, answer)
        )
        self.send_response_only(response.status, response.reason)
        for name, value in end_to_end(response.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


def end_to_end(headers: Message) -> dict[str, str]:
    """Return the headers that a proxy forwards."""
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


@contextmanager
def lecture(environments: Mapping[str, dict[str, str]]) -> Iterator[Proxy]:
    """Send the programs with these environments through a proxy, and yield it.

    ZITADEL_DOMAIN is kept: it is the audience of the assertions.
    """
    listener = Lecture()
    issuer = next(iter(environments.values()))["ZITADEL_DOMAIN"]
    with Proxy(listener, issuer) as proxy:
        for environment in environments.values():
            environment["ZITADEL_TOKEN_URL"] = f"{proxy.url}/oauth/v2/token"
            environment["ZITADEL_INTROSPECTION_URL"] = f"{proxy.url}/oauth/v2/introspect"
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield proxy
        finally:
            listener.stop()
            proxy.shutdown()
