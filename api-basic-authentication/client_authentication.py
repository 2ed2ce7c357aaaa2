"""Authenticate this API to ZITADEL with its client id and client secret (HTTP Basic)."""

from base64 import b64encode
from urllib.parse import quote_plus

from requests import PreparedRequest
from requests.auth import AuthBase


class ClientSecretBasic(AuthBase):
    """Basic authentication of an OAuth client, as requests' `auth=` takes it.

    RFC 6749, section 2.3.1: id and secret are form-url-encoded first, which requests' own
    HTTPBasicAuth doesn't do.

    Args:
        client_id: the API's client id.
        client_secret: the API's client secret.
    """

    def __init__(self, client_id: str, client_secret: str) -> None:
        self.client_id = client_id
        credentials = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        self._authorization = f"Basic {b64encode(credentials.encode()).decode()}"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header to `request` and hand it back."""
        request.headers["Authorization"] = self._authorization
        return request


def load_client_authentication() -> ClientSecretBasic:
    """Return the authentication that API_CLIENT_ID and API_CLIENT_SECRET describe.

    Raises settings.ConfigurationError if one of them is missing or a placeholder.
    """
    import settings  # here, so that the class can be copied without the settings

    settings.load()
    return ClientSecretBasic(
        client_id=settings.required("API_CLIENT_ID"),
        client_secret=settings.required("API_CLIENT_SECRET"),
    )
