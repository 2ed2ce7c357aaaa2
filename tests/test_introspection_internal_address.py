"""A ZITADEL that is reached under another address than its own, as in Docker and Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from requests.auth import HTTPBasicAuth

import keys
from access_token import TokenError
from client_credentials import ClientCredentialsToken
from instance import Suite
from introspection import IntrospectionUnavailableError, TokenIntrospection
from programs import APIS, SCRIPTS, run, running_api
from servers import Upstream

OWN_DOMAIN = "auth.example.com"


def internal(suite: Suite) -> str:
    """Return ZITADEL's address by a name that is not its own."""
    return suite.zitadel.issuer.replace("localhost", "127.0.0.1")


@pytest.mark.local_zitadel
@pytest.mark.parametrize("name", APIS)
def test_an_api_sends_zitadels_own_host_to_an_internal_address(name: str, suite: Suite) -> None:
    url = f"{internal(suite)}/oauth/v2/introspect"
    folder = suite.folder / "service-user-pat"
    with running_api(suite.folder / name, ZITADEL_INTROSPECTION_URL=url) as base_url:
        ended = run(folder, SCRIPTS[folder.name], API_BASE_URL=base_url)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.local_zitadel
@pytest.mark.parametrize("name", ["service-user-jwt", "service-user-client-credentials"])
def test_a_client_sends_zitadels_own_host_to_an_internal_address(name: str, suite: Suite) -> None:
    url = f"{internal(suite)}/oauth/v2/token"
    ended = run(suite.folder / name, SCRIPTS[name], "--token-only", ZITADEL_TOKEN_URL=url)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """Yield a ZITADEL at https://127.0.0.1 whose certificate is for its own domain."""
    context, certificate = keys.tls(tmp_path, OWN_DOMAIN)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    upstream = Upstream(context)
    yield upstream
    upstream.stop()


def test_an_api_expects_the_certificate_of_zitadels_own_domain(secure: Upstream) -> None:
    basic = HTTPBasicAuth("id", "s3cret")
    url = f"{secure.base_url}/x/../oauth/v2/introspect"  # requests shortens it
    introspection = TokenIntrospection(url, basic, host_header=f"{OWN_DOMAIN}:443")
    assert introspection.introspect("abc") == {"active": False}
    with pytest.raises(IntrospectionUnavailableError, match="certificate verify failed"):
        TokenIntrospection(secure.url, basic, host_header="other.example").introspect("abc")
    with pytest.raises(IntrospectionUnavailableError, match="certificate verify failed"):
        TokenIntrospection(secure.url, basic).introspect("abc")


def test_a_client_expects_the_certificate_of_zitadels_own_domain(secure: Upstream) -> None:
    secure.answer({"access_token": "abc", "expires_in": 60})
    client = ("scope", "id", "s3cret")
    token = ClientCredentialsToken(secure.url, *client, host_header=f"{OWN_DOMAIN}:443")
    assert token.token() == "abc"
    with pytest.raises(TokenError, match="certificate verify failed"):
        ClientCredentialsToken(secure.url, *client, host_header="other.example").token()
    with pytest.raises(TokenError, match="certificate verify failed") as raised:
        ClientCredentialsToken(secure.url, *client).token()
    assert not raised.value.temporary
