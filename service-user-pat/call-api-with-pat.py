"""Call the API with a personal access token (PAT)."""

import sys

import settings
from call_api import APIError, run
from personal_access_token import PersonalAccessToken


def load() -> PersonalAccessToken:
    """Return the personal access token of this folder's settings.

    Raises settings.ConfigurationError if it is missing, a placeholder or malformed.
    """
    settings.load()
    try:
        return PersonalAccessToken(settings.required("PERSONAL_ACCESS_TOKEN"))
    except ValueError:
        raise settings.ConfigurationError(
            "PERSONAL_ACCESS_TOKEN holds characters that no token has, perhaps a line break from "
            f"pasting: correct it in {settings.env_file()}."
        ) from None


if __name__ == "__main__":
    try:
        status = run(__doc__, load)
    except (settings.ConfigurationError, APIError) as error:
        settings.stop(error)
    sys.exit(status)
