"""Proxies of the environment: never for this machine, and named where one fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from requests.auth import HTTPBasicAuth

from access_token import TokenError
from client_credentials import ClientCredentialsToken
from folders import prepare
from introspection import IntrospectionUnavailableError, TokenIntrospection
from programs import FLASK, SCRIPTS, free_port, run_here, running_api
from servers import TOKEN, Upstream, active, send

CREDENTIALS = "user:pr0xy-secret"


@pytest.fixture
def proxy() -> str:
    """Return the address of a proxy that nobody runs, with credentials."""
    return f"http://{CREDENTIALS}@127.0.0.1:{free_port()}"


def variables(proxy: str) -> dict[str, str]:
    """Return an environment whose every request would go through the proxy."""
    names = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    return dict.fromkeys(names, proxy) | {"NO_PROXY": "", "no_proxy": ""}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_api_asks_this_machine_without_a_proxy(
    host: str, proxy: str, tmp_path: Path, upstream: Upstream
) -> None:
    folder = prepare("api-basic-authentication", tmp_path)
    upstream.answer(active())
    url = upstream.url.replace("127.0.0.1", host)
    settings = variables(proxy) | {"ZITADEL_INTROSPECTION_URL": url}
    with running_api(folder, FLASK, **settings) as base_url:
        assert send(base_url, "/api/private", TOKEN)[0] == 200


def test_an_api_names_the_proxy_that_failed(proxy: str, tmp_path: Path) -> None:
    folder = prepare("api-basic-authentication", tmp_path, ZITADEL_DOMAIN="https://example.com")
    with running_api(folder, FLASK, **variables(proxy)) as base_url:
        assert send(base_url, "/api/private", TOKEN)[0] == 503
    log = (folder / "log.txt").read_text()
    assert f"through the proxy {proxy.rpartition('@')[2]}" in log
    assert "pr0xy-secret" not in log


@pytest.mark.parametrize("name", ["service-user-jwt", "service-user-client-credentials"])
def test_a_client_reaches_zitadel_and_the_api_on_this_machine_without_a_proxy(
    name: str, proxy: str, tmp_path: Path, upstream: Upstream
) -> None:
    upstream.answer({"access_token": "t", "expires_in": 60, "message": "hello"})
    addresses = {"ZITADEL_TOKEN_URL": upstream.url, "API_BASE_URL": upstream.base_url}
    folder = prepare(name, tmp_path, **addresses)
    ended = run_here(folder, SCRIPTS[name], **variables(proxy))
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", ["service-user-jwt", "service-user-client-credentials"])
def test_a_client_names_the_proxy_that_failed(name: str, proxy: str, tmp_path: Path) -> None:
    folder = prepare(name, tmp_path, ZITADEL_DOMAIN="https://example.com")
    ended = run_here(folder, SCRIPTS[name], **variables(proxy))
    assert f"through the proxy {proxy.rpartition('@')[2]}" in ended.stderr
    assert "pr0xy-secret" not in ended.stderr


def test_a_client_names_the_proxy_that_failed_on_the_way_to_the_api(
    proxy: str, tmp_path: Path
) -> None:
    folder = prepare("service-user-pat", tmp_path, API_BASE_URL="https://example.com")
    ended = run_here(folder, SCRIPTS[folder.name], **variables(proxy))
    assert f"through the proxy {proxy.rpartition('@')[2]}" in ended.stderr
    assert "pr0xy-secret" not in ended.stderr


def test_the_password_in_a_malformed_proxy_address_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{CREDENTIALS}@x:99999")
    url, basic = "http://zitadel.example/", HTTPBasicAuth("id", "s3cret")
    with pytest.raises(IntrospectionUnavailableError, match="InvalidURL") as unavailable:
        TokenIntrospection(url, basic).introspect("abc")
    with pytest.raises(TokenError, match="InvalidURL") as failed:
        ClientCredentialsToken(url, "scope", "id", "s3cret").token()
    assert "pr0xy-secret" not in f"{unavailable.value} {failed.value}"
