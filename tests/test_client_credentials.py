"""The token of a service account with a secret; what all kinds share is in test_access_token.py."""

from __future__ import annotations

import base64

import pytest

from client_credentials import ClientCredentialsToken
from servers import Upstream


@pytest.mark.parametrize(
    ("client_id", "secret", "sent"),
    [("id@quotes", "a b:c%", "id%40quotes:a+b%3Ac%25"), ("id", "s3cret", "id:s3cret")],
)
def test_a_service_accounts_id_and_secret_are_form_url_encoded(
    client_id: str, secret: str, sent: str, upstream: Upstream
) -> None:
    upstream.answer({"access_token": "t", "expires_in": 60})
    ClientCredentialsToken(upstream.url, "openid", client_id, secret).token()
    encoded = base64.b64encode(sent.encode()).decode()
    assert upstream.authorizations == [f"Basic {encoded}"]
