"""provision.py's command line, checked before anything is sent."""

import argparse
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tools.connection import is_loopback
from tools.objects import name_problem
from tools.suite import DEFAULT_PROJECT, ROOT
from tools.terminal import ProgramError, complain


class UsageError(ProgramError):
    """What is wrong with the command line, or was answered to a question."""


def parse(arguments: list[str] | None, description: str | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="provision.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Without --token-file, the token is taken from the variable ZITADEL_ADMIN_TOKEN.",
    )
    option = parser.add_argument
    option("--domain", required=True, help="ZITADEL's address: https://example.zitadel.cloud")
    option("--token-file", type=Path, help="file with an Org Owner's personal access token")
    option("--project-name", type=project_name, default=DEFAULT_PROJECT, help="default: Quotes")
    option("--role", action="append", type=role, help="repeatable; default: read:messages")
    option("--expires-in-days", type=days, default=365, help="of keys and PAT; default: 365")
    option("--directory", type=Path, default=ROOT, help="of the five folders, created if missing")
    option("--use-existing-project", action="store_true", help="even if it wasn't made from here")
    option(
        "--replace-secrets",
        action="store_true",
        help="without asking: a new secret invalidates the one in use",
    )
    option("--force", action="store_true", help="rename files that provision.py didn't write")
    option("--delete", action="store_true", help="remove the project and its service accounts")
    option("--yes", action="store_true", help="don't ask before deleting")
    options, rest = parser.parse_known_args(arguments)
    if rest:  # argparse would print it, though it may be the token
        parser.error("there is an argument that belongs to no option")
    return options


def domain(text: str) -> str:
    """Return --domain as ZITADEL names itself: with its scheme, without a trailing slash.

    No message shows more of it than a host: by mistake, it may be a secret.
    """
    address = text.strip().lower()
    if re.search(r"[<>…]|your_|(^|//)your-", address):
        raise UsageError("--domain is still a placeholder: give the address of your ZITADEL.")
    has_scheme = "://" in address
    try:
        url = urlsplit(address if has_scheme else f"https://{address}")
        host = (url.hostname or "").encode("idna").decode()  # rejects what can't be looked up
        # The issuer has the form that requests sends, also of an international domain.
        sent = requests.Request("GET", f"{url.scheme}://{url.netloc}").prepare().url
        usable = url.scheme in ("http", "https") and host and url.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s@\\]", address):
        raise UsageError("--domain is not an address such as https://example.zitadel.cloud.")
    if not has_scheme and (is_loopback(f"https://{address}") or "." not in host):
        raise UsageError("--domain requires a scheme here, as in http://localhost:8080.")
    if url.path.strip("/") or url.query or url.fragment:
        raise UsageError(
            "--domain has a path or a query: give only scheme and domain, such as "
            f"{url.scheme}://{url.netloc}."
        )
    if url.scheme == "http" and not is_loopback(address):
        warning = "is not encrypted: anyone on the network path can read the secrets."
        complain(f"warning: {address} {warning}")
    return str(sent).rstrip("/")


def administrator_token(file: Path | None) -> str:
    """Return the administrator's token from the file, or from ZITADEL_ADMIN_TOKEN."""
    token = os.environ.get("ZITADEL_ADMIN_TOKEN", "").strip()
    if file:
        try:
            token = file.read_text("utf-8-sig", errors="replace").strip()
        except OSError as error:  # the path isn't shown: by mistake, it may be the token
            raise UsageError(
                f"The file that --token-file names can't be read ({error.strerror}): pass the path "
                "of a file that contains the token, not the token itself."
            ) from None
    elif not token:
        raise UsageError("Name a file with the administrator's token: --token-file admin.pat.")
    if not re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", token):  # RFC 6750, section 2.1
        source = file or "ZITADEL_ADMIN_TOKEN"
        raise UsageError(
            f"{source} must contain a personal access token alone, on one line, in UTF-8."
        )
    return token


def days(text: str) -> int:
    """Return a number of days from the command line."""
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text):
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 99999")
    return int(text)


def project_name(text: str) -> str:
    """Return the project's name from the command line."""
    name = text.strip()
    if problem := name_problem(name):
        raise argparse.ArgumentTypeError(problem)
    return name


def role(text: str) -> str:
    """Return a role from the command line."""
    if re.search(r"[,\s]", text):
        raise argparse.ArgumentTypeError("must be one role: for several, repeat --role")
    if problem := name_problem(text):
        raise argparse.ArgumentTypeError(problem)
    return text
