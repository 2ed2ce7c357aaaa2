# ZITADEL access tokens in Flask 2026.11, service-user-client-credentials

"""Client credentials: a service account uses a secret (RFC 6749, section 4.4)."""

from typing import ClassVar
from urllib.parse import quote_plus

from requests.auth import AuthBase, HTTPBasicAuth

from access_token import AccessToken


class ClientCredentialsToken(AccessToken):
    """The access token that a service account gets for its client id and client secret.

        token = ClientCredentialsToken(token_url, scope, client_id, client_secret)
        requests.get(url, auth=token)

    Args:
        token_url: ZITADEL's token endpoint.
        scope: the scopes, separated by spaces.
        client_id: the service account's username.
        client_secret: the service account's client secret.
        host: the `Host` header, for a ZITADEL reached under an internal address.

    Raises:
        ValueError: `token_url` is not an http or https address.
    """

    HELP: ClassVar[dict[str, str]] = {
        "client not found": (
            "ZITADEL has no service account with this name: the client id is the "
            "username of one that exists, not its id."
        ),
        "Errors.User.Machine.Secret.Invalid": (
            "ZITADEL rejected the client secret: correct it, or generate a new one."
        ),
        "Errors.User.Machine.Secret.NotExisting": (
            "The service account has no client secret: generate one. A secret created "
            "just now may take a moment to work."
        ),
        "Errors.User.NotActive": "The service account is deactivated: activate it.",
    }

    def __init__(
        self,
        token_url: str,
        scope: str,
        client_id: str,
        client_secret: str,
        *,
        host: str | None = None,
    ) -> None:
        super().__init__(token_url, host=host)
        self._scope = scope
        # RFC 6749, section 2.3.1: both are form-url-encoded first.
        self._client = HTTPBasicAuth(quote_plus(client_id), quote_plus(client_secret))

    def grant(self) -> tuple[dict[str, str], AuthBase | None]:
        """Return the form and the client's Basic authentication."""
        form = {"grant_type": "client_credentials", "scope": self._scope}
        return form, self._client
