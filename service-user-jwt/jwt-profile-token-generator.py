"""Get an access token by JWT profile and call the API with it."""

import sys

import settings
from access_token import TokenError
from call_api import APIError, run
from jwt_profile import JWTProfileToken


def load() -> JWTProfileToken:
    """Return the access token that this folder's settings and key file describe.

    Raises settings.ConfigurationError if one of them is missing or wrong.
    """
    settings.load()
    key_file = settings.key_file("CLIENT_PRIVATE_KEY_FILE_PATH", "serviceaccount")
    token_url, issuer, scope = settings.token_url(), settings.zitadel_domain(), settings.scope()
    try:
        return JWTProfileToken(
            token_url, issuer, scope, key_file["userId"], key_file["keyId"], key_file["key"]
        )
    except ValueError:
        raise settings.ConfigurationError(
            "The file that CLIENT_PRIVATE_KEY_FILE_PATH names holds no usable RSA private key: "
            "download it from ZITADEL again, or correct CLIENT_PRIVATE_KEY_FILE_PATH in "
            f"{settings.env_file()}."
        ) from None


if __name__ == "__main__":
    try:
        status = run(__doc__, load)
    except (settings.ConfigurationError, APIError, TokenError) as error:
        settings.stop(error)
    sys.exit(status)
