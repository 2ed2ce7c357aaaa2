"""What the folders' pages show of the wire, beside what really crosses it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest

from instance import Suite, new_name
from pages import blocks
from programs import APIS, FLASK, ROOT, SCRIPTS, run, running_api
from tools.exchange import Exchange
from tools.explain import Proxy


class Recorder:
    """Remember the exchanges that a proxy hands on."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def hear(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


@contextmanager
def recording(suite: Suite, recorder: Recorder) -> Iterator[Proxy]:
    with Proxy(recorder, suite.zitadel.issuer) as proxy:  # type: ignore[arg-type]
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def exchanges(suite: Suite) -> Iterator[dict[str, list[Exchange]]]:
    """Provide what was sent by each script, and around each API."""
    recorder = Recorder()
    user = suite.zitadel.add_user(new_name())
    found: dict[str, list[Exchange]] = {api: [] for api in APIS}
    without_role = {"PERSONAL_ACCESS_TOKEN": suite.zitadel.add_pat(user)}
    with recording(suite, recorder) as proxy:
        url = {"ZITADEL_INTROSPECTION_URL": f"{proxy.url}/oauth/v2/introspect"}
        client = {"ZITADEL_TOKEN_URL": f"{proxy.url}/oauth/v2/token", "API_BASE_URL": proxy.url}
        for api in APIS:
            with running_api(suite.folder / api, FLASK, **url) as proxy.api:
                for name, script in SCRIPTS.items():
                    recorder.exchanges = []
                    assert run(suite.folder / name, script, **client).returncode == 0
                    found[name] = recorder.exchanges
                    found[api] += recorder.exchanges
                recorder.exchanges = found[api]
                folder = suite.folder / "service-user-pat"
                ended = run(folder, SCRIPTS[folder.name], **client, **without_role)
                assert ended.returncode == 1
    yield found
    suite.zitadel.delete_user(user)


def shown_request(exchange: Exchange) -> str:
    """Return the request as the pages show it: the form decoded, a field a line."""
    lines = [f"{exchange.method} {exchange.path}"]
    for name in ("Authorization", "Content-Type"):
        if name in exchange.headers:
            lines.append(f"{name}: {exchange.headers[name]}")
    form = [f"{name} = {value}" for name, value in exchange.form.items()]
    return "\n".join([*lines, "", *form]).rstrip()


def matches(expected: Any, actual: Any) -> bool:
    """Tell whether JSON is as shown.

    A … is anything. As the name of a member it stands for the other ones, or if it is the only one,
    for a single one. A number stands for any number of its type.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        named = {name: value for name, value in expected.items() if name != "…"}
        if expected and not named:
            return len(actual) == 1 and matches(expected["…"], *actual.values())
        return ("…" in expected or actual.keys() <= named.keys()) and all(
            name in actual and matches(named[name], actual[name]) for name in named
        )
    if isinstance(expected, list) and isinstance(actual, list):
        return bool(actual) and all(matches(expected[0], member) for member in actual)
    if isinstance(expected, str) and isinstance(actual, str):
        return bool(re.fullmatch(re.escape(expected).replace("…", ".+"), actual))
    if expected == "…":
        return True
    return type(expected) is type(actual) and (expected == actual or not isinstance(expected, bool))


def is_answer(shown: str, exchange: Exchange) -> bool:
    """Tell whether the answer is as shown: the status, the headers named, the JSON."""
    head, _, body = shown.partition("\n\n")
    status, *headers = head.splitlines()
    pairs = [line.split(": ", 1) for line in headers]
    return (
        status.split()[1] == str(exchange.status)
        and all(exchange.answer_headers[name] == value for name, value in pairs)
        and matches(json.loads(body), exchange.answer)
    )


@pytest.mark.parametrize("name", [*APIS, *SCRIPTS])
def test_each_page_shows_the_requests_and_answers_that_are_really_sent(
    name: str, exchanges: dict[str, list[Exchange]]
) -> None:
    shown = [block.code for block in blocks(ROOT / name / "README.md") if block.language == "http"]
    assert len(shown) >= 2
    for block in shown:
        if block.startswith("HTTP/"):
            assert any(is_answer(block, exchange) for exchange in exchanges[name]), block
        else:
            pattern = re.escape(block).replace("…", ".+")
            requests = map(shown_request, exchanges[name])
            assert any(re.fullmatch(pattern, request) for request in requests), block


@pytest.mark.parametrize(
    ("name", "field"), [("api-jwt", "client_assertion"), ("service-user-jwt", "assertion")]
)
def test_each_page_shows_the_claims_of_a_real_assertion(
    name: str, field: str, exchanges: dict[str, list[Exchange]]
) -> None:
    codes = [block.code for block in blocks(ROOT / name / "README.md") if block.language == "json"]
    shown = json.loads(*codes)
    forms = [exchange.form for exchange in exchanges[name] if field in exchange.form]
    claims = jwt.decode(forms[0][field], options={"verify_signature": False})
    assert list(claims) == list(shown)
    assert claims["exp"] - claims["iat"] == shown["exp"] - shown["iat"]
    assert claims["iss"] == claims["sub"]
