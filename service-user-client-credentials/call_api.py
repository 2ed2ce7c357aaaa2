"""What the scripts share: the command line, and the calls to the API."""

import argparse
import io
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

import requests
from requests import PreparedRequest

from connection import (
    explanation,
    is_loopback,
    printable,
    seconds_ahead,
    session_for,
)
from settings import ConfigurationError, Settings, load, stop

ROUTES = ("/api/public", "/api/private", "/api/private-scoped")
# What ZITADEL's `error_description` means, and what to do.
HELP = {
    "invalid assertion": (
        "ZITADEL rejected the assertion without saying why. Usual causes: the key was "
        "removed or has expired, the service account was deleted, or ZITADEL_DOMAIN is "
        "not ZITADEL's own domain."
    ),
    "client not found": (
        "ZITADEL has no service account with this name: the client id is the username "
        "of one that exists, not its id."
    ),
    "Errors.User.Machine.Secret.Invalid": (
        "ZITADEL rejected the client secret: correct it, or generate a new one."
    ),
    "Errors.User.Machine.Secret.NotExisting": (
        "The service account has no client secret: generate one. A secret created just "
        "now may take a moment to work."
    ),
    "Errors.User.NotActive": (
        "The service account is locked or deactivated: unlock or reactivate it in "
        "ZITADEL's console."
    ),
}
HELP["Errors.Internal"] = HELP["invalid assertion"]  # ZITADEL 4.13 and older


class Token(Protocol):
    """An access token for requests' `auth=`, however it was obtained."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the token to `request` and return it."""

    def token(self) -> str:
        """Return the token itself."""


def main(
    description: str | None,
    create_token: Callable[[Settings], Token],
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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack a character
            stream.reconfigure(errors="backslashreplace")

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--token-only", action="store_true", help="only print the token"
    )
    token_only = parser.parse_args().token_only

    try:
        settings = load()
        token = create_token(settings)

        access_token = token.token()
        if token_only:
            print(access_token)
            status = 0
        else:
            status = _call_routes(settings, token, credentials)
        print(end="", flush=True)
    except ConfigurationError as error:
        stop(error)
    except requests.RequestException as error:  # a TokenError
        stop(_token_problem(settings, error, token, credentials))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(status)


def _call_routes(settings: Settings, token: Any, credentials: tuple[str, ...]) -> int:
    """Say where the token comes from, call each route, and return the exit status."""
    origin = "personal access token; ZITADEL's console shows when it expires"
    if hasattr(token, "token_url"):
        seconds = token.expires_at - time.time()
        origin = f"access token from {token.token_url}, valid for {seconds:.0f} seconds"
    print(f"Using the {origin} ({' and '.join(credentials)}).")

    base_url = settings.url("API_BASE_URL", "http://localhost:5000")
    statuses = [_call(settings, base_url, path, token) for path in ROUTES]
    if 401 in statuses:
        print("To find out why, use diagnose.py beside the folders.", file=sys.stderr)
    return 0 if set(statuses) == {200} else 1


def _call(settings: Settings, base_url: str, path: str, token: Token) -> int:
    """Call one route, print the answer, and return its status."""
    try:
        with session_for(base_url) as session:
            response = session.get(
                base_url + path, auth=token, timeout=(3, 30), allow_redirects=False
            )
    except (OSError, ValueError) as error:  # requests doesn't wrap all of them
        if hasattr(error, "temporary"):  # a TokenError, when the token is renewed
            raise

        setting = f"API_BASE_URL in {settings.source('API_BASE_URL')}"
        problem = explanation(error, base_url, setting)
        if is_loopback(base_url):
            command = f"flask --app server run --port {urlsplit(base_url).port or 80}"
            problem += f" To start the API, run `{command}` in its folder."
        raise ConfigurationError(problem) from None

    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    answer = answer if isinstance(answer, dict) else {}

    message = answer.get("message")
    if path == "/api/public" and (response.status_code != 200 or not message):
        raise settings.error(
            "API_BASE_URL",
            f"is {base_url}, where something other than this API answers with status "
            f"{response.status_code} (on macOS, AirPlay often uses port 5000)",
            "start the API with --port 5050 and set it to http://localhost:5050",
        )

    text = printable(message or answer.get("error_description", ""))
    print(f"{path:<20} {response.status_code}  {text}")
    return response.status_code


def _token_problem(
    settings: Settings, error: Any, token: Any, credentials: tuple[str, ...]
) -> str:
    """Return why there is no access token, and what to do, in sentences."""
    # A TokenError and an AccessToken: service-user-pat doesn't have these classes.
    url, status = token.token_url, error.status
    is_set = settings.get("ZITADEL_TOKEN_URL")
    variable = "ZITADEL_TOKEN_URL" if is_set else "ZITADEL_DOMAIN"
    if status is None:
        return explanation(error, url, f"{variable} in {settings.source(variable)}")

    if error.description in HELP:
        text = HELP[error.description]
        seconds = seconds_ahead(error.response) or 0
        if abs(seconds) >= 2:  # the header has whole seconds
            way = "ahead of" if seconds > 0 else "behind"
            text += f" This machine's clock is {abs(seconds):.0f} s {way} ZITADEL's."
    elif error.temporary:
        text = f"{url} is temporarily unavailable (status {status})."
    elif error.error is not None:
        text = f"ZITADEL rejected the token request (status {status})."
    else:
        text = (
            f"{url} doesn't answer as ZITADEL's token endpoint does (status {status}): "
            "is it ZITADEL's own address, where localhost and 127.0.0.1 differ, or "
            "does something between here and ZITADEL answer?"
        )

    # Only an error code shows that ZITADEL itself has decided.
    names = (variable,) if error.error is None else credentials
    names = tuple(dict.fromkeys((*names, "ZITADEL_DOMAIN")))
    places = " and ".join(dict.fromkeys(map(settings.source, names)))
    return f"{text} See {', '.join(names)} in {places}."
