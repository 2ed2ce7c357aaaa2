"""The token of a service account with a key; what all kinds share is in test_access_token.py."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from jwt_profile import JWTProfileToken
from keys import RSA_KEY, pem
from servers import Upstream


def test_the_issuer_may_have_a_trailing_slash(upstream: Upstream) -> None:
    upstream.answer({"access_token": "t", "expires_in": 60})
    for issuer in ("https://zitadel.example", "https://zitadel.example/"):
        JWTProfileToken(upstream.url, issuer, "s", "1", "kid", pem(RSA_KEY)).token()
    audiences = {
        jwt.decode(form["assertion"], options={"verify_signature": False})["aud"]
        for form in upstream.forms
    }
    assert audiences == {"https://zitadel.example"}


def test_no_password_is_taken_from_netrc(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login user password s3cret\n")
    monkeypatch.setenv("NETRC", str(file))
    upstream.answer({"access_token": "t", "expires_in": 60})
    JWTProfileToken(upstream.url, "https://zitadel", "s", "1", "kid", pem(RSA_KEY)).token()
    assert upstream.authorizations == [None]
