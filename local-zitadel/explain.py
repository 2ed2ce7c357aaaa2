"""The lecture of `demo.py --explain`: what client, API and ZITADEL say to each other, and why.

A reverse proxy between the three passes everything on unchanged, shows each kind of exchange once
and counts the rest. It cuts secrets to their first few characters.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import jwt

from state import printable

COLUMNS = 100
SECONDS = 60
ROLES = "urn:zitadel:iam:org:project:roles"
SECRETS = ("access_token", "assertion", "client_assertion", "client_secret", "id_token", "token")
HEADERS = ("Authorization", "Content-Type", "Retry-After", "WWW-Authenticate")
HOP_BY_HOP = ("connection", "host", "keep-alive", "transfer-encoding")
BOLD, RED, GREEN, CYAN = "1", "31", "32", "36"

OPENING = (
    "Three parties talk over HTTP: a client, an API, and ZITADEL, which issues the tokens. What "
    "they really send is marked with a bar. Tokens, secrets and assertions are cut to their first "
    "characters. Each kind of exchange is explained once. The rules are in the RFCs, such as RFC "
    "7523 at https://www.rfc-editor.org/rfc/rfc7523."
)


class Lesson(NamedTuple):
    """The text about one kind of exchange; `claims` are those shown of an introspection."""

    title: str
    request: str = ""
    question: str = ""
    verdict: str = ""
    answer: str = ""
    claims: tuple[str, ...] = ("active", ROLES)


# In the order in which the demo comes to them, on which the texts rely.
LESSONS = {
    "urn:ietf:params:oauth:grant-type:jwt-bearer": Lesson(
        "A token for a signed assertion",
        "The client in service-user-jwt requests an access token. It has a private key, and "
        "ZITADEL has the public half. So it signs an assertion (RFC 7523, sections 2.1 and 3): who "
        "it is (iss, sub), who the assertion is for (aud), and when it is valid (iat, exp). It is "
        "backdated a minute because ZITADEL rejects assertions dated in the future. The key itself "
        "is never sent. The scope names the project whose APIs the token is for.",
        answer="ZITADEL has checked the signature and the claims, and issues an access token (RFC "
        "6749, section 5.1). Anyone who has it can use it, for expires_in seconds.",
    ),
    "assertion": Lesson(
        "A call to a protected route, and how the API checks it",
        "The client sends the token in the Authorization header (RFC 6750, section 2.1). In the "
        "URL it would end up in logs.",
        "To the API in api-jwt the token is a random text. So it asks ZITADEL: introspection (RFC "
        "7662, section 2.1). It must prove who it is, or anyone could try out guessed tokens here. "
        "This API signs an assertion with a key of its own (RFC 7523, section 2.2).",
        "The token is active, so the other members apply (RFC 7662, section 2.2): whose token it "
        "is (sub), which project it is for (aud), when it expires (exp), and the user's roles, "
        "which are ZITADEL's own addition.",
        "This route requires an active token but no role. The API accepts the call.",
        ("active", "scope", "exp", "sub", "aud", ROLES),
    ),
    "client_credentials": Lesson(
        "A token for a client id and a secret",
        "The client in service-user-client-credentials has no key. It sends its id and a secret, "
        "as a person sends a name and a password (RFC 6749, sections 4.4 and 2.3.1). Base64 hides "
        "nothing: only https protects the secret in transit. A signed assertion is safer.",
        answer="The same kind of answer. The client uses the token as in chapter 2.",
    ),
    "personal": Lesson(
        "A token issued in advance",
        "The client in service-user-pat doesn't request a token. ZITADEL issued a personal access "
        "token in advance, and the client sends it like any other (RFC 6750, section 2.1). That is "
        "the simplest way. But such a token is often valid for months, and a thief can use it for "
        "just as long.",
        "The API asks as in chapter 2.",
        "ZITADEL itself adds the API that asks and its project to aud. So a personal access token "
        "is active at every API: only a role keeps its user out.",
        "The API needn't know how the client got its token.",
        ("active", "sub", "aud", ROLES),
    ),
    "role": Lesson(
        "The role is missing: 403",
        "This route requires the role read:messages. Another service account calls it.",
        "The API asks as in chapter 2.",
        f"The token is active, but the claim {ROLES} is missing: this user has no role. The role "
        "in scope proves nothing: for a personal access token ZITADEL lists all the project's "
        "roles there, even those its user doesn't have.",
        "The API knows who is calling but doesn't allow it. Another token of the same user would "
        "not help (RFC 6750, section 3.1).",
        ("active", "scope", "sub"),
    ),
    "no token": Lesson(
        "No token: 401",
        "A call without an Authorization header.",
        answer="The API needn't ask ZITADEL. WWW-Authenticate says what is required, a bearer "
        "token (RFC 6750, section 3). It names no error, since there was no token that could be "
        "wrong (section 3.1).",
    ),
    "inactive": Lesson(
        "A token that isn't active: 401",
        "This token is made up.",
        "The API asks as in chapter 2.",
        "ZITADEL doesn't say why (RFC 7662, section 2.2). Made up, expired, revoked, meant for "
        "another project: it all looks the same, so that guessing reveals nothing. For a token of "
        "your own, diagnose.py finds the cause.",
        "Another token can help here: that is what 401 and invalid_token say (RFC 6750, section "
        "3.1).",
    ),
    "basic": Lesson(
        "The other API: it asks with a client id and a secret",
        "The call of chapter 2, now to api-basic-authentication.",
        "The same question, but this API has no key. It proves who it is with its id and a secret "
        "(RFC 7662, section 2.1, and RFC 6749, section 2.3.1). That is simpler to set up, but the "
        "secret is sent with every question.",
        "However an API authenticates, ZITADEL's answer is the same.",
        "To the client, both APIs look alike.",
    ),
}


class Exchange(NamedTuple):
    """A request and the answer to it."""

    method: str
    path: str
    headers: Message
    form: dict[str, str]
    status: int
    reason: str
    answer_headers: Message
    answer: Any


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


def short(secret: str) -> str:
    """Return the beginning of a secret: too little to be useful."""
    return f"{secret[: min(6, len(secret) // 4)]}…"


def request_lines(exchange: Exchange) -> list[str]:
    """Return a request line by line."""
    lines = [f"{exchange.method} {exchange.path}", *header_lines(exchange.headers)]
    for name, value in exchange.form.items():
        lines.append(f"{name} = {short(value) if name in SECRETS else value}")
        if name.endswith("assertion"):
            lines += assertion_lines(value)
    return lines


def header_lines(headers: Message) -> list[str]:
    """Return the headers that matter, with a Basic authorization also decoded."""
    lines = []
    for name in HEADERS:
        value = headers.get(name)
        if value is None:
            continue
        if name != "Authorization":
            lines.append(f"{name}: {value}")
            continue
        scheme, _, credentials = value.partition(" ")
        lines.append(f"Authorization: {scheme} {short(credentials)}")
        if scheme == "Basic":
            client_id, _, secret = base64.b64decode(credentials).decode().partition(":")
            lines.append(f"    decoded: {unquote_plus(client_id)}:{short(secret)}")
    return lines


def assertion_lines(assertion: str) -> list[str]:
    """Return what an assertion says, which anyone can read and only the key's owner can sign."""
    header = jwt.get_unverified_header(assertion)
    claims = jwt.decode(assertion, options={"verify_signature": False})
    lines = [f"    header: {json.dumps(header)}", "    claims:"]
    for name, value in claims.items():
        line = f"        {name}: {value}"
        if name in ("exp", "iat"):
            line += time.strftime(" (%H:%M:%S UTC)", time.gmtime(value))
        lines.append(line)
    return lines


def answer_lines(exchange: Exchange, claims: tuple[str, ...] = ()) -> list[str]:
    """Return an answer line by line, its JSON cut to `claims` if there are any."""
    lines = [f"{exchange.status} {exchange.reason}", *header_lines(exchange.answer_headers)]
    if not isinstance(exchange.answer, dict):
        return lines
    lines = [line for line in lines if not line.startswith("Content-Type:")]  # JSON is obvious
    shown = {
        name: short(str(value)) if name in SECRETS else value
        for name, value in exchange.answer.items()
        if not claims or name in claims
    }
    left_out = len(exchange.answer) - len(shown)
    whole = json.dumps(shown, ensure_ascii=False)
    if not left_out and len(whole) < COLUMNS - 10:
        return [*lines, whole]
    *pretty, closing = json.dumps(shown, indent=2, ensure_ascii=False).split("\n")
    if left_out:
        pretty.append(f"  … and {left_out} more")
    return [*lines, *pretty, closing]


# The proxy


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
