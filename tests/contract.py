"""Replay the recorded cases of answers.json against a ZITADEL, real or local.

    contract = Contract("http://localhost:8080", admin_token)
    for case in cases():
        contract.run(case)

Run them in order and with one Contract: later cases use what earlier ones created. `response` is
what today's ZITADEL answers, and `older` what 4.13 and before answered where that differs.

`{NAME}` is what an earlier case bound; with dots, a part of it. In an answer `{ANY}` and `{ANY_ID}`
are anything but empty, `{TIMESTAMP}` is an RFC 3339 time, `{TIME}` about now in Unix seconds,
`{IN_SECONDS:n}` about n seconds later, and `{SECONDS:n}` about n.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import string
import time
import warnings
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

FOLDER = Path(__file__).parent
EVENTUALLY_SECONDS = 15
ABOUT_NOW_SECONDS = 600
ABOUT_SECONDS = 5
TIMEOUT_SECONDS = 30
# What must be deleted afterwards: the call that creates it, where its id is, how it is deleted.
CREATED = {
    "CreateProject": ("projectId", "/zitadel.project.v2.ProjectService/DeleteProject", "projectId"),
    "CreateUser": ("id", "/zitadel.user.v2.UserService/DeleteUser", "userId"),
    "AddOrganization": (
        "organizationId",
        "/zitadel.org.v2.OrganizationService/DeleteOrganization",
        "organizationId",
    ),
}
PLACEHOLDER = re.compile(r"\{([A-Z_]+(?:\.\w+)*)\}")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def cases(file: str = "answers.json") -> list[dict[str, Any]]:
    """Return the recorded cases of a file beside this one."""
    recorded: list[dict[str, Any]] = json.loads((FOLDER / file).read_text("utf-8"))["cases"]
    return recorded


class Contract:
    """One run through the cases against the ZITADEL at `issuer`.

    With `wait`, for a real ZITADEL, it gives the server time until its lists and checks show what
    was written, accepts the older answers too, and allows another domain, organization name and
    token lifetime than the recorded server's.
    """

    def __init__(self, issuer: str, admin_pat: str, wait: bool = False) -> None:
        self.issuer = issuer.rstrip("/")
        self.wait = wait
        self.session = requests.Session()
        # A .netrc, or a proxy for localhost, would change what is sent.
        self.session.trust_env = wait
        self.session.auth = lambda request: request
        self.created: list[tuple[str, str]] = []
        self.last_expiry = 0.0
        # What the recorded answers contain, and what this server has instead.
        host = urlsplit(self.issuer).hostname or ""
        self.own: dict[str, str] = {"localhost": host} if wait else {}
        run = "".join(secrets.choice(string.ascii_lowercase) for _ in range(8))
        self.names: dict[str, Any] = {"ISSUER": self.issuer, "ADMIN_PAT": admin_pat, "RUN": run}

    def run(self, case: dict[str, Any]) -> None:
        """Send the case's request; raise AssertionError if the answer isn't as recorded."""
        if self.wait:
            time.sleep(case.get("elapse", 0) + case.get("wait", 0))
        elif "elapse" in case:
            time.sleep(max(0, self.last_expiry - time.time()))
        patience = EVENTUALLY_SECONDS if self.wait and case.get("eventually") else 0
        deadline = time.monotonic() + patience
        accepted = ["response", "older"] if self.wait and "older" in case else ["response"]
        while True:
            answer = self.send(case["request"])
            found = [self._problems(answer, case, recorded) for recorded in accepted]
            if [] in found:
                return
            if time.monotonic() >= deadline:
                raise AssertionError("\n  ".join([f"{case['id']}:", *found[0]]))
            time.sleep(0.5)

    def _problems(
        self, answer: requests.Response, case: dict[str, Any], recorded: str
    ) -> list[str]:
        expected, problems = case[recorded], []
        if answer.status_code != expected["status"]:
            problems.append(f"status {answer.status_code}, recorded {expected['status']}")
        for name, value in expected["headers"].items():
            if answer.headers.get(name) != value:
                problems.append(f"{name} {answer.headers.get(name)!r}, recorded {value!r}")
        body: Any = answer.text
        if isinstance(expected["body"], dict | list):
            try:
                body = json.loads(answer.content)
            except ValueError:
                return [*problems, f"the body is not JSON: {shortened(answer.text)}"]
            if self.wait and isinstance(body, dict):
                self._learn(body)
        bound = {}
        if answer.status_code == 200:
            for name, path in case.get("binds", {}).items():
                try:
                    bound[name] = value_at(body, path)
                except (KeyError, IndexError, TypeError, ValueError):
                    problems.append(f"nothing to bind {name} to at {path}")
        names = {**self.names, **bound}
        problems += differences("body", body, self._own(expected["body"]), names)
        # Even if the answer differs, since later cases may still pass.
        self.names = names
        return problems

    def _learn(self, body: dict[str, Any]) -> None:
        """Note how this server differs from the recorded one, when it first shows."""
        if "expires_in" in body:
            self.own.setdefault("43200", str(body["expires_in"]))
        if "org" in body:
            self.own.setdefault('"ZITADEL"', json.dumps(body["org"]["name"]))

    def _own(self, body: Any) -> Any:
        """Return a recorded body in this server's terms."""
        text = json.dumps(body)
        for recorded, own in self.own.items():
            text = text.replace(recorded, own)
        return json.loads(text)

    def clean_up(self) -> None:
        """Delete what the cases created; warn of what this administrator may not delete."""
        admin = {"bearer": "{ADMIN_PAT}"}
        while self.created:
            name, id_ = self.created.pop()
            _, path, key = CREATED[name]
            body = {key: id_}
            request = {"method": "POST", "path": path, "authorization": admin, "json": body}
            answer = self.send(request)
            if not is_gone(answer):
                left = f"What {name} created in {self.issuer} remains, {id_}: {answer.text}"
                warnings.warn(left, stacklevel=2)

    def send(self, recorded: dict[str, Any]) -> requests.Response:
        """Send a recorded request, filled in."""
        request = self.filled(recorded)
        headers = dict(request.get("headers", {}))
        if "authorization" in request:
            headers["Authorization"] = authorization(request["authorization"])
        form = request.get("form")
        content = None
        if form is not None:
            pairs = (f"{quote_plus(name)}={quote_plus(value)}" for name, value in form.items())
            content = "&".join(pairs).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = self.session.request(
            request["method"],
            self.issuer + request["path"],
            headers=headers,
            data=content,
            json=request.get("json"),
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
        )
        name = request["path"].rpartition("/")[2]
        if name in CREATED and answer.status_code == 200:
            self.created.append((name, answer.json()[CREATED[name][0]]))
        return answer

    def filled(self, value: Any) -> Any:
        """Return a part of a request with its names replaced and its tokens signed."""
        if isinstance(value, str):
            return filled(value, self.names)
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"jwt"}:
            return signed(self.filled(value["jwt"]))
        if set(value) == {"in_seconds"}:
            seconds = value["in_seconds"] if self.wait else 1  # without a lag, the shortest will do
            moment = datetime.now(timezone.utc) + timedelta(seconds=seconds)
            self.last_expiry = moment.timestamp()
            return moment.isoformat().replace("+00:00", "Z")
        return {filled(name, self.names): self.filled(item) for name, item in value.items()}


def is_gone(answer: requests.Response) -> bool:
    """Return whether a deletion left nothing: it succeeded now, or had before."""
    unknown = "not_found" in answer.text and "membership not found" not in answer.text
    return answer.status_code == 200 or (answer.status_code == 404 and unknown)


def signed(parts: dict[str, Any]) -> str:
    """Return the JWT that a case describes; its iat and exp are seconds from now."""
    claims = dict(parts["claims"])
    for name in ("iat", "exp"):
        if isinstance(claims.get(name), int):
            claims[name] += int(time.time())
    algorithm = parts.get("alg", "RS256")
    return jwt.encode(claims, private_key(parts["key"]), algorithm, headers=parts["header"])


@cache
def private_key(pem: str) -> rsa.RSAPrivateKey:
    """Return the key; parsing it takes far longer than signing with it."""
    key = load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def authorization(recorded: dict[str, Any]) -> str:
    """Return the Authorization header that a case describes."""
    [(kind, value)] = recorded.items()
    if kind == "raw":
        return str(value)
    if kind == "bearer":
        return f"Bearer {value}"
    pair = {"basic": map(quote_plus, value), "basic_unencoded": value}[kind]
    return f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}"


def value_at(body: Any, path: str) -> Any:
    """Return the value at a path with dots; after `base64json:` decoded."""
    is_encoded = path.startswith("base64json:")
    value = body
    for step in path.removeprefix("base64json:").split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return json.loads(base64.b64decode(value, validate=True)) if is_encoded else value


def filled(text: str, names: dict[str, Any]) -> str:
    """Return the text with each {NAME} replaced; a name that isn't bound is an error."""

    def replace(match: re.Match[str]) -> str:
        name, _, path = match[1].partition(".")
        if name not in names:
            raise AssertionError(f"{match[0]} is not bound: did an earlier case fail?")
        return str(value_at(names[name], path) if path else names[name])

    return PLACEHOLDER.sub(replace, text)


def differences(place: str, actual: Any, expected: Any, names: dict[str, Any]) -> list[str]:
    """Return a line for each place where the answer isn't as recorded."""
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return [f"{place} is {shortened(actual)}, recorded an object"]
        recorded = {filled(name, names): value for name, value in expected.items()}
        found = []
        for name in sorted({*actual, *recorded}):
            if name not in recorded:
                found.append(f"{place}.{name} is not in the recorded answer")
            elif name not in actual:
                found.append(f"{place}.{name} is missing")
            else:
                found += differences(f"{place}.{name}", actual[name], recorded[name], names)
        return found
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            return [f"{place} is {shortened(actual)}, recorded a list of {len(expected)}"]
        pairs = zip(actual, expected, strict=True)
        return [
            line
            for index, (one, other) in enumerate(pairs)
            for line in differences(f"{place}.{index}", one, other, names)
        ]
    if isinstance(expected, str):
        return text_differences(place, actual, expected, names)
    if type(actual) is not type(expected) or actual != expected:
        return [f"{place} is {shortened(actual)}, recorded {shortened(expected)}"]
    return []


def text_differences(place: str, actual: Any, expected: str, names: dict[str, Any]) -> list[str]:
    """Compare with a recorded text, which may be a placeholder for a kind of values."""
    kind, _, argument = expected.strip("{}").partition(":")
    if expected in ("{ANY}", "{ANY_ID}"):
        right = actual not in (None, "", [], {})
    elif expected == "{TIMESTAMP}":
        right = isinstance(actual, str) and TIMESTAMP.fullmatch(actual) is not None
    elif expected == "{TIME}":
        right = is_about(actual, time.time(), ABOUT_NOW_SECONDS)
    elif kind == "IN_SECONDS":
        right = is_about(actual, time.time() + int(argument), ABOUT_NOW_SECONDS)
    elif kind == "SECONDS":
        right = is_about(actual, int(argument), ABOUT_SECONDS)
    else:
        expected = filled(expected, names)
        right = actual == expected
    return [] if right else [f"{place} is {shortened(actual)}, recorded {shortened(expected)}"]


def is_about(actual: Any, expected: float, distance: int) -> bool:
    """Return whether the value is a whole number near the expected one."""
    return type(actual) is int and abs(actual - expected) <= distance


def shortened(value: Any) -> str:
    """Return the value for a message."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
