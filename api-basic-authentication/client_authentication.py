# ZITADEL access tokens in Flask 2026.11, api-basic-authentication

"""Authenticate this API to ZITADEL with its client id and secret (HTTP Basic)."""

from urllib.parse import quote_plus

from requests.auth import HTTPBasicAuth


class ClientSecretBasic(HTTPBasicAuth):
    """Basic authentication of an OAuth client, for requests' `auth=`.

    RFC 6749, section 2.3.1: id and secret are form-url-encoded first, which requests'
    own HTTPBasicAuth doesn't do.

    Args:
        client_id: the API's client id.
        client_secret: the API's client secret.
    """

    def __init__(self, client_id: str, client_secret: str) -> None:
        super().__init__(quote_plus(client_id), quote_plus(client_secret))
        self.client_id = client_id
