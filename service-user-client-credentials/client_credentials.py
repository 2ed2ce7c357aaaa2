"""Client credentials: a service user proves with a secret who it is (RFC 6749, section 4.4)."""

from typing import ClassVar
from urllib.parse import quote_plus

from requests.auth import AuthBase, HTTPBasicAuth

from access_token import AccessToken


class ClientCredentialsToken(AccessToken):
    """The access token that a service user gets for its client id and client secret.

        requests.get(url, auth=ClientCredentialsToken(token_url, scope, client_id, client_secret))

    Args:
        token_url: ZITADEL's token endpoint.
        scope: the scopes, separated by spaces.
        client_id: the service user's username.
        client_secret: the service user's client secret.
    """

    REMEDIES: ClassVar[dict[str, str]] = {
        "client not found": (
            "ZITADEL knows no service user of this name: CLIENT_ID in .env must be the username of "
            "one that exists, not its id."
        ),
        "Errors.User.Machine.Secret.Invalid": (
            "ZITADEL refuses the client secret: correct CLIENT_SECRET in .env, or generate a new "
            "one in ZITADEL."
        ),
        "Errors.User.Machine.Secret.NotExisting": (
            "The service user has no client secret: generate one in ZITADEL for CLIENT_SECRET in "
            ".env. One that was made this very second works a moment later."
        ),
        "Errors.User.NotActive": "The service user is deactivated: activate it in ZITADEL.",
    }

    def __init__(self, token_url: str, scope: str, client_id: str, client_secret: str) -> None:
        super().__init__(token_url)
        self._scope = scope
        # RFC 6749, section 2.3.1: both are form-url-encoded first.
        self._client = HTTPBasicAuth(quote_plus(client_id), quote_plus(client_secret))

    def grant(self) -> tuple[dict[str, str], AuthBase | None]:
        """Return the form and the client's Basic authentication."""
        return {"grant_type": "client_credentials", "scope": self._scope}, self._client
