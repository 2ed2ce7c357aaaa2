"""The token of a service account with a key; what all kinds share is in test_access_token.py."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from jwt_profile import JWTProfileToken
from keys import RSA_KEY, pem
from servers import Upstream


@pytest.mark.parametrize("issuer", ["https://zitadel.example", "https://zitadel.example/"])
def test_the_issuer_may_have_a_trailing_slash(issuer: str, upstream: Upstream) -> None:
    upstream.answer({"access_token": "t", "expires_in": 60})
    JWTProfileToken(upstream.url, issuer, "s", "1", "kid", pem(RSA_KEY)).token()
    assertion = upstream.forms[0]["assertion"]
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert claims["aud"] == "https://zitadel.example"


def test_no_password_from_netrc_is_sent(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login user password s3cret\n")
    monkeypatch.setenv("NETRC", str(file))
    upstream.answer({"access_token": "t", "expires_in": 60})
    JWTProfileToken(upstream.url, "https://zitadel", "s", "1", "kid", pem(RSA_KEY)).token()
    assert upstream.authorizations == [None]
