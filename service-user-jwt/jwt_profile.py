# ZITADEL access tokens in Flask 2026.11, service-user-jwt

"""The JWT profile: a service account uses its private key (RFC 7523)."""

import time
from typing import ClassVar

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from requests.auth import AuthBase

from access_token import AccessToken

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
BACKDATE_SECONDS = 60  # ZITADEL rejects assertions dated in the future
LIFETIME_SECONDS = 600
REJECTED = (
    "ZITADEL rejected the assertion without saying why. Usual causes: the key was "
    "removed or has expired, the service account was deleted, or the issuer is not "
    "ZITADEL's own domain."
)


class JWTProfileToken(AccessToken):
    """The access token that a service account gets for a signed assertion.

        token = JWTProfileToken(token_url, issuer, scope, user_id, key_id, private_key)
        requests.get(url, auth=token)

    Args:
        token_url: ZITADEL's token endpoint.
        issuer: ZITADEL's own address, as its discovery document names it.
        scope: the scopes, separated by spaces.
        user_id: the key file's `userId`.
        key_id: the key file's `keyId`.
        private_key: the key file's `key`, an RSA private key in PEM.
        host: the `Host` header, for a ZITADEL reached under an internal address.

    Raises:
        ValueError: `private_key` is not an unencrypted RSA private key in PEM, or
            `token_url` is not an http or https address.
        ImportError: another package named jwt hides PyJWT.
    """

    HELP: ClassVar[dict[str, str]] = {
        "invalid assertion": REJECTED,
        "Errors.Internal": REJECTED,  # ZITADEL 4.13 and older
        "Errors.User.NotActive": "The service account is deactivated: activate it.",
    }

    def __init__(
        self,
        token_url: str,
        issuer: str,
        scope: str,
        user_id: str,
        key_id: str,
        private_key: str,
        *,
        host: str | None = None,
    ) -> None:
        super().__init__(token_url, host=host)
        if not hasattr(jwt, "encode"):
            raise ImportError(
                "The package jwt hides PyJWT, which is required: run "
                "`pip uninstall -y jwt pyjwt` and `pip install pyjwt`."
            )
        try:
            key = load_pem_private_key(private_key.encode(), password=None)
        except (
            TypeError,
            UnsupportedAlgorithm,
        ):  # encrypted, or of an unsupported type
            key = None
        if not isinstance(key, RSAPrivateKey):
            message = "The key is not an unencrypted RSA private key in PEM."
            raise ValueError(message)  # noqa: TRY004 - the type of what was read
        self._issuer = issuer.rstrip("/")
        self._scope = scope
        self._user_id = user_id
        self._key_id = key_id
        self._private_key = key

    def grant(self) -> tuple[dict[str, str], AuthBase | None]:
        """Return the form with a new assertion."""
        now = int(time.time())
        claims = {
            "iss": self._user_id,
            "sub": self._user_id,
            "aud": self._issuer,
            "iat": now - BACKDATE_SECONDS,
            "exp": now + LIFETIME_SECONDS,
        }
        assertion = jwt.encode(
            claims, self._private_key, algorithm="RS256", headers={"kid": self._key_id}
        )
        form = {"grant_type": GRANT_TYPE, "scope": self._scope, "assertion": assertion}
        return form, None
