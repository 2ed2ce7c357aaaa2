"""The settings of this folder: environment variables and `.env` files.

Every folder has its own copy, so that it works on its own. Importing it reads nothing.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from ipaddress import IPv6Address
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from dotenv import dotenv_values, find_dotenv

FOLDER = Path(__file__).resolve().parent
LOOPBACK = re.compile(r"(.+\.)?localhost\.?|127(\.\d+){1,3}|::1")

Values = dict[str, str | None]


class ConfigurationError(Exception):
    """A setting is missing or wrong. The message names it, its source, and the fix."""


def stop(error: object) -> NoReturn:
    """Print `error` to standard error and end the program with status 4.

    To gunicorn, 4 means that starting the worker again won't help.
    """
    print(error, file=sys.stderr, flush=True)
    sys.exit(4)


def load() -> Settings:
    """Read the environment, this folder's `.env`, and the one in the folder above.

    The first that has a value for a variable takes precedence. Nothing is put into the
    environment, which every child process gets, and no `${…}` is expanded.

    Raises:
        ConfigurationError: a `.env` file can't be read.
    """
    environment: Values = dict(os.environ)
    if "FLASK_RUN_FROM_CLI" in environment:
        # The flask command has put the nearest of these files into the environment,
        # whoever wrote them, and has expanded `${…}`: take that out again.
        for kind in (".flaskenv", ".env"):
            file = Path(find_dotenv(kind, usecwd=True))
            for name, value in _read(file).items():
                is_loaded = value and ("${" in value or environment.get(name) == value)
                if is_loaded and not (name.startswith("FLASK_") and _is_private(file)):
                    environment.pop(name, None)
                    os.environ.pop(name, None)
    own, above = FOLDER / ".env", FOLDER.parent / ".env"
    sources = {"the environment": environment, str(own): _read(own)}
    place = str(own)
    if _is_private(above):
        sources[str(above)] = _read(above)
        place = str(own if own.is_file() else above)
    elif above.is_file():
        place += f" ({above} is ignored: run chmod go-w, other users can change it)"
    return Settings(sources, place)


class Settings:
    """The variables' values. What is empty counts as unset.

    Args:
        sources: values by where they come from, in order of precedence.
        place: where to set a variable that has no value, a `.env` file.
    """

    def __init__(self, sources: dict[str, Values], place: str) -> None:
        self._sources = sources
        self._place = place

    def get(self, name: str) -> str:
        """Return the value of the variable `name`, "" if it is unset."""
        return self._find(name)[0]

    def source(self, name: str) -> str:
        """Return where the value of `name` comes from, or where to set it."""
        return self._find(name)[1]

    def required(self, name: str) -> str:
        """Return the value of `name`.

        Raises ConfigurationError if it is unset or a placeholder.
        """
        value = self.get(name)
        if not value:
            raise self.error(name, "is not set", "give it a value")
        if "YOUR_" in value or value.startswith("<"):
            raise self.error(name, "is still a placeholder", "replace it")
        return value

    def domain(self, name: str) -> str:
        """Return ZITADEL's own address in the issuer's form: without a path or slash.

        `https://` may be missing. Raises ConfigurationError.
        """
        value = self.required(name)
        url = self._split(name, value if "://" in value else f"https://{value}")
        if url.path:
            fix = "keep only scheme and domain, like https://example.zitadel.cloud,"
            raise self.error(name, "has a path", fix)
        if "://" not in value:
            if LOOPBACK.fullmatch(url.hostname or ""):
                fix = f"write http://{url.netloc} or https://{url.netloc}"
                raise self.error(name, "has no scheme", fix)
            # A name without a dot may be a secret: don't show it or look it up.
            if "." not in url.netloc:
                raise self.error(name, "is not an address such as https://example.com")
        return url.geturl()

    def url(self, name: str, default: str) -> str:
        """Return the address in `name`, or `default` if it is unset.

        Raises ConfigurationError, and logs a warning if the address isn't encrypted.
        """
        url = self._split(name, self.required(name) if self.get(name) else default)
        if url.scheme == "http" and not LOOPBACK.fullmatch(url.hostname or ""):
            logging.getLogger(__name__).warning(
                "http://%s is not encrypted: secrets and tokens can be read in "
                "transit. Use https://.",
                url.netloc,
            )
        return url.geturl()

    def error(
        self, name: str, problem: str, fix: str = "correct it"
    ) -> ConfigurationError:
        """Return the error that says what is wrong with `name`, and where to fix it."""
        return ConfigurationError(f"{name} {problem}: {fix} in {self.source(name)}.")

    def _find(self, name: str) -> tuple[str, str]:
        for source, values in self._sources.items():
            value = (values.get(name) or "").strip()
            # `docker run --env-file` passes the quotes on.
            if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1].strip()
            if value:
                return value, source
        return "", self._place

    def _split(self, name: str, value: str) -> SplitResult:
        try:
            url = urlsplit(value.rstrip("/"))
            host = (url.hostname or "").encode("idna")  # rejects what no resolver finds
            if "[" in url.netloc:
                IPv6Address(url.hostname)  # Python 3.10 doesn't check it
            usable = url.scheme in ("http", "https") and host and url.port != 0
        except ValueError:
            usable = False
        if not usable or re.search(r"[\s@?#]", value):
            raise self.error(name, "is not an address such as https://example.com")
        return url._replace(netloc=url.netloc.lower())


def host_header(url: str, domain: str) -> str | None:
    """Return the Host header if the host of `url` isn't ZITADEL's own, else None.

    ZITADEL finds its instance by this header, so it must be that of `domain` even where
    ZITADEL is reached under an internal address.
    """
    own = urlsplit(domain).netloc
    return None if urlsplit(url).netloc == own else own


def _read(file: Path) -> Values:
    try:
        return dotenv_values(file, interpolate=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{file} can't be read ({type(error).__name__}): it must be a UTF-8 text "
            "file that you have permission to read."
        ) from None


def _is_private(file: Path) -> bool:
    """Whether the file is this user's or root's, and nobody else can write to it."""
    if not file.is_file():
        return False
    if not hasattr(os, "getuid"):  # Windows
        return True
    owners = {file.stat().st_uid, file.lstat().st_uid}  # of a link and of its target
    return owners <= {0, os.getuid()} and not file.stat().st_mode & 0o022
