"""How an API authenticates: with a client assertion, or with its client id and secret."""

from __future__ import annotations

import base64
import itertools
import json
import os
import runpy
import select
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
import requests
from dotenv import dotenv_values
from flask import Flask

import client_authentication
import validator
from client_authentication import PrivateKeyJWT
from instance import Suite
from introspection import TokenIntrospection
from keys import RSA_KEY, pem
from programs import ROOT
from servers import Upstream, bearer, send, serving

ISSUER = "https://zitadel.example"


class Clock:
    """The clock of this machine, as many seconds ahead as a test says."""

    def __init__(self, ahead: float = 0) -> None:
        self.ahead = ahead

    def time(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (client_authentication, validator):
        monkeypatch.setattr(module, "time", clock)
    return clock


def new_authentication() -> PrivateKeyJWT:
    return PrivateKeyJWT("client", "kid", pem(RSA_KEY), ISSUER)


def sent_form(authentication: PrivateKeyJWT, token: str = "a+b/c=") -> dict[str, list[str]]:
    """Return the form of an introspection request that was authenticated."""
    request = requests.Request("POST", ISSUER, data={"token": token}, auth=authentication)
    return parse_qs(str(request.prepare().body))


def assertion(authentication: PrivateKeyJWT) -> str:
    return sent_form(authentication)["client_assertion"][0]


def test_the_form_carries_the_token_and_the_assertion() -> None:
    form = sent_form(new_authentication())
    assert form["token"] == ["a+b/c="]
    assert form["client_assertion_type"] == [
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    ]
    (signed,) = form["client_assertion"]
    claims = jwt.decode(signed, RSA_KEY.public_key(), algorithms=["RS256"], audience=ISSUER)
    assert claims["iss"] == claims["sub"] == "client"
    assert -62 <= claims["iat"] - time.time() <= -59
    assert jwt.get_unverified_header(signed) == {"alg": "RS256", "typ": "JWT", "kid": "kid"}


@pytest.mark.parametrize("data", [None, b"token=a", {"token": "a"}])
def test_any_form_is_extended_by_the_assertion(data: Any) -> None:
    request = requests.Request("POST", ISSUER, data=data, auth=new_authentication())
    form = parse_qs(str(request.prepare().body), keep_blank_values=True)
    assert form.pop("client_assertion") and form.pop("client_assertion_type")
    assert form == ({"token": ["a"]} if data else {})


def test_the_content_length_includes_the_assertion() -> None:
    request = requests.Request("POST", ISSUER, data={"token": "a"}, auth=new_authentication())
    prepared = request.prepare()
    assert prepared.headers["Content-Length"] == str(len(prepared.body or b""))


def test_one_signature_is_used_for_five_minutes_and_is_always_valid(
    clock: Clock, signatures: list[Any]
) -> None:
    authentication = new_authentication()
    with ThreadPoolExecutor(32) as threads:
        for second in range(0, 1200, 10):
            clock.ahead = second
            burst = threads.map(assertion, itertools.repeat(authentication, 32))
            (signed,) = set(burst)
            claims = jwt.decode(signed, options={"verify_signature": False})
            assert claims["exp"] - clock.time() > 590
            assert claims["iat"] < clock.time() - 59
    assert len(signatures) == 4


def test_a_clock_that_is_set_back_renews_it(clock: Clock, signatures: list[Any]) -> None:
    authentication = new_authentication()
    assertion(authentication)
    clock.ahead = -3600
    claims = jwt.decode(assertion(authentication), options={"verify_signature": False})
    assert claims["iat"] < clock.time()
    assert len(signatures) == 2


@pytest.mark.parametrize(
    ("ahead", "status"), [(0, 200), (50, 200), (-180, 200), (120, 500), (-1200, 500)]
)
def test_a_clock_up_to_a_minute_ahead_or_some_minutes_behind_works(
    ahead: float, status: int, clock: Clock, suite: Suite, caplog: pytest.LogCaptureFixture
) -> None:
    clock.ahead = ahead
    key = json.loads((suite.folder / "api-jwt/api-key-file.json").read_text())
    token = dotenv_values(suite.folder / "service-user-pat/.env")["PERSONAL_ACCESS_TOKEN"]
    authentication = PrivateKeyJWT(key["clientId"], key["keyId"], key["key"], suite.zitadel.issuer)
    url = f"{suite.zitadel.issuer}/oauth/v2/introspect"
    introspection = TokenIntrospection(url, authentication)
    require_auth = validator.ZitadelIntrospectTokenValidator(introspection)
    app = Flask(__name__)
    app.add_url_rule("/", view_func=require_auth("read:messages")(lambda: {"message": "in"}))
    with serving(app) as base_url:
        assert send(base_url, "/", bearer(token))[0] == status
    assert ("this machine's: " in caplog.text) == (status == 500)


def test_the_issuer_may_have_a_trailing_slash() -> None:
    authentication = PrivateKeyJWT("client", "kid", pem(RSA_KEY), f"{ISSUER}/")
    claims = jwt.decode(assertion(authentication), options={"verify_signature": False})
    assert claims["aud"] == ISSUER


BASIC = runpy.run_path(str(ROOT / "api-basic-authentication/client_authentication.py"))


@pytest.mark.parametrize(
    ("client_id", "secret", "sent"),
    [
        ("id@quotes", "s3cret", "id%40quotes:s3cret"),
        ("a:b", "c:d", "a%3Ab:c%3Ad"),
        ("id", "per%cent and+plus/slash=", "id:per%25cent+and%2Bplus%2Fslash%3D"),
        ("id", "zürich", "id:z%C3%BCrich"),
    ],
)
def test_client_id_and_secret_are_form_url_encoded_before_base64(
    client_id: str, secret: str, sent: str, upstream: Upstream
) -> None:
    upstream.answer({"active": False})
    authentication = BASIC["ClientSecretBasic"](client_id, secret)
    TokenIntrospection(upstream.url, authentication).introspect("x")
    TokenIntrospection(upstream.url, authentication).introspect("x")
    encoded = base64.b64encode(sent.encode()).decode()
    assert upstream.authorizations == [f"Basic {encoded}"] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_while_an_assertion_is_signed_signs_its_own() -> None:
    authentication = PrivateKeyJWT("client", "key", pem(RSA_KEY), "https://zitadel.test")
    sign = authentication._sign
    is_signing = threading.Event()

    def slowly(now: int) -> str:
        is_signing.set()
        time.sleep(1)
        return sign(now)

    authentication._sign = slowly  # type: ignore[method-assign]
    thread = threading.Thread(target=authentication._assertion_form)
    thread.start()
    assert is_signing.wait(5)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, authentication._assertion_form()[:21].encode())
        os._exit(0)
    ready, _, _ = select.select([reader], [], [], 8)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    thread.join()
    assert ready and os.read(reader, 21) == b"client_assertion_type"
