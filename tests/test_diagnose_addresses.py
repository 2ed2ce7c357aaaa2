"""diagnose.py where an address is wrong, not ZITADEL's own, or only an internal one."""

from __future__ import annotations

from pathlib import Path

import pytest

from diagnosing import (
    ACCEPTED,
    BASIC,
    diagnose,
    problem,
)
from instance import Suite
from keys import tls
from programs import (
    APIS,
    free_port,
)
from servers import DISCOVERY, Upstream


@pytest.mark.local_zitadel
def test_a_domain_that_is_not_zitadels(suite: Suite, upstream: Upstream) -> None:
    issuer, folder = suite.zitadel.issuer, suite.folder / "api-jwt"
    upstream.paths[DISCOVERY] = {"issuer": issuer}
    for domain, told in (
        (f"http://localhost:{free_port()}", "can't be reached"),
        (issuer.replace("localhost", "127.0.0.1"), "but not under its own domain"),
        (issuer.replace("http", "https"), "doesn't speak https: is it http:// instead?"),
        (upstream.base_url, f"calls itself {issuer}: set ZITADEL_DOMAIN to that."),
    ):
        shown = problem(folder, ZITADEL_DOMAIN=domain)
        assert (
            shown.startswith("The API can't use the address in ZITADEL_DOMAIN. ") and told in shown
        )
    for path, setting in ((DISCOVERY, "ZITADEL_DOMAIN"), ("", "ZITADEL_DOMAIN")):
        upstream.paths.clear()
        upstream.answer(b"", 302, headers={"Location": f"https://a.b{path}"})
        shown = problem(folder, ZITADEL_DOMAIN=upstream.base_url)
        assert f"redirects to https://a.b{path}: set {setting} to where ZITADEL itself" in shown
    upstream.answer({"message": "hello"})
    shown = problem(folder, ZITADEL_DOMAIN=upstream.base_url)
    assert "doesn't answer as ZITADEL does (status 200)" in shown


def test_external_secure_that_does_not_match_the_scheme_is_reported(
    scripted_api: tuple[Upstream, Path], tmp_path: Path
) -> None:
    upstream, folder = scripted_api
    https = upstream.base_url.replace("http", "https")
    upstream.paths[DISCOVERY] = {"issuer": https}
    assert "turn its setting ExternalSecure off" in problem(folder, token="abc")
    context, file = tls(tmp_path)
    secure = Upstream(context)
    plain = secure.base_url.replace("https", "http")
    secure.paths[DISCOVERY] = {"issuer": plain}
    variables = {"ZITADEL_DOMAIN": secure.base_url, "REQUESTS_CA_BUNDLE": str(file)}
    told = problem(folder, token="abc", **variables)
    secure.stop()
    assert f"This ZITADEL calls itself {plain}, since its setting ExternalSecure is off" in told
    assert f"set ZITADEL_DOMAIN to {plain}" not in told


@pytest.mark.parametrize(
    ("host", "days", "bundle", "told"),
    [
        ("127.0.0.1", (-1, 1), "", "signed by an unknown authority: name the file"),
        ("127.0.0.1", (-3, -1), "certificate.pem", "has expired: renew it"),
        ("127.0.0.2", (-1, 1), "certificate.pem", "is for another host"),
    ],
)
def test_each_problem_with_a_certificate_is_reported(
    host: str,
    days: tuple[int, int],
    bundle: str,
    told: str,
    scripted_api: tuple[Upstream, Path],
    tmp_path: Path,
) -> None:
    context, _ = tls(tmp_path, host, days)
    secure = Upstream(context)
    file = {"REQUESTS_CA_BUNDLE": str(tmp_path / bundle) if bundle else ""}
    shown = problem(scripted_api[1], token="abc", ZITADEL_DOMAIN=secure.base_url, **file)
    secure.stop()
    assert told in shown


@pytest.mark.local_zitadel
def test_an_introspection_url_that_is_wrong(suite: Suite, upstream: Upstream) -> None:
    issuer = suite.zitadel.issuer
    right = f"Remove ZITADEL_INTROSPECTION_URL, or correct it: it usually is {issuer}/oauth/v2/int"
    for url, told in (
        (f"{issuer}/x", right),
        (f"{issuer}/oauth/v2/token", right),
        (f"{issuer}/oauth/v2/keys", right),
        (upstream.url, "isn't answered"),
        (
            f"http://localhost:{free_port()}",
            "The API can't use the address in ZITADEL_INTROSPECTION_URL. ",
        ),
    ):
        if url == upstream.url:
            upstream.answer(b"", 301, headers={"Location": "https://a.b"})
            told = "set ZITADEL_INTROSPECTION_URL to where ZITADEL itself answers"
        for api in APIS:
            shown = problem(suite.folder / api, ZITADEL_INTROSPECTION_URL=url)
            assert told in shown, shown
    upstream.answer(b"<html>", 200)
    shown = problem(suite.folder / BASIC, ZITADEL_INTROSPECTION_URL=upstream.url)
    assert "doesn't answer as ZITADEL's introspection endpoint does (status 200)" in shown
    upstream.answer(b"", 503)
    shown = problem(suite.folder / BASIC, ZITADEL_INTROSPECTION_URL=upstream.url)
    assert "can't answer now (status 503): try again" in shown


def test_a_host_header_that_zitadel_does_not_know_is_reported(
    scripted_api: tuple[Upstream, Path],
) -> None:
    upstream, folder = scripted_api
    upstream.answer(b"ID=QUERY-1kIjX Message=Instance not found.", 404)
    told = problem(folder, token="abc")
    assert "doesn't know the Host header that reaches it (sent: 127.0.0.1:" in told
    assert "ZITADEL_DOMAIN must be" in told and "proxy_set_header Host $http_host" in told


@pytest.mark.local_zitadel
def test_an_internal_address_is_enough(suite: Suite) -> None:
    """ZITADEL's own domain needn't be reachable from here."""
    issuer = suite.zitadel.issuer
    url = issuer.replace("localhost", "127.0.0.1") + "/oauth/v2/introspect"
    lines = diagnose(suite.folder / "api-jwt", ZITADEL_INTROSPECTION_URL=url, status=0)
    assert ACCEPTED in lines


def test_a_domain_that_is_reachable_only_for_others_is_accepted(
    scripted_api: tuple[Upstream, Path],
) -> None:
    upstream, folder = scripted_api
    domain = f"http://localhost:{free_port()}"
    upstream.paths[DISCOVERY] = {"issuer": domain}
    variables = {"ZITADEL_DOMAIN": domain, "ZITADEL_INTROSPECTION_URL": upstream.url}
    lines = diagnose(folder, token="abc", status=0, ahead=0, **variables)
    assert f"ok       ZITADEL answers at {upstream.base_url} and calls itself {domain}." in lines


@pytest.mark.local_zitadel
def test_api_base_url_is_named_if_a_working_token_is_still_rejected(suite: Suite) -> None:
    lines = diagnose(suite.folder / "api-jwt", status=0)
    assert lines[-1] == "If yours doesn't, restart it, and check that API_BASE_URL is its address."
