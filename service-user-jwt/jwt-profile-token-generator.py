"""Get an access token by JWT profile and call the API with it."""

import key_file
from call_api import main
from jwt_profile import JWTProfileToken
from settings import Settings, host_header


def create_token(settings: Settings) -> JWTProfileToken:
    """Return the access token that this folder's settings and key file describe.

    Raises settings.ConfigurationError if one of them is missing or wrong.
    """
    domain = settings.domain("ZITADEL_DOMAIN")
    token_url = settings.url("ZITADEL_TOKEN_URL", f"{domain}/oauth/v2/token")
    project_id = settings.project_id("PROJECT_ID")

    key = key_file.read(settings, "CLIENT_PRIVATE_KEY_FILE_PATH", "serviceaccount")
    try:
        return JWTProfileToken(
            token_url=token_url,
            issuer=domain,
            # Without the project's audience the token is inactive for its APIs.
            scope=f"openid urn:zitadel:iam:org:project:id:{project_id}:aud",
            user_id=key["userId"],
            key_id=key["keyId"],
            private_key=key["key"],
            host_header=host_header(token_url, domain),
        )
    except ValueError:
        problem = "contains no unencrypted RSA private key"
        raise settings.error("CLIENT_PRIVATE_KEY_FILE_PATH", problem) from None


if __name__ == "__main__":
    main(__doc__, create_token, "CLIENT_PRIVATE_KEY_FILE_PATH")
