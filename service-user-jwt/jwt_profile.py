# ZITADEL access tokens in Flask 2026.11, service-user-jwt

"""The JWT profile: a service account uses its private key (RFC 7523)."""

import time

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from requests.auth import AuthBase

from access_token import AccessToken

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
BACKDATE_SECONDS = 60  # ZITADEL rejects assertions dated in the future
LIFETIME_SECONDS = 600


class JWTProfileToken(AccessToken):
    """The access token that a service account gets for a signed assertion.

        token = JWTProfileToken(token_url, issuer, scope, user_id, key_id, private_key)
        requests.get(url, auth=token)

    Args:
        token_url: ZITADEL's token endpoint.
        issuer: ZITADEL's own address, as its discovery document names it.
        scope: the scopes, separated by spaces. An API's project must be among them, as
            urn:zitadel:iam:org:project:id:{project id}:aud; otherwise it answers 401.
        user_id: the key file's `userId`.
        key_id: the key file's `keyId`.
        private_key: the key file's `key`, an RSA private key in PEM.
        host_header: ZITADEL's own domain, if `token_url` is an internal address.
        timeout: seconds to connect to each of ZITADEL's addresses, and seconds that it
            may be silent. Reading the answer's body may take about their sum.

    Raises:
        ValueError: `private_key` is not an unencrypted RSA private key in PEM, or
            `token_url` is not an http or https address, or has credentials.
    """

    def __init__(
        self,
        token_url: str,
        issuer: str,
        scope: str,
        user_id: str,
        key_id: str,
        private_key: str,
        *,
        host_header: str | None = None,
        timeout: tuple[float, float] = (3, 10),
    ) -> None:
        super().__init__(token_url, host_header=host_header, timeout=timeout)
        try:
            key = load_pem_private_key(private_key.encode(), password=None)
        except (TypeError, UnsupportedAlgorithm):  # encrypted, or of another type
            key = None
        if not isinstance(key, RSAPrivateKey):
            message = "The key is not an unencrypted RSA private key in PEM."
            raise ValueError(message)  # noqa: TRY004 - the type of what it contains

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
        headers = {"kid": self._key_id}
        assertion = jwt.encode(claims, self._private_key, "RS256", headers)

        form = {"grant_type": GRANT_TYPE, "scope": self._scope, "assertion": assertion}
        return form, None
