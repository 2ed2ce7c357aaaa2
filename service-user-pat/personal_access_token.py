# ZITADEL access tokens in Flask 2026.11, service-user-pat

"""A personal access token (PAT), issued in advance, for requests' `auth=`."""

import re

from requests import PreparedRequest
from requests.auth import AuthBase

B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1


class PersonalAccessToken(AuthBase):
    """Add a personal access token to each request.

        requests.get(url, auth=PersonalAccessToken(token))

    Args:
        token: the token as ZITADEL showed it.

    Raises:
        ValueError: `token` contains characters no token can contain.
    """

    def __init__(self, token: str) -> None:
        if not B64TOKEN.fullmatch(token):
            raise ValueError("The personal access token is malformed.")

        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header to `request` and return it."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def token(self) -> str:
        """Return the token."""
        return self._token
