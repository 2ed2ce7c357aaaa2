"""The JWT profile: a service user proves with its private key who it is (RFC 7523)."""

import time
from typing import ClassVar

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from requests.auth import AuthBase

from access_token import AccessToken

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
BACKDATE_SECONDS = 60  # ZITADEL refuses an `iat` ahead of its own clock
LIFE_SECONDS = 600


class JWTProfileToken(AccessToken):
    """The access token that a service user gets for an assertion signed with its key.

        requests.get(url, auth=JWTProfileToken(token_url, issuer, scope, user_id, key_id, key))

    Args:
        token_url: ZITADEL's token endpoint.
        issuer: ZITADEL's address as its discovery document names it, without a trailing slash.
        scope: the scopes, separated by spaces.
        user_id: the key file's `userId`.
        key_id: the key file's `keyId`.
        private_key: the key file's `key`, an RSA private key in PEM.

    Raises:
        ValueError: `private_key` is no unencrypted RSA private key in PEM.
    """

    REMEDIES: ClassVar[dict[str, str]] = {
        "Errors.Internal": (
            "ZITADEL refuses the assertion and doesn't say why. The usual causes: the key was "
            "removed or has expired, the service user is gone, or ZITADEL_DOMAIN is not the "
            "address that ZITADEL itself uses. See CLIENT_PRIVATE_KEY_FILE_PATH and "
            "ZITADEL_DOMAIN in .env."
        ),
        "Errors.User.NotActive": "The service user is deactivated: activate it in ZITADEL.",
    }

    def __init__(
        self,
        token_url: str,
        issuer: str,
        scope: str,
        user_id: str,
        key_id: str,
        private_key: str,
    ) -> None:
        super().__init__(token_url)
        try:
            key = load_pem_private_key(private_key.encode(), password=None)
        except (TypeError, UnsupportedAlgorithm):  # encrypted, or of a kind that nobody reads
            key = None
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("The private key is not an unencrypted RSA key.")
        self._issuer = issuer
        self._scope = scope
        self._user_id = user_id
        self._key_id = key_id
        self._private_key = key

    def grant(self) -> tuple[dict[str, str], AuthBase | None]:
        """Return the form with a fresh assertion."""
        now = int(time.time())
        claims = {
            "iss": self._user_id,
            "sub": self._user_id,
            "aud": self._issuer,
            "iat": now - BACKDATE_SECONDS,
            "exp": now + LIFE_SECONDS,
        }
        headers = {"kid": self._key_id}
        assertion = jwt.encode(claims, self._private_key, algorithm="RS256", headers=headers)
        return {"grant_type": GRANT_TYPE, "scope": self._scope, "assertion": assertion}, None
