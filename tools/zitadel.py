"""A ZITADEL's address, its clock, and the calls to it as the administrator."""

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from tools.connection import explanation, is_loopback, session_for, through_proxy
from tools.terminal import ProgramError

DISCOVERY = "/.well-known/openid-configuration"
ORGANIZATION = "/management/v1/orgs/me"
PROJECTS = "/zitadel.project.v2.ProjectService"
APPLICATIONS = "/zitadel.application.v2.ApplicationService"
USERS = "/zitadel.user.v2.UserService"
AUTHORIZATIONS = "/zitadel.authorization.v2.AuthorizationService"
PAGE = 100  # more than that ZITADEL doesn't list at once
TIMEOUTS = (5, 30)  # seconds: to connect, and for each read
LAG_SECONDS = 15  # how long ZITADEL may take to know or list new objects
# How far this machine's clock may be wrong: assertions are dated a minute back, and valid for
# ten minutes or more.
AHEAD_SECONDS, BEHIND_SECONDS = 60, 600

Json = dict[str, Any]
T = TypeVar("T")


class UnavailableError(ProgramError):
    """ZITADEL didn't answer, or something else answered in its place."""


class RejectedError(ProgramError):
    """ZITADEL rejected a call, so nothing changed."""


def json_object(text: str | bytes) -> Json:
    """Return the JSON object that the text is, an empty one if it is anything else."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def wait(attempt: Callable[[], T], seconds: float) -> T:
    """Repeat `attempt` until it returns something true or time runs out; return its last result."""
    deadline = time.monotonic() + seconds
    while not (result := attempt()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return result


def send(
    session: requests.Session,
    method: str,
    url: str,
    path: str = "",
    *,
    setting: str,
    **options: Any,
) -> requests.Response:
    """Send one request and return the answer, whatever its status, without following a redirect.

    `setting` is where the user put the address. Raises UnavailableError.
    """
    options |= {"timeout": TIMEOUTS, "allow_redirects": False}
    # The certificate is for ZITADEL's own domain, not for an internal address.
    host = urlsplit(f"//{options.get('headers', {}).get('Host', '')}").hostname
    adapter: Any = session.get_adapter(url)
    adapter.poolmanager.connection_pool_kw["server_hostname"] = host
    try:
        return session.request(method, url + path, **options)
    except (OSError, ValueError) as error:  # requests doesn't wrap all of them
        raise UnavailableError(explanation(error, url, setting)) from None


def status_problem(answer: requests.Response, url: str, setting: str) -> str:
    """Return, in a sentence, what a redirect or a failure means; "" if it is neither."""
    status = answer.status_code
    if 300 <= status < 400:
        where = answer.headers.get("Location")
        return f"{url} redirects to {where}: set {setting} to where ZITADEL itself answers."
    return failure(answer, url) if status in (407, 408, 429, 502, 503, 504) else ""


def failure(answer: requests.Response, url: str) -> str:
    """Return, in a sentence, that `url` can't answer now."""
    return (
        f"{url} can't answer now{through_proxy(url)} (status {answer.status_code}): try again, and "
        "see the log of ZITADEL and of any proxy before it."
    )


def intermediary_problem(answer: requests.Response, url: str) -> str:
    """Return, in sentences, that this answer isn't ZITADEL's own."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0] or "no content type"
    return (
        f"{url}{through_proxy(url)} answered with status {answer.status_code}, but not as ZITADEL "
        f"does ({kind}): a proxy, gateway or firewall seems to answer in its place. Ask whoever "
        "runs that to let this request through."
    )


def address_problem(answer: requests.Response, domain: str, setting: str) -> str:
    """Return, in sentences, why `domain` isn't ZITADEL's own address; "" if it is.

    `answer` is the one to DISCOVERY there, and `setting` is where the user put the address.
    """
    if problem := status_problem(answer, domain, setting):
        return problem
    content = json_object(answer.content)
    if "Instance not found" in answer.text and "<html" not in answer.text.lower():
        return (
            f"A ZITADEL answers at {domain}, but not under its own domain: set {setting} to that. "
            "localhost, 127.0.0.1 and a container's name are different domains. If this is its "
            "own, a proxy in front of ZITADEL doesn't pass the Host header on (for nginx: "
            "proxy_set_header Host $http_host)."
        )
    issuer = content.get("issuer")
    if answer.status_code != 200 or not isinstance(issuer, str):
        return (
            f"{domain} doesn't answer as ZITADEL does (status {answer.status_code}): is it the "
            f"address of your ZITADEL, with https:// or http:// as expected? Check {setting}; or a "
            "proxy, gateway or firewall answers in its place."
        )
    if issuer == domain:
        return ""

    try:
        is_local = is_loopback(issuer)
    except ValueError:  # it isn't an address at all
        is_local = False
    if issuer.startswith("http:") and not (is_local and domain.startswith("http:")):
        return (
            f"This ZITADEL calls itself {issuer}, since its setting ExternalSecure is off: turn it "
            f"on (ZITADEL_EXTERNALSECURE=true), and set {setting} to its https address."
        )
    problem = f"This ZITADEL calls itself {issuer}: set {setting} to that."
    if is_loopback(domain) and issuer == domain.replace("http:", "https:"):
        problem += (
            " If it doesn't speak https there, turn its setting ExternalSecure off "
            "(ZITADEL_EXTERNALSECURE=false)."
        )
    return problem


class Zitadel:
    """The ZITADEL at `domain`, called with the administrator's token where that is required."""

    def __init__(self, domain: str, token: str, setting: str = "--domain") -> None:
        self.domain = domain
        self.setting = setting
        self._token = token
        self._session = session_for(domain)

    def call(self, path: str, body: Json | None = None) -> Json:
        """Return the answer to a call as the administrator: POST, or GET without a `body`.

        Empty if the object already exists or is already gone; unknown objects are waited for, as
        they may be new. Raises RejectedError or UnavailableError.
        """
        deadline = time.monotonic() + LAG_SECONDS
        while True:
            answer = self.send(path, f"Bearer {self._token}", body=body)
            content = json_object(answer.content)
            if answer.status_code == 200 and answer.content.lstrip().startswith(b"{"):
                return content
            code = content.get("code")
            if code == "already_exists" or (code == "not_found" and "/Delete" in path):
                return {}
            may_pass = code in ("not_found", "failed_precondition")
            forbidden = "membership not found" in str(content.get("message"))
            if not may_pass or forbidden or time.monotonic() > deadline:
                raise self._rejection(path, answer)
            time.sleep(0.5)

    def list(self, path: str, name: str, body: Json, pages: str = "pagination") -> list[Json]:
        """Return what a call lists under `name`: all of it, as a page ends at 100.

        `pages` is the name of the field for the page.
        """
        found: list[Json] = []
        while True:
            page = {"limit": PAGE, "asc": True} | ({"offset": len(found)} if found else {})
            answer = self.call(path, {pages: page, **body})
            listed = answer.get(name, [])
            found += listed
            about = answer.get("pagination") or answer.get("details") or {}
            if not listed or len(found) >= int(about.get("totalResult", 0)):
                return found

    def send(
        self, path: str, authorization: str = "", *, body: Json | None = None, form: Any = None
    ) -> requests.Response:
        """Send one request; raise UnavailableError if nobody answers it now."""
        answer = send(
            self._session,
            "GET" if body is None and form is None else "POST",
            self.domain,
            path,
            setting=self.setting,
            json=body,
            data=form,
            headers={"Authorization": authorization} if authorization else {},
        )
        if problem := status_problem(answer, self.domain, self.setting):
            raise UnavailableError(problem)
        return answer

    def _rejection(self, path: str, answer: requests.Response) -> ProgramError:
        """Return the error that says why a call as the administrator failed."""
        content = json_object(answer.content)
        name, status, code = path.rsplit("/", 1)[-1], answer.status_code, content.get("code")
        message = str(content.get("message")).replace(self._token, "…")
        if status == 404 and (code == 5 or answer.content.strip() == b"404 page not found"):
            return RejectedError(
                f"This ZITADEL doesn't know {name}: provision.py requires ZITADEL 4.6 or newer. "
                "Everything else works with 2.71 and newer: create the project, the APIs and the "
                "service accounts by hand, as the folders' READMEs describe. If it is newer, a "
                f"proxy or gateway in front of it doesn't let {path} through."
            )
        if not _is_zitadels(content):
            return UnavailableError(intermediary_problem(answer, f"{self.domain}{path}"))
        if code in ("unauthenticated", 16):
            return RejectedError(
                "ZITADEL doesn't accept the administrator's token: it is wrong, expired, or from "
                "another ZITADEL, or its service account was deactivated or locked after it was "
                "created. Create a new personal access token for that service account."
            )
        if code in ("permission_denied", 7) or "membership not found" in message:
            return RejectedError(
                "The administrator's token is valid, but its service account is not allowed to do "
                f"this ({name}): make it an Org Owner. In ZITADEL's console, on the page "
                "Organization, that is the + at the top right, Add an Administrator (until 4.9: "
                "Managers)."
            )
        return RejectedError(f"ZITADEL rejected {name} with status {status}: {message}")


def _is_zitadels(content: Json) -> bool:
    """Whether an error has ZITADEL's form: a gRPC code, as a number or its name."""
    code = content.get("code")
    names = (
        "canceled unknown invalid_argument deadline_exceeded not_found already_exists aborted "
        "permission_denied resource_exhausted failed_precondition out_of_range unimplemented "
        "internal unavailable data_loss unauthenticated"
    )
    return code in names.split() or (isinstance(code, int) and 1 <= code <= 16)
