"""Get an access token by client credentials and call the API with it."""

import sys

import settings
from access_token import TokenError
from call_api import APIError, run
from client_credentials import ClientCredentialsToken


def load() -> ClientCredentialsToken:
    """Return the access token that this folder's settings describe.

    Raises settings.ConfigurationError if one of them is missing or wrong.
    """
    settings.load()
    return ClientCredentialsToken(
        token_url=settings.token_url(),
        scope=settings.scope(),
        client_id=settings.required("CLIENT_ID"),
        client_secret=settings.required("CLIENT_SECRET"),
    )


if __name__ == "__main__":
    try:
        status = run(__doc__, load)
    except (settings.ConfigurationError, APIError, TokenError) as error:
        settings.stop(error)
    sys.exit(status)
