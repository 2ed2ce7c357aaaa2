# ZITADEL access tokens in Flask 2026.11, service-user-client-credentials

"""Client credentials: a service account uses a secret (RFC 6749, section 4.4)."""

from urllib.parse import quote_plus

from requests.auth import AuthBase, HTTPBasicAuth

from access_token import AccessToken


class ClientCredentialsToken(AccessToken):
    """The access token that a service account gets for its client id and client secret.

        token = ClientCredentialsToken(token_url, scope, client_id, client_secret)
        requests.get(url, auth=token)

    Args:
        token_url: ZITADEL's token endpoint.
        scope: the scopes, separated by spaces. An API's project must be among them, as
            urn:zitadel:iam:org:project:id:{project id}:aud; otherwise it answers 401.
        client_id: the service account's username.
        client_secret: the service account's client secret.
        host_header: ZITADEL's own domain, if `token_url` is an internal address.
        timeout: seconds to connect to each of ZITADEL's addresses, and seconds that it
            may be silent. Reading the answer's body may take about their sum.

    Raises:
        ValueError: `token_url` is not an http or https address, or has credentials.
    """

    def __init__(
        self,
        token_url: str,
        scope: str,
        client_id: str,
        client_secret: str,
        *,
        host_header: str | None = None,
        timeout: tuple[float, float] = (3, 10),
    ) -> None:
        super().__init__(token_url, host_header=host_header, timeout=timeout)
        self._scope = scope
        # RFC 6749, section 2.3.1: both are form-url-encoded first.
        self._client = HTTPBasicAuth(quote_plus(client_id), quote_plus(client_secret))

    def grant(self) -> tuple[dict[str, str], AuthBase | None]:
        """Return the form and the client's Basic authentication."""
        form = {"grant_type": "client_credentials", "scope": self._scope}
        return form, self._client
