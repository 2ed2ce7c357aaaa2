"""The settings of this folder: environment variables and `.env` files.

Every folder has its own copy, so that it works on its own. Importing it reads no file.
"""

import logging
import os
import re
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

import requests
from dotenv import dotenv_values

if sys.version_info < (3, 10):  # noqa: UP036 - for those who have an older one
    sys.exit("This requires Python 3.10 or newer.")

FOLDER = Path(__file__).resolve().parent
LOOPBACK = re.compile(r"(.+\.)?localhost\.?|127(\.\d+){1,3}|::1")
Values = Mapping[str, str | None]


class ConfigurationError(Exception):
    """A setting is missing or wrong. The message names it, its source, and the fix."""


def stop(error: object) -> NoReturn:
    """Print `error` to standard error and end the program with status 4."""
    print(error, file=sys.stderr, flush=True)
    sys.exit(4)  # says to gunicorn that starting the worker again won't help


def load(folder: Path = FOLDER, environment: Values = os.environ) -> "Settings":
    """Return what is set in the environment, `folder`'s `.env` or the one above it.

    The first that has a variable takes precedence. Nothing is put into the environment,
    which child processes get, and no `${…}` is expanded. Raises ConfigurationError if a
    file can't be read.
    """
    own, above = folder / ".env", folder.parent / ".env"
    sources = {"the environment": environment, str(own): read(own)}
    place = str(own)

    if (folder / ".env.txt").is_file() and not own.is_file():
        place += " (rename .env.txt, which isn't read)"

    problem = distrust(above)
    if problem:
        place += f" ({above} is ignored: {problem})"
    elif problem is not None:
        sources[str(above)] = read(above)
        place = str(own if own.is_file() else above)

    return Settings(sources, place)


def read(file: Path) -> Values:
    """Return what a `.env` file contains; raise ConfigurationError if that fails."""
    try:
        return dotenv_values(file, interpolate=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        fix = "it must be a UTF-8 text file that you have permission to read"
        problem = f"can't be read ({type(error).__name__}): {fix}."
        raise ConfigurationError(f"{file} {problem}") from None


def distrust(file: Path) -> str | None:
    """Return why a file above must not be used: "" if it may, None if there is none."""
    # Looked at once, since somebody may be exchanging it.
    try:
        target, link = file.stat(), file.lstat()
    except FileNotFoundError:
        return None  # not "", since a file that appears now hasn't been looked at
    except OSError as error:
        return f"it can't be read ({type(error).__name__})"

    if not stat.S_ISREG(target.st_mode):
        return "it isn't a regular file"
    if not os.access(file, os.R_OK):
        return "you have no permission to read it"

    if not hasattr(os, "getuid"):  # Windows
        return ""
    if not {target.st_uid, link.st_uid} <= {0, os.getuid()}:
        return "it belongs to another user"
    return "other users can change it" if target.st_mode & 0o022 else ""


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
        return self.find(name)[0]

    def source(self, name: str) -> str:
        """Return where the value of `name` comes from, or where to set it."""
        return self.find(name)[1]

    def required(self, name: str) -> str:
        """Return the value of `name`; raise ConfigurationError if there is none."""
        value = self.get(name)
        if not value:
            raise self.error(name, "is not set", "give it a value")
        if "YOUR_" in value or value.startswith("<"):
            raise self.error(name, "is still a placeholder", "replace it")
        if re.search("[\ud800-\udfff]", value):  # bytes that couldn't be decoded
            raise self.error(name, "isn't UTF-8 text")

        return value

    def project_id(self, name: str) -> str:
        """Return a project's resource id; raise ConfigurationError."""
        value = self.required(name)
        if not re.fullmatch("[0-9]+", value):
            raise self.error(name, "isn't a project's resource id, which is a number")
        return value

    def domain(self, name: str) -> str:
        """Return ZITADEL's own address in the issuer's form: without a path or slash.

        `https://` may be missing. Raises ConfigurationError.
        """
        value = self.required(name)
        has_scheme = "://" in value
        url = self._split(name, value if has_scheme else f"https://{value}")

        if url.path:
            fix = "keep only scheme and domain, like https://example.zitadel.cloud,"
            raise self.error(name, "has a path", fix)

        if not has_scheme and LOOPBACK.fullmatch(url.hostname or ""):
            fix = f"write http://{url.netloc} or https://{url.netloc}"
            raise self.error(name, "has no scheme", fix)

        # A name without a dot may be a secret: don't show it or look it up.
        if not has_scheme and "." not in url.netloc:
            raise self.error(name, "is not an address such as https://example.com")
        return url.geturl()

    def url(self, name: str, default: str) -> str:
        """Return the address in `name`, or `default` if it is unset.

        Raises ConfigurationError, and logs a warning if the address isn't encrypted.
        """
        url = self._split(name, self.required(name) if self.get(name) else default)
        if url.scheme == "http" and not LOOPBACK.fullmatch(url.hostname or ""):
            danger = "secrets and tokens can be read in transit. Use https://."
            warning = f"http://{url.netloc} is not encrypted: {danger}"
            logging.getLogger(__name__).warning(warning)

        return url.geturl()

    def error(
        self, name: str, problem: str, fix: str = "correct it"
    ) -> ConfigurationError:
        """Return the error that says what is wrong with `name`, and where to fix it."""
        return ConfigurationError(f"{name} {problem}: {fix} in {self.source(name)}.")

    def find(self, name: str) -> tuple[str, str]:
        """Return the value of `name` and where it comes from, or where to set it."""
        for source, values in self._sources.items():
            value = (values.get(name) or "").strip()
            # `docker run --env-file` passes the quotes on.
            value = re.sub(r"^(['\"])(.*)\1\Z", r"\2", value, flags=re.DOTALL).strip()
            if value:
                return value, source

        return "", self._place

    def _split(self, name: str, value: str) -> SplitResult:
        with suppress(ValueError):
            # The issuer and the Host header must have the form that requests sends.
            sent = requests.Request("GET", value).prepare().url
            url = urlsplit(str(sent).rstrip("/"))
            (url.hostname or "").encode("idna")  # rejects what no resolver finds
            # requests drops a port 0, and anything may follow @, ? or #.
            is_complete = urlsplit(value).port != 0 and not re.search(r"[\s@?#]", value)
            if is_complete and url.scheme in ("http", "https"):
                return url

        raise self.error(name, "is not an address such as https://example.com")


def host_header(url: str, domain: str) -> str | None:
    """Return the Host header if the host of `url` isn't ZITADEL's own, else None."""
    # By this header ZITADEL finds its instance, even under an internal address.
    own = urlsplit(domain).netloc
    return None if urlsplit(url).netloc == own else own
