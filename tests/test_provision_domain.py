"""provision.py where --domain isn't the address that ZITADEL calls its own."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
import requests

from keys import tls
from provisioning import Setup
from servers import DISCOVERY, Upstream
from tools.zitadel import Zitadel


def test_another_name_of_the_same_machine_is_reported(setup: Setup) -> None:
    wrong = setup.domain.replace("localhost", "127.0.0.1")
    output = setup.run(status=2, domain=wrong)
    assert f"A ZITADEL answers at {wrong}, but not under its own domain" in output
    assert "proxy_set_header Host" in output


def test_a_server_that_is_not_zitadel_is_reported(offline: Setup, upstream: Upstream) -> None:
    output = offline.run(status=2, domain=upstream.base_url)
    assert f"{upstream.base_url} doesn't answer as ZITADEL does (status 200)" in output


def test_a_redirect_is_reported(offline: Setup, upstream: Upstream) -> None:
    upstream.answer(b"", 308, headers={"Location": "https://zitadel.example/"})
    output = offline.run(status=2, domain=upstream.base_url)
    assert f"{upstream.base_url} redirects to https://zitadel.example/: set --domain" in output


ON = "ZITADEL_EXTERNALSECURE=true"
OFF = "ZITADEL_EXTERNALSECURE=false"


@pytest.mark.parametrize(
    ("domain", "issuer", "told", "setting"),
    [
        ("http://localhost:8080", "https://localhost:8080", "set --domain to that", OFF),
        ("http://localhost:8080", "https://auth.example.com", "set --domain to that", None),
        ("http://localhost:8080", "http://localhost:9000", "set --domain to that", None),
        ("http://localhost:8080", "http://auth.example.com", "set --domain to its https", ON),
        ("http://auth.example.com", "https://auth.example.com", "set --domain to that", None),
        ("http://auth.example.com", "http://x.example.com", "set --domain to its https", ON),
        ("https://localhost:8080", "http://localhost:8080", "set --domain to its https", ON),
        ("https://auth.example.com", "http://auth.example.com", "set --domain to its https", ON),
        ("http://localhost:8080", "http://[\x1b", r"itself http://[\x1b, since", ON),
    ],
)
def test_a_different_issuer_is_reported_without_recommending_plain_http(
    offline: Setup,
    domain: str,
    issuer: str,
    told: str,
    setting: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = requests.Response()
    answer.status_code, answer.raw = 200, io.BytesIO(json.dumps({"issuer": issuer}).encode())
    monkeypatch.setattr(Zitadel, "send", lambda self, path: answer)
    output = offline.run(status=2, domain=domain)
    assert "This ZITADEL calls itself " in output and told in output
    assert re.findall(r"ZITADEL_EXTERNALSECURE=\w+", output) == ([setting] if setting else [])


def test_external_secure_off_behind_https_is_reported(offline: Setup, tmp_path: Path) -> None:
    context, certificate = tls(tmp_path)
    upstream = Upstream(context)
    issuer = upstream.base_url.replace("https:", "http:")
    upstream.paths[DISCOVERY] = {"issuer": issuer}
    bundle = {"REQUESTS_CA_BUNDLE": str(certificate)}
    output = offline.run(status=2, domain=upstream.base_url, **bundle)
    upstream.stop()
    assert f"This ZITADEL calls itself {issuer}, since its setting ExternalSecure is off" in output
    assert len(upstream.authorizations) == 1  # the token wasn't sent
