"""diagnose.py where an address is wrong, not ZITADEL's own, or only an internal one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diagnosing import ACCEPTED, claims, diagnose, problem
from instance import Suite
from keys import tls
from programs import APIS, free_port
from servers import DISCOVERY, Upstream

INTROSPECTION_URL = "ZITADEL_INTROSPECTION_URL"


@pytest.mark.local_zitadel
@pytest.mark.parametrize(
    ("domain", "told"),
    [
        ("http://localhost:{free_port}", "can't be reached"),
        ("http://127.0.0.1:{port}", "but not under its own domain"),
        ("https://localhost:{port}", " in ZITADEL_DOMAIN."),
        ("{other}", "calls itself http://localhost:{port}: set ZITADEL_DOMAIN to that."),
    ],
)
def test_a_domain_that_is_not_zitadels_own_is_reported(
    domain: str, told: str, suite: Suite, upstream: Upstream
) -> None:
    upstream.paths[DISCOVERY] = {"issuer": suite.zitadel.issuer}
    port = suite.zitadel.issuer.rpartition(":")[2]
    domain = domain.format(free_port=free_port(), port=port, other=upstream.base_url)
    shown = problem(suite.folder / "api-jwt", ZITADEL_DOMAIN=domain)
    assert shown.startswith("The API can't use the address in ZITADEL_DOMAIN. ")
    assert told.format(port=port) in shown


@pytest.mark.local_zitadel
@pytest.mark.parametrize("path", [DISCOVERY, ""])
def test_a_domain_that_redirects_is_reported(path: str, suite: Suite, upstream: Upstream) -> None:
    upstream.answer(b"", 302, headers={"Location": f"https://a.b{path}"})
    shown = problem(suite.folder / "api-jwt", ZITADEL_DOMAIN=upstream.base_url)
    assert f"redirects to https://a.b{path}: set ZITADEL_DOMAIN to where ZITADEL itself" in shown


@pytest.mark.local_zitadel
def test_a_server_that_is_not_zitadel_is_reported(suite: Suite, upstream: Upstream) -> None:
    upstream.answer({"message": "hello"})
    shown = problem(suite.folder / "api-jwt", ZITADEL_DOMAIN=upstream.base_url)
    assert "doesn't answer as ZITADEL does (status 200)" in shown


def test_an_issuer_with_https_behind_plain_http_is_reported(
    scripted_api: tuple[Upstream, Path],
) -> None:
    upstream, folder = scripted_api
    upstream.paths[DISCOVERY] = {"issuer": upstream.base_url.replace("http", "https")}
    assert "turn its setting ExternalSecure off" in problem(folder, token="abc")


def test_an_issuer_with_plain_http_behind_https_is_reported(
    scripted_api: tuple[Upstream, Path], tmp_path: Path
) -> None:
    context, file = tls(tmp_path)
    secure = Upstream(context)
    plain = secure.base_url.replace("https", "http")
    secure.paths[DISCOVERY] = {"issuer": plain}
    variables = {"ZITADEL_DOMAIN": secure.base_url, "REQUESTS_CA_BUNDLE": str(file)}
    told = problem(scripted_api[1], token="abc", **variables)
    secure.stop()
    assert f"This ZITADEL calls itself {plain}, since its setting ExternalSecure is off" in told
    assert f"set ZITADEL_DOMAIN to {plain}" not in told


@pytest.mark.parametrize(
    ("host", "days", "bundle", "told"),
    [
        ("127.0.0.1", (-1, 1), "", "(self-signed certificate): set REQUESTS_CA_BUNDLE to a file"),
        ("127.0.0.1", (-3, -1), "certificate.pem", "(certificate has expired): renew it"),
        ("127.0.0.2", (-1, 1), "certificate.pem", "use a name that it contains"),
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
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("path", ["/x", "/oauth/v2/token", "/oauth/v2/keys"])
def test_a_wrong_path_of_the_introspection_url_is_reported(
    api: str, path: str, suite: Suite
) -> None:
    issuer = suite.zitadel.issuer
    shown = problem(suite.folder / api, ZITADEL_INTROSPECTION_URL=f"{issuer}{path}")
    usual = f"{issuer}/oauth/v2/int"
    assert f"Remove ZITADEL_INTROSPECTION_URL, or correct it: it usually is {usual}" in shown


@pytest.mark.local_zitadel
@pytest.mark.parametrize("api", APIS)
def test_an_unreachable_introspection_url_is_reported(api: str, suite: Suite) -> None:
    url = f"http://localhost:{free_port()}"
    shown = problem(suite.folder / api, ZITADEL_INTROSPECTION_URL=url)
    assert "The API can't use the address in ZITADEL_INTROSPECTION_URL. " in shown


@pytest.mark.local_zitadel
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (
            301,
            {"Location": "https://a.b"},
            "set ZITADEL_INTROSPECTION_URL to where ZITADEL itself answers",
        ),
        (200, {}, "doesn't answer as ZITADEL's introspection endpoint does (status 200)"),
        (503, {}, "can't answer now (status 503): try again"),
    ],
)
def test_an_introspection_url_that_does_not_introspect_is_reported(
    api: str,
    status: int,
    headers: dict[str, str],
    told: str,
    suite: Suite,
    upstream: Upstream,
) -> None:
    upstream.answer(b"<html>", status, headers=headers)
    assert told in problem(suite.folder / api, ZITADEL_INTROSPECTION_URL=upstream.url)


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


@pytest.fixture
def internal_api(
    scripted_api: tuple[Upstream, Path], tmp_path: Path
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Provide an API's folder, and the variables for a ZITADEL that is reached only internally."""
    context, certificate = tls(tmp_path, "auth.invalid")
    upstream = Upstream(context)
    upstream.paths[DISCOVERY] = {"issuer": "https://auth.invalid"}
    upstream.answer(claims())
    variables = {"ZITADEL_DOMAIN": "https://auth.invalid", INTROSPECTION_URL: upstream.url}
    yield scripted_api[1], variables | {"REQUESTS_CA_BUNDLE": str(certificate)}
    upstream.stop()


def test_an_internal_address_may_have_the_certificate_of_zitadels_own_domain(
    internal_api: tuple[Path, dict[str, Any]],
) -> None:
    folder, variables = internal_api
    assert ACCEPTED in diagnose(folder, token="abc", status=0, ahead=0, **variables)


def test_each_address_that_fails_is_named_with_its_variable(
    internal_api: tuple[Path, dict[str, Any]],
) -> None:
    folder, variables = internal_api
    told = problem(folder, token="abc", **variables | {"ZITADEL_DOMAIN": "https://x.invalid"})
    headline = "The API can't use the address in ZITADEL_DOMAIN or ZITADEL_INTROSPECTION_URL. "
    assert told.startswith(f"{headline}https://x.invalid can't be reached")
    assert f"The certificate of {variables[INTROSPECTION_URL].rpartition('/oauth')[0]} " in told


@pytest.mark.local_zitadel
def test_api_base_url_is_named_if_a_working_token_is_still_rejected(suite: Suite) -> None:
    lines = diagnose(suite.folder / "api-jwt", status=0)
    assert lines[-1] == "If yours doesn't, restart it, and check that API_BASE_URL is its address."
