"""Authenticate this API to ZITADEL with a client assertion, signed with its private key."""

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
BACKDATE_SECONDS = 60  # ZITADEL refuses an `iat` ahead of its own clock
RENEW_SECONDS = 300
LIFE_SECONDS = 900


class PrivateKeyJWT(AuthBase):
    """Private key JWT authentication of an OAuth client, as requests' `auth=` takes it.

    RFC 7523, section 2.2: the form carries a signed client assertion. The key is parsed once, which
    costs far more than a request, and one assertion serves all requests of five minutes, from every
    thread. It holds with this machine's clock a minute ahead or some minutes behind ZITADEL's.

    Args:
        client_id: the key file's `clientId`.
        key_id: the key file's `keyId`.
        private_key: the key file's `key`, an RSA private key in PEM.
        issuer: ZITADEL's address as its discovery document names it, without a trailing slash.

    Raises:
        ValueError: `private_key` is no unencrypted RSA private key in PEM.
    """

    def __init__(self, client_id: str, key_id: str, private_key: str, issuer: str) -> None:
        try:
            key = load_pem_private_key(private_key.encode(), password=None)
        except (TypeError, UnsupportedAlgorithm):  # encrypted, or of a kind that nobody reads
            key = None
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("The private key is not an unencrypted RSA key.")
        self.client_id = client_id
        self._key_id = key_id
        self._private_key = key
        self._issuer = issuer
        self._lock = threading.Lock()
        self._signed_at = 0.0
        self._form = ""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the client assertion to the form in `request` and hand it back."""
        body = request.body.decode() if isinstance(request.body, bytes) else request.body
        request.body = f"{body}&{self._assertion_form()}"
        return request

    def _assertion_form(self) -> str:
        with self._lock:
            now = time.time()
            # The lower bound renews it after a clock was set back.
            if not self._signed_at <= now < self._signed_at + RENEW_SECONDS:
                self._form = urlencode(
                    {
                        "client_assertion_type": CLIENT_ASSERTION_TYPE,
                        "client_assertion": self._sign(int(now)),
                    }
                )
                self._signed_at = now
            return self._form

    def _sign(self, now: int) -> str:
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self._issuer,
            "iat": now - BACKDATE_SECONDS,
            "exp": now + LIFE_SECONDS,
        }
        headers = {"kid": self._key_id}
        return jwt.encode(claims, self._private_key, algorithm="RS256", headers=headers)


def load_client_authentication() -> PrivateKeyJWT:
    """Return the authentication that API_PRIVATE_KEY_FILE and ZITADEL_DOMAIN describe.

    Raises settings.ConfigurationError if one of them is missing or wrong.
    """
    import settings  # here, so that the class can be copied without the settings

    settings.load()
    content = settings.key_file("API_PRIVATE_KEY_FILE", "application")
    issuer = settings.zitadel_domain()
    try:
        return PrivateKeyJWT(content["clientId"], content["keyId"], content["key"], issuer)
    except ValueError:
        raise settings.ConfigurationError(
            "The file that API_PRIVATE_KEY_FILE names holds no usable RSA private key: download "
            f"it from ZITADEL again, or correct API_PRIVATE_KEY_FILE in {settings.env_file()}."
        ) from None
