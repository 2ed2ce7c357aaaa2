"""What the scripts share: the command line, and the calls to the API."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn, Protocol
from urllib.parse import urlsplit

import requests
from requests import PreparedRequest
from requests.utils import get_environ_proxies, select_proxy

import settings

ROUTES = ("/api/public", "/api/private", "/api/private-scoped")


class Token(Protocol):
    """An access token for requests' `auth=`, however it was obtained."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the token to `request` and return it."""

    def token(self) -> str:
        """Return the token itself."""

    def origin(self) -> str:
        """Return where the token came from and how long it is valid."""


def main(
    description: str | None,
    create_token: Callable[[settings.Settings], Token],
    *credentials: str,
) -> NoReturn:
    """Get a token, call the API's routes with it, and print one line for each.

    With --token-only on the command line, print nothing but the token. The exit status
    is 0 if the API accepted every call, 1 if it rejected one, and 4 if a setting is
    wrong, or ZITADEL or the API can't be reached.

    Args:
        description: what the script does, for --help.
        create_token: creates the token from the settings.
        credentials: the variables that contain the service account's credentials.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--token-only", action="store_true", help="only print the token"
    )
    token_only = parser.parse_args().token_only
    try:
        values = settings.load()
        token = create_token(values)
        access_token = token.token()
        if token_only:
            print(access_token)
            sys.exit(0)
        print(f"Using the {token.origin()} ({' and '.join(credentials)}).")
        base_url = values.url("API_BASE_URL", "http://localhost:5000")
        accepted = [_call(values, base_url, path, token) for path in ROUTES]
    except (settings.ConfigurationError, ImportError) as error:
        settings.stop(error)
    except requests.RequestException as error:  # a TokenError
        names = credentials if getattr(error, "error", None) else ()
        names += ("ZITADEL_DOMAIN",)
        places = " and ".join(dict.fromkeys(map(values.source, names)))
        settings.stop(f"{error} See {', '.join(names)} in {places}.")
    sys.exit(0 if all(accepted) else 1)


def printable(text: object) -> str:
    """Return what others sent with control characters escaped: terminals obey them."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape").decode()
        for character in str(text)
    )


def _call(values: settings.Settings, base_url: str, path: str, token: Token) -> bool:
    """Call one route, print the answer, and return whether the API accepted."""
    address = urlsplit(base_url)
    # What is meant for this machine must not leave it through a proxy.
    is_local = settings.LOOPBACK.fullmatch(address.hostname or "")
    proxies = {"http": "", "https": ""} if is_local else get_environ_proxies(base_url)
    try:
        response = requests.get(
            f"{base_url}{path}",
            auth=token,
            timeout=(3, 30),
            allow_redirects=False,
            proxies=proxies,
        )
    except (OSError, ValueError) as error:  # requests doesn't wrap all of them
        if hasattr(error, "temporary"):  # a TokenError, when the token is renewed
            raise
        proxy = select_proxy(base_url, proxies)
        via = f" through the proxy {proxy.rpartition('@')[2]}" if proxy else ""
        raise values.error(
            "API_BASE_URL",
            f"is {base_url}, which can't be reached{via} ({type(error).__name__})",
            "start the API in its folder with `flask --app server run --port "
            f"{address.port or 80}`, or correct it",
        ) from None
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    message = answer.get("message")
    if path == "/api/public" and (response.status_code != 200 or not message):
        raise values.error(
            "API_BASE_URL",
            f"is {base_url}, where something other than this API answers with status "
            f"{response.status_code} (on macOS, AirPlay often uses port 5000)",
            "start the API with --port 5001 and set it to http://localhost:5001",
        )
    text = printable(message or answer.get("error_description", ""))
    print(f"{path:<20} {response.status_code}  {text}")
    return response.status_code == 200
