"""One request and its answer as `demo.py --explain` shows them, with the secrets cut."""

from __future__ import annotations

import base64
import json
import time
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

import jwt

COLUMNS = 100
SECRETS = ("access_token", "assertion", "client_assertion", "client_secret", "id_token", "token")
HEADERS = ("Authorization", "Content-Type", "Retry-After", "WWW-Authenticate")


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
