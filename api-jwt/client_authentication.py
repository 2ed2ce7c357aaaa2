# ZITADEL access tokens in Flask 2026.11, api-jwt

"""Authenticate this API to ZITADEL with a signed client assertion (RFC 7523)."""

import os
import threading
import time
from urllib.parse import urlencode

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from requests import PreparedRequest
from requests.auth import AuthBase

CLIENT_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
BACKDATE_SECONDS = 60  # ZITADEL rejects assertions dated in the future
RENEW_SECONDS = 300
LIFETIME_SECONDS = 900


class PrivateKeyJWT(AuthBase):
    """Private key JWT authentication of an OAuth client, for requests' `auth=`.

    RFC 7523, section 2.2: the form contains a signed client assertion. Parsing the key
    costs far more than a request, so it is done once. Each assertion is used for five
    minutes by all threads; it is accepted if this machine's clock is up to a minute
    ahead of ZITADEL's or a few minutes behind.

    Args:
        client_id: the key file's `clientId`.
        key_id: the key file's `keyId`.
        private_key: the key file's `key`, an RSA private key in PEM.
        issuer: ZITADEL's own address, as its discovery document names it.

    Raises:
        ValueError: `private_key` is not an unencrypted RSA private key in PEM.
    """

    def __init__(
        self, client_id: str, key_id: str, private_key: str, issuer: str
    ) -> None:
        try:
            key = load_pem_private_key(private_key.encode(), password=None)
        except (TypeError, UnsupportedAlgorithm):  # encrypted, or of another type
            key = None
        if not isinstance(key, RSAPrivateKey):
            message = "The key is not an unencrypted RSA private key in PEM."
            raise ValueError(message)  # noqa: TRY004 - the type of what it contains

        self.client_id = client_id
        self._key_id = key_id
        self._private_key = key
        self._issuer = issuer.rstrip("/")
        self._locks: dict[int, threading.Lock] = {}
        self._signed = (0.0, "")

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the client assertion to the form in `request` and return it."""
        form = request.body or ""
        form = form.decode() if isinstance(form, bytes) else form
        # requests sets the Content-Length afterwards.
        request.body = f"{form}&{self._assertion_form()}"
        return request

    def _assertion_form(self) -> str:
        # One lock for each process, since one held during a fork stays locked.
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            now = time.time()
            signed_at, form = self._signed
            # The lower bound forces renewal if the clock was set back.
            if not signed_at <= now < signed_at + RENEW_SECONDS:
                fields = {
                    "client_assertion_type": CLIENT_ASSERTION_TYPE,
                    "client_assertion": self._sign(int(now)),
                }
                form = urlencode(fields)
                self._signed = (now, form)

            return form

    def _sign(self, now: int) -> str:
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self._issuer,
            "iat": now - BACKDATE_SECONDS,
            "exp": now + LIFETIME_SECONDS,
        }
        headers = {"kid": self._key_id}
        return jwt.encode(claims, self._private_key, "RS256", headers)
