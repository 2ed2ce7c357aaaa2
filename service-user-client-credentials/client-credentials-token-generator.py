"""Get an access token by client credentials and call the API with it."""

from call_api import main
from client_credentials import ClientCredentialsToken
from settings import Settings, host_header


def create_token(settings: Settings) -> ClientCredentialsToken:
    """Return the access token that this folder's settings describe.

    Raises settings.ConfigurationError if one of them is missing or wrong.
    """
    domain = settings.domain("ZITADEL_DOMAIN")
    token_url = settings.url("ZITADEL_TOKEN_URL", f"{domain}/oauth/v2/token")
    project_id = settings.project_id("PROJECT_ID")

    return ClientCredentialsToken(
        token_url=token_url,
        # Without the project's audience the token is inactive for its APIs.
        scope=f"openid urn:zitadel:iam:org:project:id:{project_id}:aud",
        client_id=settings.required("CLIENT_ID"),  # the username, not the id
        client_secret=settings.required("CLIENT_SECRET"),
        host_header=host_header(token_url, domain),
    )


if __name__ == "__main__":
    main(__doc__, create_token, "CLIENT_ID", "CLIENT_SECRET")
