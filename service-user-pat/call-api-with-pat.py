"""Call the API with a personal access token (PAT)."""

from call_api import main
from personal_access_token import PersonalAccessToken
from settings import Settings


def create_token(settings: Settings) -> PersonalAccessToken:
    """Return the personal access token of this folder's settings.

    Raises settings.ConfigurationError if it is missing, a placeholder or malformed.
    """
    token = settings.required("PERSONAL_ACCESS_TOKEN")
    if token.lower().startswith("bearer"):
        problem, fix = "starts with Bearer", "keep only the token itself"
        raise settings.error("PERSONAL_ACCESS_TOKEN", problem, fix)

    try:
        return PersonalAccessToken(token)
    except ValueError:
        problem = "contains characters no token can contain, perhaps a line break"
        raise settings.error("PERSONAL_ACCESS_TOKEN", problem) from None


if __name__ == "__main__":
    main(__doc__, create_token, "PERSONAL_ACCESS_TOKEN")
