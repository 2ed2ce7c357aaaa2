"""Find out why an API rejects a token; ZITADEL itself says only that it isn't active.

    python diagnose.py api-jwt < token.txt
    python service-user-jwt/jwt-profile-token-generator.py --token-only | python diagnose.py api-jwt

It checks, in this order: ZITADEL's address, the clocks, the API's own credentials, and the token.
Without a token on standard input it uses the personal access token of the variable
PERSONAL_ACCESS_TOKEN or of service-user-pat/.env. It prints no token and no secret.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import stat
import sys
import textwrap
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
from provision import (
    DEFAULT_ROLE,
    ROLES_CLAIM,
    TIMEOUTS,
    Json,
    address_problem,
    connection_problem,
    json_object,
    printable,
    session_for,
    through_proxy,
)
from requests.auth import AuthBase

B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
PROJECT_SCOPE = "urn:zitadel:iam:org:project:id:{}:aud"
ROLE_SCOPE = "urn:zitadel:iam:org:project:role:"
AHEAD_SECONDS = 60  # a client assertion is backdated by this much
BEHIND_SECONDS = 600  # and valid at least this long,
LIFETIME_SECONDS = 900  # when it is new this long
NEVER = 253402300799  # the `exp` of a personal access token without an expiration date
MAX_BYTES = 1_000_000  # of an answer that the API reads


class Report:
    """Print the result of each check, without `token`, and count the problems."""

    def __init__(self, token: str) -> None:
        self.problems = 0
        self._token = token

    def ok(self, text: str) -> None:
        """Print what is as expected."""
        self._print("ok", text)

    def note(self, text: str) -> None:
        """Print what is worth knowing."""
        self._print("note", text)

    def problem(self, text: str, *remedies: str) -> None:
        """Print what is wrong and what to do."""
        self.problems += 1
        self._print("PROBLEM", text)
        for remedy in remedies:
            self._print("", remedy)

    def _print(self, word: str, text: str) -> None:
        if len(self._token) > 8:  # as an answer may contain it
            text = text.replace(self._token, "…")
        lines = textwrap.wrap(printable(text), 91, break_long_words=False, break_on_hyphens=False)
        print(f"{word:<9}" + f"\n{'':9}".join(lines))


class UnreachableError(Exception):
    """There was no answer; the text says why, and the remedy."""


@dataclass
class Api:
    """How the API asks ZITADEL, and what the folders of the clients beside it contain."""

    domain: str
    url: str
    setting: str  # the variable that `url` comes from
    headers: dict[str, str]
    authentication: AuthBase
    client_id: str
    has_key: bool
    project: str  # its id, "" if unknown
    pat: str
    pat_place: str
    projects: dict[str, str]  # what was set as its id, by place
    ahead: float = 0  # seconds by which this clock is ahead of ZITADEL's

    @property
    def clock_is_right(self) -> bool:
        """Whether ZITADEL accepts the times in assertions made here."""
        return -BEHIND_SECONDS < self.ahead < AHEAD_SECONDS

    @property
    def wrong_places(self) -> list[str]:
        """Where another project than the API's was set."""
        return [place for place, value in self.projects.items() if value != self.project]

    def introspect(self, token: str) -> requests.Response:
        """Send the API's own request; raise UnreachableError."""
        form = {"token": token}
        return send("POST", self.url, headers=self.headers, auth=self.authentication, data=form)


def send(method: str, url: str, path: str = "", **options: Any) -> requests.Response:
    """Send one request and return the answer, whatever its status; raise UnreachableError."""
    options |= {"timeout": TIMEOUTS, "allow_redirects": False}
    try:
        return session_for(url).request(method, url + path, **options)
    except (OSError, ValueError) as error:  # requests' exceptions and a few it doesn't wrap
        raise UnreachableError(connection_problem(error, url)) from None


def status_problem(answer: requests.Response, url: str, setting: str) -> str:
    """Return, in a sentence, what a redirect or a failure means; "" if it is neither."""
    status = answer.status_code
    if 300 <= status < 400:
        where = answer.headers.get("Location")
        return f"{url} redirects to {where}: set {setting} to where ZITADEL itself answers."
    if status in (407, 408, 429) or status >= 500:
        return (
            f"{url} can't answer now{through_proxy(url)} (status {status}): try again, and see "
            "the log of ZITADEL and of any proxy before it."
        )
    return ""


def moment(seconds: float) -> str:
    """Return a time as people read it."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds}"


# ZITADEL and the API


def find_zitadel(report: Report, api: Api) -> requests.Response | None:
    """Return ZITADEL's discovery document if it answers under its own domain."""
    addresses = {api.domain: dict[str, str]()}
    if api.headers:  # an internal address, the only one that this machine may reach
        addresses[urlsplit(api.url)._replace(path="").geturl()] = api.headers
    problems = []
    for address, headers in addresses.items():
        try:
            answer = send("GET", address, "/.well-known/openid-configuration", headers=headers)
        except UnreachableError as error:
            problems.append(str(error))
            continue
        if not (problem := status_problem(answer, address, "ZITADEL_DOMAIN")):
            problem = address_problem(answer, api.domain, "ZITADEL_DOMAIN")
        if not problem:
            report.ok(f"ZITADEL answers at {address} and calls itself {api.domain}.")
            return answer
        problems.append(problem)
    report.problem("The API can't use the address in ZITADEL_DOMAIN.", problems[0])
    return None


def check_clock(report: Report, api: Api, answer: requests.Response) -> None:
    """Compare this machine's clock with the Date of ZITADEL's answer."""
    try:
        ahead = api.ahead = time.time() - parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        report.note("ZITADEL's answer has no Date: the clocks can't be compared.")
        return
    distance = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} ZITADEL's"
    if abs(ahead) < 2:
        report.ok("The clocks agree.")
    elif api.clock_is_right:
        report.note(f"This machine's clock is {distance}, which is tolerated.")
    elif api.has_key:
        report.problem(
            f"This machine's clock is {distance}.",
            "Set it: ZITADEL rejects assertions with such times, so this API's requests too.",
        )
    else:
        report.note(
            f"This machine's clock is {distance}: set it. This API compares only a token's expiry "
            "with it, but clients on this machine that sign assertions may get no token."
        )


def check_credentials(report: Report, api: Api, discovery: Json) -> bool:
    """Return whether ZITADEL lets the API introspect."""
    try:
        answer = api.introspect("x")
    except UnreachableError as error:
        report.problem(f"The API can't use the address in {api.setting}.", str(error))
        return False
    content = json_object(answer.content)
    if answer.status_code == 200 and isinstance(content.get("active"), bool):
        report.ok("ZITADEL accepts the API's own credentials.")
        return True
    path = urlsplit(str(discovery.get("introspection_endpoint", "/oauth/v2/introspect"))).path
    if "Instance not found" in answer.text:
        report.problem(
            f"A ZITADEL answers at {api.url}, but doesn't know the Host header that reaches it "
            f"(sent: {api.headers.get('Host', urlsplit(api.url).netloc)}).",
            "ZITADEL_DOMAIN must be that ZITADEL's own domain, with its port, and a proxy in "
            "front of it must pass the Host header on (for nginx: proxy_set_header Host "
            "$http_host).",
        )
    elif problem := status_problem(answer, api.url, api.setting):
        report.problem("The API's request is not answered.", problem)
    elif urlsplit(api.url).path == path and isinstance(content.get("error"), str):
        report.problem(*rejected_credentials(api, content["error"]))
    else:
        report.problem(
            f"{api.url} doesn't answer as ZITADEL's introspection endpoint does (status "
            f"{answer.status_code}).",
            f"Remove ZITADEL_INTROSPECTION_URL, or correct it: it usually is {api.domain}{path}."
            if api.setting != "ZITADEL_DOMAIN"
            else "Is something between this machine and ZITADEL answering in its place?",
        )
    return False


def rejected_credentials(api: Api, error: str) -> list[str]:
    """Return what is wrong with the API's credentials, and the possible causes."""
    if api.has_key and not -LIFETIME_SECONDS - 2 < api.ahead < AHEAD_SECONDS + 3:
        return [f"ZITADEL rejects the API's key ({error}).", "The clock alone causes that."]
    others = (
        "the API (the application in ZITADEL's console) or its project was deactivated: "
        "reactivate it, since new credentials don't help; it was deleted; or it belongs to "
        "another ZITADEL."
    )
    first = "Possible causes, the most likely first:"
    if api.has_key:
        return [
            f"ZITADEL rejects the API's key ({error}).",
            f"{first} the key was removed or has expired: create a new one for "
            f"API_PRIVATE_KEY_FILE; {others}",
        ]
    return [
        f"ZITADEL rejects the API's client id and secret ({error}).",
        f"{first} API_CLIENT_ID isn't this API's client id, or API_CLIENT_SECRET isn't its latest "
        "secret: a new one invalidates the previous one; the API has the method Private Key JWT, "
        f"which takes no secret: use api-jwt, or an API with the method Basic; {others}",
    ]


# The token


def check_form(report: Report, token: str) -> bool:
    """Return whether the token has only characters that tokens have."""
    if B64TOKEN.fullmatch(token):
        return True
    begins = "It begins with the word Bearer." if token.lower().startswith("bearer") else ""
    report.problem(
        f"The token contains characters that no token can contain. {begins}",
        "Give the token alone, without quotes, spaces or line breaks.",
    )
    return False


def jwt_claims(token: str) -> Json:
    """Return the claims of a JWT, unverified; empty if the token isn't one."""
    parts = token.split(".")
    try:
        header, claims = (
            json_object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            for part in parts[:2]
        )
    except ValueError:
        return {}
    return claims if len(parts) == 3 and header else {}


def api_project(claims: Json, client_id: str) -> str:
    """Return the API's project, "" if the answer isn't about an active personal access token.

    Its audience is the client id and the project of the API that asks.
    """
    audience = audience_of(claims)
    others = [str(one) for one in audience if one != client_id]
    is_personal = "client_id" not in claims and len(audience) == 2
    return others[0] if is_personal and len(others) == 1 else ""


def check_token(report: Report, api: Api, token: str, role: str) -> None:
    """Introspect the token as the API does, and tell what the answer means."""
    try:
        answer = api.introspect(token)
    except UnreachableError as error:
        report.problem("ZITADEL didn't answer about the token.", str(error))
        return
    claims = json_object(answer.content)
    if len(answer.content) > MAX_BYTES:
        report.problem(
            "ZITADEL's answer about the token is larger than the API reads.",
            "Request it with fewer scopes: ZITADEL repeats them in its answer.",
        )
        return
    if answer.status_code != 200 or not claims:
        problem = status_problem(answer, api.url, api.setting) or "Try again, and see its log."
        report.problem(f"ZITADEL can't tell (status {answer.status_code}).", problem)
        return
    if claims.get("active") is not True:
        report.problem(
            "ZITADEL says that the token isn't active for this API.",
            *inactive_causes(api, token),
        )
        return
    kind = "" if "client_id" in claims else ", and it is a personal access token"
    report.ok(f"ZITADEL says that the token is active{kind}; its user is {claims.get('sub')}.")
    if project := api_project(claims, api.client_id):
        report.ok(f"The API belongs to the project {project}.")
        api.project = project
        for place in api.wrong_places:
            report.note(f"{place} isn't that project: tokens for it aren't active for this API.")
    check_roles(report, claims, role, api.project)
    check_expiry(report, claims)


def inactive_causes(api: Api, token: str) -> list[str]:
    """Return, in sentences, what is known about the cause, or else what it may be."""
    gone = "its user was deactivated or deleted; or another ZITADEL issued it."
    first = "the most likely cause first"
    personal = f"{first}: it has expired or was removed; it wasn't copied whole; {gone}"
    if token == api.pat:
        return [f"As a personal access token, {personal}", "Create one for PERSONAL_ACCESS_TOKEN."]
    if len(token) > 8 and token in api.pat:
        return [
            f"It is only a part of the PERSONAL_ACCESS_TOKEN in {api.pat_place}: copy it whole."
        ]
    if api.pat:  # a probe: the answer about an active one tells the API's project
        with suppress(UnreachableError):
            claims = json_object(api.introspect(api.pat).content)
            api.project = api_project(claims, api.client_id) or api.project
    scope = f"it was requested without the scope {PROJECT_SCOPE.format(api.project or 'PROJECT')}"
    hints = [f"{place} isn't that project." for place in api.wrong_places]
    if not api.project:
        hints = [
            "Which project this API belongs to isn't known here: see ZITADEL's console, compare "
            "PROJECT_ID with it, and pass it as --project-id."
        ]
    if claims := jwt_claims(token):
        audience = audience_of(claims)
        if known := jwt_problems(api, claims):
            return known
        changed = (
            "it was revoked; its user was deactivated or deleted; or it was changed, or isn't "
            "signed by this ZITADEL."
        )
        if api.project or api.client_id in audience:
            return [f"As a JWT, {first}: {changed}"]
        return [f"As a JWT, {first}: {scope}; {changed}", f"Its audience is {audience}.", *hints]
    return [
        f"If it is an access token, {first}: {scope} with the id of the API's project; it has "
        f"expired; it wasn't copied whole; it was revoked; {gone}",
        *hints,
        f"If it is a personal access token, {personal}",
    ]


def audience_of(claims: Json) -> list[object]:
    """Return the audience, which may be one or several."""
    audience = claims.get("aud")
    return audience if isinstance(audience, list) else [audience]


def jwt_problems(api: Api, claims: Json) -> list[str]:
    """Return, in sentences, why the API can't accept a JWT that says this of itself."""
    audience, expiry = audience_of(claims), claims.get("exp")
    if api.domain in audience:
        return [
            "It is an assertion: send it to ZITADEL's token endpoint, and the access token from "
            "there to the API."
        ]
    known = []
    if claims.get("iss") != api.domain:
        known.append(
            f"{claims.get('iss')} issued it, not {api.domain}: check the client's ZITADEL_DOMAIN "
            "and ZITADEL_TOKEN_URL."
        )
    if "jti" not in claims:
        known.append("It looks like an id_token: send the access_token of the same answer.")
    if isinstance(expiry, (int, float)) and expiry <= time.time() - api.ahead:
        known.append(f"It expired at {moment(expiry)}: get a new one.")
    if api.project and not {api.client_id, api.project} & {str(one) for one in audience}:
        known.append(
            f"Its audience {audience} contains neither this API nor its project {api.project}: "
            f"request the scope {PROJECT_SCOPE.format(api.project)} (see PROJECT_ID)."
        )
    return known


def check_roles(report: Report, claims: Json, role: str, project: str) -> None:
    """Check that the role is among those that the token's user has in the API's project."""
    claim = claims.get(ROLES_CLAIM)
    held = claim if isinstance(claim, dict) else {}
    shown = "; ".join(
        f"{name} through organization {', '.join(held[name])}"
        if isinstance(held[name], dict)
        else name
        for name in sorted(held)
    )
    every = f"all of its roles here: {shown or 'none'}"
    if role in held:
        report.ok(f"Its user has the role {role} ({every}).")
        return
    # The scope of a personal access token lists roles that its user may not have.
    scopes = str(claims.get("scope")).split() if "client_id" in claims else []
    asked = [scope for scope in scopes if scope.startswith(ROLE_SCOPE)]
    remedies = [
        f"Assign it in ZITADEL's console, in the project{f' {project}' if project else ''} under "
        "Role Assignments (until 4.9: Authorizations); it takes effect immediately."
    ]
    if asked and f"{ROLE_SCOPE}{role}" not in asked:
        remedies[0] = f"If its user doesn't have it: {remedies[0][0].lower()}{remedies[0][1:]}"
        remedies.insert(
            0,
            f"The token was requested with {', '.join(asked)}, which hides all other roles: "
            "request it without role scopes.",
        )
    report.problem(f"The token is without the role {role} ({every}).", *remedies)


def check_expiry(report: Report, claims: Json) -> None:
    """Check the expiry of an active token as the API does, by this machine's clock."""
    expiry = claims.get("exp", NEVER)
    if not isinstance(expiry, (int, float)):
        report.problem("Its expiry (exp) is not a number.", "The API rejects it: get another one.")
    elif expiry <= time.time():
        report.problem(
            f"By this machine's clock it expired at {moment(expiry)}, but ZITADEL accepts it.",
            "Set the clock: until then, the API rejects it.",
        )
    elif "exp" not in claims:
        report.note("ZITADEL doesn't say when it expires; the API accepts that.")
    else:
        report.ok("It never expires." if expiry >= NEVER else f"It expires at {moment(expiry)}.")


# The command line


def read_token(api: Api) -> str:
    """Return the token from standard input, or else the personal access token."""
    content = b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read()
    try:
        token = content.decode("utf-8-sig").strip()
    except ValueError:
        token = "\0"
    if "\0" in token:  # as UTF-16 has
        stop(4, "Standard input isn't UTF-8 text: save the file of the token as UTF-8.")
    if token:
        print("Using the token from standard input.")
        return token
    if sys.stdin and stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        stop(2, "Standard input is empty: the command before the pipe printed no token.")
    if not api.pat:
        stop(2, "There is no token: pipe one to standard input, or set PERSONAL_ACCESS_TOKEN.")
    print(printable(f"Using the personal access token of {api.pat_place}."))
    return api.pat


def stop(status: int, problem: str) -> NoReturn:
    """Print a sentence and exit."""
    print(printable(problem), file=sys.stderr)
    sys.exit(status)


def load(folder: Path, project: str) -> Api:
    """Return what the API's folder and those of the clients beside it contain.

    Whatever is wrong with the settings ends the program with one sentence and status 4.
    """
    sys.path.insert(0, str(folder))
    import client_authentication
    import server
    import settings

    try:
        introspection = server.create_introspection()
        values = settings.load()
        domain = values.domain("ZITADEL_DOMAIN")
        clients = {}
        for name in ("service-user-pat", "service-user-jwt", "service-user-client-credentials"):
            clients[name] = settings.load(folder.parent / name)
    except settings.ConfigurationError as error:
        settings.stop(error)
    setting = "ZITADEL_INTROSPECTION_URL"
    pat, pat_place = clients.pop("service-user-pat").find("PERSONAL_ACCESS_TOKEN")
    found = [client.find("PROJECT_ID") for client in clients.values()]
    projects = {f"PROJECT_ID in {place}": value for value, place in found if value}
    authentication: Any = introspection.client_authentication
    return Api(
        domain=domain,
        url=introspection.url,
        setting=setting if values.get(setting) else "ZITADEL_DOMAIN",
        headers=introspection.headers,
        authentication=authentication,
        client_id=authentication.client_id,
        has_key=hasattr(client_authentication, "PrivateKeyJWT"),
        project=project,
        pat=pat,
        pat_place=pat_place,
        projects=projects | ({"--project-id": project} if project else {}),
    )


def main() -> int:
    """Check everything; return 0 if all is well, 1 if there is a problem."""
    parser = argparse.ArgumentParser(
        description="Find out why an API rejects a token, which is read from standard input."
    )
    parser.add_argument("folder", type=Path, help="the API's: api-jwt or api-basic-authentication")
    parser.add_argument("--role", default=DEFAULT_ROLE, help=f"default: {DEFAULT_ROLE}")
    parser.add_argument("--project-id", default="", help="the id of the API's project")
    options, others = parser.parse_known_args()
    folder = options.folder.resolve()
    if others:  # perhaps the token, which must not be shown
        stop(2, "Name one folder: the token is read from standard input. See --help.")
    if not all((folder / name).is_file() for name in ("settings.py", "server.py")):
        stop(
            2,
            "Name api-jwt or api-basic-authentication, also for an app of your own: set that app's "
            "credentials as environment variables or in the folder's .env.",
        )
    if not re.fullmatch("[0-9]*", options.project_id):
        stop(2, "--project-id is the id of a project in ZITADEL's console: digits only.")
    api = load(folder, options.project_id)
    token = read_token(api)
    report = Report(token)
    is_accepted = False
    if answer := find_zitadel(report, api):
        check_clock(report, api, answer)
        is_accepted = check_credentials(report, api, json_object(answer.content))
        if check_form(report, token) and is_accepted:
            check_token(report, api, token, options.role)
    if report.problems == 0:
        print("An API with these settings accepts this token.")
        print("If yours doesn't, restart it, and check that API_BASE_URL is its address.")
    elif not is_accepted:
        print("Fix this first: the token itself couldn't be checked.")
    elif report.problems > 1:
        print("Fix the first problem first; the others may be consequences.")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
