"""The settings of this folder: environment variables and `.env` files.

Nothing is read on import. The same file stands in each folder that needs it, so that each folder
works when it is copied alone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from ipaddress import IPv6Address
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from dotenv import load_dotenv

FOLDER = Path(__file__).resolve().parent
ENV_FILES = (FOLDER / ".env", FOLDER.parent / ".env")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
KEY_FILE_OWNERS = {
    "application": ("an API's key file", "clientId"),
    "serviceaccount": ("a service user's key file", "userId"),
}

logger = logging.getLogger(__name__)


class ConfigurationError(Exception):
    """A setting is missing or wrong; the message names the variable, the file and the remedy."""


def stop(error: Exception) -> NoReturn:
    """Print `error` as one sentence to standard error and end the process with status 2.

    Under gunicorn the status is 4, the one that it doesn't answer by starting the worker again.
    """
    print(error, file=sys.stderr, flush=True)
    sys.exit(4 if "gunicorn" in sys.modules else 2)


def load() -> None:
    """Put the values of the `.env` files into the environment.

    A variable that is set already stays. This folder's `.env` beats the one of the folder above.
    """
    for file in ENV_FILES:
        try:
            load_dotenv(file, encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{file} can't be read ({type(error).__name__}): it must be a UTF-8 text file that "
                "you may read."
            ) from None


def env_file() -> Path:
    """Return the `.env` file to correct: this folder's, unless only the one above exists."""
    return next((file for file in ENV_FILES if file.is_file()), ENV_FILES[0])


def required(name: str) -> str:
    """Return the variable `name`; raise ConfigurationError if it is empty or a placeholder."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigurationError(f"{name} is not set: give it a value in {env_file()}.")
    if "YOUR_" in value or value.startswith("<"):
        raise ConfigurationError(f"{name} is still a placeholder: replace it in {env_file()}.")
    if not value.isprintable():
        raise ConfigurationError(
            f"{name} holds characters that can't be printed: correct it in {env_file()}."
        )
    return value


def zitadel_domain() -> str:
    """Return ZITADEL_DOMAIN as the issuer has it: with its scheme, without a trailing slash."""
    value = required("ZITADEL_DOMAIN")
    has_scheme = "://" in value
    url = _checked_url("ZITADEL_DOMAIN", value if has_scheme else f"https://{value}")
    if not has_scheme and urlsplit(url).hostname in LOOPBACK:
        raise ConfigurationError(
            f"ZITADEL_DOMAIN has no scheme: write http://{value} or https://{value} in "
            f"{env_file()}."
        )
    if urlsplit(url).path:
        raise ConfigurationError(
            f"ZITADEL_DOMAIN has a path: only the scheme and the domain belong in {env_file()}, "
            "as in https://example.zitadel.cloud."
        )
    return url.lower()


def introspection_url() -> str:
    """Return ZITADEL_INTROSPECTION_URL, which follows from ZITADEL_DOMAIN when it isn't set."""
    return _url("ZITADEL_INTROSPECTION_URL", lambda: f"{zitadel_domain()}/oauth/v2/introspect")


def token_url() -> str:
    """Return ZITADEL_TOKEN_URL, which follows from ZITADEL_DOMAIN when it isn't set."""
    return _url("ZITADEL_TOKEN_URL", lambda: f"{zitadel_domain()}/oauth/v2/token")


def api_base_url() -> str:
    """Return API_BASE_URL without a trailing slash; http://localhost:5000 when it isn't set."""
    return _url("API_BASE_URL", lambda: "http://localhost:5000")


def scope() -> str:
    """Return the scopes that make a token active at the APIs of the project PROJECT_ID."""
    return f"openid urn:zitadel:iam:org:project:id:{required('PROJECT_ID')}:aud"


def key_file(name: str, key_type: str) -> dict[str, str]:
    """Return the content of the JSON key file that the variable `name` points to.

    A relative path starts at this folder. `key_type` is what the file's `type` must be:
    "application" for an API, "serviceaccount" for a service user. Raises ConfigurationError if
    the file is missing, is no key file of ZITADEL's, belongs to the other kind, or has expired.
    """
    path = FOLDER / required(name)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} doesn't exist: save the JSON key that ZITADEL gave you there, or correct "
            f"{name} in {env_file()}."
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be read ({type(error).__name__}): correct its permissions, or {name} "
            f"in {env_file()}."
        ) from None
    except (ValueError, RecursionError):
        content = None
    kind, identity = KEY_FILE_OWNERS[key_type]
    found = content.get("type") if isinstance(content, dict) else None
    if isinstance(found, str) and found in KEY_FILE_OWNERS and found != key_type:
        raise ConfigurationError(
            f"{path} is {KEY_FILE_OWNERS[found][0]}, and {kind} is needed here: correct {name} "
            f"in {env_file()}."
        )
    fields = ("keyId", "key", identity)
    if found != key_type or not all(_is_text(content.get(field)) for field in fields):
        raise ConfigurationError(
            f"{path} is not {kind} (JSON with type, {', '.join(fields)}): download the key from "
            f"ZITADEL again, or correct {name} in {env_file()}."
        )
    if _has_passed(content.get("expirationDate")):
        raise ConfigurationError(
            f"{path} holds a key that has expired, by this machine's clock: make a new one in "
            f"ZITADEL and save it there, or correct {name} in {env_file()}."
        )
    return {field: content[field] for field in fields}


def _url(name: str, default: Callable[[], str]) -> str:
    value = _checked_url(name, required(name) if os.environ.get(name) else default())
    if value.startswith("http:") and urlsplit(value).hostname not in LOOPBACK:
        logger.warning(
            "%s is not encrypted: secrets and tokens can be read on the way. Use https:// in %s.",
            value,
            env_file(),
        )
    return value


def _checked_url(name: str, value: str) -> str:
    try:
        url = urlsplit(value)
        host = (url.hostname or "").encode("idna")  # refuses what no resolver could look up
        if "[" in url.netloc:
            IPv6Address(url.hostname)  # which Python 3.10 doesn't check
        usable = url.scheme in ("http", "https") and host and url.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s@?#]", value):
        raise ConfigurationError(
            f"{name} is not an address such as https://example.com: correct it in {env_file()}."
        )
    return value.rstrip("/")


def _has_passed(date: object) -> bool:
    """Tell whether an `expirationDate`, which is RFC 3339 in UTC, is in the past."""
    try:
        end = datetime.strptime(str(date)[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return False
    return end.replace(tzinfo=timezone.utc) < datetime.now(timezone.utc)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and not value.startswith("<")
