"""Tell why an API refuses an access token. ZITADEL itself says only that it isn't active.

    python diagnose.py api-jwt < token.txt
    python service-user-jwt/jwt-profile-token-generator.py --token-only | python diagnose.py api-jwt

It checks, in this order: the address of ZITADEL, the clocks, the API's own credentials, and then
the token. Without a token on standard input it takes the personal access token of the variable
PERSONAL_ACCESS_TOKEN, or of service-user-pat/.env. It prints no token and no secret.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import stat
import sys
import textwrap
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NoReturn

import requests
from dotenv import dotenv_values
from requests.auth import AuthBase

ROLES_CLAIM = "urn:zitadel:iam:org:project:roles"
B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
AHEAD_SECONDS = 60  # a client assertion is dated back by this much
BEHIND_SECONDS = 600  # and is good for at least so long
TIMEOUTS = (5, 15)  # seconds: to connect, and for each read

Json = dict[str, Any]


class Report:
    """Print a line for each check, and remember whether there was a problem."""

    def __init__(self) -> None:
        self.problems = 0

    def ok(self, text: str) -> None:
        """Print what is as it must be."""
        self._print("ok", text)

    def note(self, text: str) -> None:
        """Print what is worth knowing."""
        self._print("note", text)

    def problem(self, text: str, remedy: str) -> None:
        """Print what is wrong and what to do."""
        self.problems += 1
        self._print("PROBLEM", text)
        self._print("", remedy)

    def _print(self, word: str, text: str) -> None:
        lines = textwrap.wrap(text, 91, break_long_words=False, break_on_hyphens=False)
        print(f"{word:<9}" + f"\n{'':9}".join(lines))


class UnreachableError(Exception):
    """No answer came; the text says why."""


def send(method: str, url: str, auth: AuthBase | None = None, **options: Any) -> requests.Response:
    """Send one request and return the answer, whatever its status; raise UnreachableError."""
    try:
        return requests.request(
            method,
            url,
            # With none at all, requests would take a password out of ~/.netrc.
            auth=auth or (lambda request: request),
            timeout=TIMEOUTS,
            allow_redirects=False,
            **options,
        )
    except (OSError, ValueError) as error:  # requests' own ones and a few that it lets through
        name = type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in str(error) or type(error) is OSError:
            name = "its certificate isn't trusted: see REQUESTS_CA_BUNDLE"
        elif isinstance(error, requests.exceptions.SSLError):
            name = "it doesn't speak https; is it http:// instead?"
        raise UnreachableError(name) from None


def json_object(text: str | bytes) -> Json | None:
    """Return the JSON object that the text is, None if it is anything else."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def moment(seconds: float) -> str:
    """Return a time as people read it."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds}"


def number(value: object) -> float | None:
    """Return the value if it is a number."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


# ZITADEL and the API


def check_zitadel(report: Report, domain: str) -> requests.Response | None:
    """Check that ZITADEL answers at `domain` and calls itself so; return its answer if it does."""
    try:
        answer = send("GET", f"{domain}/.well-known/openid-configuration")
    except UnreachableError as error:
        report.problem(
            f"{domain} can't be reached ({error}).",
            "Start ZITADEL, or correct ZITADEL_DOMAIN; behind a proxy see HTTPS_PROXY.",
        )
        return None
    content = json_object(answer.content) or {}
    issuer = content.get("issuer")
    if "Instance not found" in answer.text:
        report.problem(
            f"A ZITADEL answers at {domain}, but this is not its own domain.",
            "Correct ZITADEL_DOMAIN: localhost, 127.0.0.1 and a container's name are not the same.",
        )
    elif answer.status_code != 200 or not isinstance(issuer, str):
        report.problem(
            f"{domain} doesn't answer as ZITADEL does (status {answer.status_code}).",
            "Correct ZITADEL_DOMAIN: the scheme and domain of ZITADEL's console, with its port.",
        )
    elif issuer != domain:
        report.problem(
            f"The issuer is {issuer!r}, not {domain!r}.", "Write that in ZITADEL_DOMAIN."
        )
    else:
        report.ok(f"ZITADEL answers at {domain} and is the issuer of that name.")
        return answer
    return None


def check_clock(report: Report, answer: requests.Response) -> None:
    """Compare this machine's clock with the Date of the answer."""
    try:
        ahead = time.time() - parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        report.note("ZITADEL's answer has no Date: the clocks can't be compared.")
        return
    distance = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} ZITADEL's"
    if -BEHIND_SECONDS < ahead < AHEAD_SECONDS:
        report.ok("The clocks agree." if abs(ahead) < 2 else f"This machine's clock is {distance}.")
    else:
        report.problem(
            f"This machine's clock is {distance}.",
            "Set it: the times in assertions and tokens depend on it.",
        )


def check_credentials(report: Report, url: str, authentication: AuthBase) -> bool:
    """Check that ZITADEL lets the API introspect."""
    try:
        answer = send("POST", url, authentication, data={"token": "x"})
    except UnreachableError as error:
        report.problem(f"{url} can't be reached ({error}).", "Correct ZITADEL_INTROSPECTION_URL.")
        return False
    if answer.status_code == 200:
        report.ok("ZITADEL accepts the API's own credentials.")
        return True
    refusal = (json_object(answer.content) or {}).get("error")
    if not isinstance(refusal, str):
        report.problem(
            f"{url} is not ZITADEL's introspection endpoint (status {answer.status_code}).",
            "Correct ZITADEL_INTROSPECTION_URL, or remove it: it follows from ZITADEL_DOMAIN.",
        )
    elif type(authentication).__name__ == "PrivateKeyJWT":
        report.problem(
            f"ZITADEL refuses the API's key ({refusal}).",
            "It was removed or has expired, or its API was deleted: make a new one for "
            "API_PRIVATE_KEY_FILE.",
        )
    else:
        report.problem(
            f"ZITADEL refuses the API's client id and secret ({refusal}).",
            "Correct API_CLIENT_ID and API_CLIENT_SECRET: a new secret ends the one before, and an "
            "API with the method Private Key JWT has none.",
        )
    return False


# The token


def check_form(report: Report, token: str) -> bool:
    """Check the characters of the token, and tell of which kind it is."""
    if not B64TOKEN.fullmatch(token):
        what = "begins with Bearer" if token.lower().startswith("bearer") else "is damaged"
        report.problem(
            f"The token {what}: it holds characters that no token has.",
            "Give the token alone, on one line, without quotes, blanks and line breaks.",
        )
        return False
    if jwt_claims(token) is None:
        report.ok("The token is opaque: an access token or a personal access token.")
    else:
        report.ok("The token is a JWT.")
    return True


def jwt_claims(token: str) -> Json | None:
    """Return the claims of a JWT, unverified; None if the token is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (
            base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts[:2]
        )
    except ValueError:
        return None
    return json_object(claims) if json_object(header) is not None else None


def check_claims(
    report: Report, claims: Json, domain: str, client_id: str, project_id: str
) -> None:
    """Check what a JWT says of itself against the API. Its signature is ZITADEL's to check."""
    issuer, audience = claims.get("iss"), claims.get("aud")
    audience = audience if isinstance(audience, list) else [audience]
    if domain in audience:
        report.problem(
            "It is an assertion, with which a service user asks for a token.",
            "Send it to ZITADEL's token endpoint, and the token from there to the API.",
        )
        return
    if issuer != domain:
        report.problem(f"Its issuer is {issuer!r}.", f"Get a token from {domain}.")
    if "jti" not in claims:
        report.problem(
            "It looks like an id_token, which tells a client who signed in.",
            "Send the access_token of the same answer to the API.",
        )
    if client_id in audience or (project_id and project_id in audience):
        report.ok("Its audience holds this API or its project.")
    elif project_id:
        report.problem(
            f"Its audience {audience} holds neither this API nor its project {project_id}.",
            f"Request the scope urn:zitadel:iam:org:project:id:{project_id}:aud.",
        )
    else:
        report.note(
            f"Its audience is {audience}: compare it with the API's project (--project-id)."
        )
    expiry = number(claims.get("exp"))
    if expiry is not None and expiry <= time.time():
        report.problem(f"It ended at {moment(expiry)}.", "Get a new one.")


def check_activity(
    report: Report, url: str, authentication: AuthBase, token: str, role: str, project_id: str
) -> None:
    """Introspect the token as the API does, and tell of roles and end.

    `project_id` is empty for a personal access token, which needs no scope.
    """
    try:
        answer = send("POST", url, authentication, data={"token": token})
    except UnreachableError as error:
        report.problem(f"{url} can't be reached ({error}).", "Try again.")
        return
    claims = json_object(answer.content)
    if answer.status_code != 200 or claims is None:
        report.problem(f"ZITADEL can't tell (status {answer.status_code}).", "Try again.")
        return
    if claims.get("active") is not True:
        causes = (
            "It has ended or was removed, its user was deactivated or deleted, or it is of another "
            "ZITADEL."
        )
        if project_id:
            causes = (
                "The commonest cause: it was requested without the scope "
                f"urn:zitadel:iam:org:project:id:{project_id}:aud with the id of this API's "
                f"project. Or else: {causes[0].lower()}{causes[1:]}"
            )
        report.problem("ZITADEL says that the token isn't active for this API.", causes)
        return
    kind = "" if "client_id" in claims else ", and it is a personal access token"
    report.ok(f"ZITADEL says that the token is active{kind}; its user is {claims.get('sub')}.")
    check_roles(report, claims.get(ROLES_CLAIM), role)
    expiry = number(claims.get("exp"))
    if expiry is None:
        report.problem("It has no end that is a number.", "The API refuses it: get another one.")
    elif expiry <= time.time():
        report.problem(f"By this machine's clock it ended at {moment(expiry)}.", "Set the clock.")
    else:
        report.ok(f"It ends at {moment(expiry)}.")


def check_roles(report: Report, claim: object, role: str) -> None:
    """Check that the role is among those that the token's user has in the project."""
    held = sorted(claim) if isinstance(claim, dict) else []
    if role in held:
        report.ok(f"Its user has the role {role} (all of its roles here: {', '.join(held)}).")
    else:
        report.problem(
            f"Its user lacks the role {role} (all of its roles here: {', '.join(held) or 'none'}).",
            "Give it in ZITADEL's console, under the project's authorizations: it counts at once.",
        )


# The command line


def read_token(folder: Path) -> tuple[str, bool]:
    """Return the token from standard input, or else the personal access token and True."""
    token = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read().strip()
    if token:
        print("The token is that of standard input.")
        return token, False
    if sys.stdin and stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        stop("There is no token on standard input: the program before the | gave none.")
    beside = dotenv_values(folder.parent / "service-user-pat/.env", interpolate=False)
    token = os.environ.get("PERSONAL_ACCESS_TOKEN") or beside.get("PERSONAL_ACCESS_TOKEN") or ""
    if not token:
        stop("There is no token: give one on standard input, or set PERSONAL_ACCESS_TOKEN.")
    print("The token is the personal access token of PERSONAL_ACCESS_TOKEN.")
    return token.strip(), True


def stop(problem: object) -> NoReturn:
    """End with exit status 2 and a sentence."""
    print(problem, file=sys.stderr)
    sys.exit(2)


def main() -> int:
    """Check everything; return 0 if all is well, 1 if there is a problem."""
    parser = argparse.ArgumentParser(
        description="Tell why an API refuses an access token, which is read from standard input."
    )
    parser.add_argument("folder", type=Path, help="the API's: api-jwt or api-basic-authentication")
    parser.add_argument("--role", default="read:messages", help="default: read:messages")
    parser.add_argument("--project-id", default="", help="the id of the API's project")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if not all((folder / file).is_file() for file in ("client_authentication.py", "settings.py")):
        stop(
            f"{options.folder} is not the folder of an API of this suite: put your values into the "
            ".env of api-jwt or api-basic-authentication, and name that."
        )
    sys.path.insert(0, str(folder))
    import client_authentication
    import settings

    try:
        authentication = client_authentication.load_client_authentication()
        domain, url = settings.zitadel_domain(), settings.introspection_url()
    except settings.ConfigurationError as error:
        stop(error)
    beside = dotenv_values(folder.parent / "service-user-jwt/.env", interpolate=False)
    project_id = options.project_id or os.environ.get("PROJECT_ID") or beside.get("PROJECT_ID")
    project_id = project_id or ""

    report = Report()
    token, is_personal = read_token(folder)
    if answer := check_zitadel(report, domain):
        check_clock(report, answer)
        is_accepted = check_credentials(report, url, authentication)
        if check_form(report, token):
            if (claims := jwt_claims(token)) is not None:
                check_claims(report, claims, domain, authentication.client_id, project_id)
            if is_accepted:
                scope = "" if is_personal else project_id or "{PROJECT_ID}"
                check_activity(report, url, authentication, token, options.role, scope)
            else:
                report.note("Until its own request succeeds, the API can't ask about the token.")
    if report.problems == 0:
        print("An API with these settings lets this token pass.")
    elif report.problems > 1:
        print("Solve the first problem first: the others may follow from it.")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
