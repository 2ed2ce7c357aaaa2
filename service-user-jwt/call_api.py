"""What the service users' scripts have in common: the command line, and the calls to the API."""

import argparse
from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

import requests
from requests import PreparedRequest

import settings

ROUTES = ("/api/public", "/api/private", "/api/private-scoped")


class Token(Protocol):
    """An access token as requests' `auth=` takes it, however it was obtained."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the token to `request` and hand it back."""

    def token(self) -> str:
        """Return the token itself."""

    def origin(self) -> str:
        """Say in a few words where the token comes from and how long it lives."""


class APIError(Exception):
    """The API can't be called at all; the message says why and what to do."""


def run(description: str | None, load: Callable[[], Token]) -> int:
    """Get a token, call the API's routes with it and print a line for each.

    With --token-only on the command line it prints the token and calls nothing.

    Args:
        description: what the script does, for --help.
        load: makes the token from the settings.

    Returns:
        0 if the API let every call pass, 1 if it refused one.

    Raises:
        APIError: the API can't be called. What `load` and the token raise is passed on.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--token-only", action="store_true", help="print the token, call nothing")
    token_only = parser.parse_args().token_only
    token = load()
    access_token = token.token()
    if token_only:
        print(access_token)
        return 0
    print(f"Using the {token.origin()}.")
    base_url = settings.api_base_url()
    passed = [_call(base_url, path, token) for path in ROUTES]
    return 0 if all(passed) else 1


def _call(base_url: str, path: str, token: Token) -> bool:
    """Call one route, print what it answered, and return whether it let the call pass."""
    try:
        response = requests.get(
            f"{base_url}{path}", auth=token, timeout=(3, 30), allow_redirects=False
        )
    except (OSError, ValueError) as error:  # requests' own ones and a few that it lets through
        raise APIError(
            f"The API at {base_url} can't be reached ({type(error).__name__}): start it in its "
            f"folder with `flask --app server run --port {urlsplit(base_url).port or 80}`, or "
            f"correct API_BASE_URL in {settings.env_file()}."
        ) from None
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    message = answer.get("message")
    if path == "/api/public" and (response.status_code != 200 or not message):
        raise APIError(
            f"Another program than this API answers at {base_url} (status "
            f"{response.status_code}): on macOS port 5000 is often AirPlay's. Start the API with "
            f"--port 5001 and set API_BASE_URL in {settings.env_file()}."
        )
    print(f"{path:<20} {response.status_code}  {message or answer.get('error_description', '')}")
    return response.status_code == 200
