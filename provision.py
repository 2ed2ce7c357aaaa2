"""Create everything the five folders need in a ZITADEL, and write their .env and key files.

    python provision.py --domain https://example.zitadel.cloud --token-file admin.pat

The token file contains a personal access token of a service account that is an Org Owner (or IAM
Owner). You can safely run this again: what works is kept, and only what is missing or rejected is
created. In the organization of that service account it creates:

    project             Quotes, with the role read:messages (see --project-name and --role)
    APIs in it          api-jwt, with a key, and api-basic-authentication, with a client secret
    service accounts    service-user-jwt, with a key; service-user-client-credentials, with a
                        client secret; service-user-pat, with a personal access token
    role assignments    the role in the project for each of the three

Another project's name is appended to the service accounts' names: service-user-pat-my-project.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import shlex
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlsplit

import requests
from dotenv import dotenv_values
from requests.utils import select_proxy

ROOT = Path(__file__).resolve().parent
APIS = ("api-jwt", "api-basic-authentication")
USERS = ("service-user-jwt", "service-user-client-credentials", "service-user-pat")
GITIGNORE = """\
# Secrets: never commit them.
*.env*
!.env.example
*key-file*.json*
[0-9]*.json*
*.key*
*.pem*
*.pat
*.pat[.~#]*
token*.txt*
.provision-*
"""
ROLES_CLAIM = "urn:zitadel:iam:org:project:roles"
DEFAULT_PROJECT = "Quotes"
DEFAULT_ROLE = "read:messages"
MARKER = "# Written by provision.py "
TIMEOUTS = (5, 30)  # seconds: to connect, and for each read
LAG_SECONDS = 15  # how long ZITADEL may take to know or list new objects
PROOF_SECONDS = 20  # how long a new credential may stay unknown
PROJECTS = "/zitadel.project.v2.ProjectService"
APPLICATIONS = "/zitadel.application.v2.ApplicationService"
USER_SERVICE = "/zitadel.user.v2.UserService"
AUTHORIZATIONS = "/zitadel.authorization.v2.AuthorizationService"
CREDENTIALS = {  # folder: what it contains, the call that creates it, the answer's field
    "api-jwt": ("key", f"{APPLICATIONS}/CreateApplicationKey", "keyDetails"),
    "api-basic-authentication": ("secret", f"{APPLICATIONS}/GenerateClientSecret", "clientSecret"),
    "service-user-jwt": ("key", f"{USER_SERVICE}/AddKey", "keyContent"),
    "service-user-client-credentials": ("secret", f"{USER_SERVICE}/AddSecret", "clientSecret"),
    "service-user-pat": ("access token", f"{USER_SERVICE}/AddPersonalAccessToken", "token"),
}
SECRETS = {  # folder: the variable
    "api-basic-authentication": "API_CLIENT_SECRET",
    "service-user-client-credentials": "CLIENT_SECRET",
    "service-user-pat": "PERSONAL_ACCESS_TOKEN",
}
KEY_FILES = {  # folder: the variable that names the file, the file
    "api-jwt": ("API_PRIVATE_KEY_FILE", "api-key-file.json"),
    "service-user-jwt": ("CLIENT_PRIVATE_KEY_FILE_PATH", "client-key-file.json"),
}

Json = dict[str, Any]
T = TypeVar("T")


class ProvisionError(Exception):
    """What went wrong, in sentences for the person who started this."""


class RejectedError(ProvisionError):
    """ZITADEL rejected a call, so nothing changed."""


# Small helpers, some of them also for diagnose.py


def printable(text: object) -> str:
    """Return the text with unprintable characters escaped: it may come from anywhere."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def read_text(file: Path) -> str:
    """Return the file's text, "" if it isn't there."""
    return file.read_text(encoding="utf-8-sig", errors="replace") if file.is_file() else ""


def json_object(text: str | bytes) -> Json:
    """Return the JSON object that the text is, an empty one if it is anything else."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def slug(name: str) -> str:
    """Return the name in lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def wait(attempt: Callable[[], T], seconds: float) -> T:
    """Repeat `attempt` until it returns something true or time runs out; return its last result."""
    deadline = time.monotonic() + seconds
    while not (result := attempt()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return result


# Connections, also for diagnose.py


def is_loopback(url: str) -> bool:
    """Tell whether the address is this machine's own."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def session_for(url: str) -> requests.Session:
    """Return a session with the environment's certificate file and, unless `url` is local, proxy.

    As it doesn't consult the environment any more, requests never sends a password from ~/.netrc.
    """
    session = requests.Session()
    settings = session.merge_environment_settings(url, {}, None, None, None)
    session.verify = settings["verify"]
    session.proxies = {} if is_loopback(url) else settings["proxies"]
    session.trust_env = False
    return session


def through_proxy(url: str) -> str:
    """Return " through the proxy …", without its password, or "" if `url` is reached directly."""
    proxy = select_proxy(url, session_for(url).proxies) or ""
    address = proxy.rpartition("@")[2].rpartition("//")[2]
    return f" through the proxy {address}" if address else ""


def connection_problem(error: Exception, url: str) -> str:
    """Return, in sentences, why there is no answer from `url`, and the remedy.

    `error` is what requests raised: one of its own exceptions, or an OSError or ValueError that it
    doesn't wrap.
    """
    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return certificate_problem(cause.verify_code, url)
    if type(error) is OSError or any(getattr(cause, "library", "") == "X509" for cause in causes):
        return f"{bundle_variable()} doesn't name a file with certificates: correct or remove it."
    through = through_proxy(url)
    if isinstance(error, requests.exceptions.SSLError):
        remedy = "is it http:// instead?" if is_loopback(url) else "check the address and its port."
        return f"{url} doesn't speak https{through}: {remedy}"
    if isinstance(error, requests.Timeout):
        return f"{url} didn't answer in time{through}: try again."
    tunnel = re.search(r"Tunnel connection failed: [^')]*", str(error))
    detail = tunnel[0] if tunnel else getattr(causes[-1], "strerror", "") or type(error).__name__
    proxy = " and the proxy works" if through else ", or set HTTPS_PROXY if you need a proxy"
    return (
        f"{url} can't be reached{through} ({detail}): check the address (http:// or https://?) and "
        f"whether the server is running{'' if is_loopback(url) else proxy}."
    )


def bundle_variable() -> str:
    """Return the name of the variable that names a file with certificates, "" if none does."""
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return next((name for name in names if os.environ.get(name)), "")


def certificate_problem(code: int, url: str) -> str:
    """Return, in sentences, what is wrong with the certificate of `url`: `code` is OpenSSL's."""
    what = f"The certificate of {url}{through_proxy(url)}"
    if code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
        state = "isn't valid yet" if code == 9 else "has expired"
        now = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
        return f"{what} {state}: renew it, or correct this machine's clock if it isn't {now}."
    if code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        return f"{what} is for another host: use the name in it, or have it issued for this one."
    if variable := bundle_variable():
        return (
            f"{what} isn't signed by an authority in {os.environ[variable]}, which {variable} "
            "names: add the certificate of the authority that signed it."
        )
    return (
        f"{what} is signed by an unknown authority: name the file with that authority's "
        "certificate in the variable REQUESTS_CA_BUNDLE."
    )


def address_problem(answer: requests.Response, domain: str, setting: str) -> str:
    """Return, in sentences, why `domain` isn't ZITADEL's own address; "" if it is.

    `answer` is the one from /.well-known/openid-configuration there, and `setting` is where the
    user put the address.
    """
    if "Instance not found" in answer.text:
        return (
            f"A ZITADEL answers at {domain}, but not under its own domain: set {setting} to that. "
            "localhost, 127.0.0.1 and a container's name are different domains. If this is its "
            "own, a proxy in front of ZITADEL doesn't pass the Host header on (for nginx: "
            "proxy_set_header Host $http_host)."
        )
    issuer = json_object(answer.content).get("issuer")
    if answer.status_code != 200 or not isinstance(issuer, str):
        return (
            f"{domain} doesn't answer as ZITADEL does (status {answer.status_code}): is it the "
            "address of your ZITADEL, with https:// or http:// as expected?"
        )
    if issuer == domain:
        return ""
    if issuer.startswith("http:") and not (is_loopback(issuer) and domain.startswith("http:")):
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

    def __init__(self, domain: str, token: str) -> None:
        self.domain = domain
        self._token = token
        self._session = session_for(domain)

    def call(self, path: str, body: Json | None = None) -> Json:
        """Return the answer to a call as the administrator: POST, or GET without a `body`.

        Empty if the object already exists or is already gone; unknown objects are waited for, as
        they may be new.
        """
        deadline = time.monotonic() + LAG_SECONDS
        while True:
            answer = self.send(path, f"Bearer {self._token}", body=body)
            content = json_object(answer.content)
            if answer.status_code == 200:
                return content
            not_found = content.get("code") == "not_found"
            if answer.status_code == 409 or (not_found and "/Delete" in path):
                return {}
            may_pass = not_found or content.get("code") == "failed_precondition"
            forbidden = "membership not found" in str(content.get("message"))
            if not may_pass or forbidden or time.monotonic() > deadline:
                content["message"] = str(content.get("message")).replace(self._token, "…")
                raise rejection(path, answer.status_code, content)
            time.sleep(0.5)

    def send(
        self, path: str, authorization: str = "", *, body: Json | None = None, form: Any = None
    ) -> requests.Response:
        """Send one request; raise ProvisionError when no usable answer comes."""
        try:
            answer = self._session.request(
                "GET" if body is None and form is None else "POST",
                self.domain + path,
                json=body,
                data=form,
                headers={"Authorization": authorization} if authorization else {},
                timeout=TIMEOUTS,
                allow_redirects=False,
            )
        except (OSError, ValueError) as error:  # requests' exceptions and a few it doesn't wrap
            raise ProvisionError(connection_problem(error, self.domain)) from None
        status = answer.status_code
        if 300 <= status < 400:
            raise ProvisionError(
                f"{self.domain} redirects to {answer.headers.get('Location')}: set --domain to the "
                "address where ZITADEL itself answers."
            )
        if status in (407, 408, 429, 502, 503, 504):
            through = through_proxy(self.domain)
            raise ProvisionError(f"{self.domain} can't answer now{through} (status {status}).")
        return answer


def rejection(path: str, status: int, content: Json) -> RejectedError:
    """Return the error that says why ZITADEL rejected the administrator's call."""
    name = path.rsplit("/", 1)[-1]
    message = content["message"]
    if status == 401:
        return RejectedError(
            "ZITADEL doesn't accept the administrator's token: it is wrong, expired, or from "
            "another ZITADEL. Create a new personal access token for its service account."
        )
    if status == 403 or "membership not found" in message:
        return RejectedError(
            "The administrator's token is valid, but its service account is not allowed to do this "
            f"({name}): make it an Org Owner in ZITADEL's console, under Organization, "
            "Administrators (until 4.9: Managers)."
        )
    if status == 404 and content.get("code") != "not_found":
        return RejectedError(
            f"provision.py requires ZITADEL 4.6 or newer: this one doesn't know {name}. Everything "
            "else works with 2.71 and newer: create the project, the APIs and the service accounts "
            "by hand, as the folders' READMEs describe."
        )
    return RejectedError(f"ZITADEL rejected {name} with status {status}: {message}")


class Folder:
    """One of the five folders, and what is in it for the ZITADEL at `domain`."""

    def __init__(self, path: Path, domain: str) -> None:
        self.path = path
        self.name = path.name
        self.domain = domain
        self.env_file = path / ".env"
        self.key_variable, key_file = KEY_FILES.get(self.name, ("", ""))
        self.files = [self.env_file, path / key_file] if key_file else [self.env_file]
        self.read()

    def read(self) -> None:
        """Read the .env and the key file that it names.

        Invalid values, or those for another ZITADEL, count as missing.
        """
        text = read_text(self.env_file)
        self.written_here = text.startswith(MARKER)
        values = dotenv_values(stream=io.StringIO(text), interpolate=False)
        self.values = {name: value or "" for name, value in values.items()}
        if self.get("ZITADEL_DOMAIN").rstrip("/") != self.domain:
            self.values = {}
        self.key = json_object(read_text(self.path / self.get(self.key_variable)))

    def get(self, name: str) -> str:
        """Return the .env's value of `name`, "" if it has none."""
        return self.values.get(name, "")

    @property
    def is_foreign(self) -> bool:
        """Whether it contains a file not written by provision.py."""
        return not self.written_here and any(os.path.lexists(file) for file in self.files)


class Run:
    """What the steps share."""

    def __init__(self, zitadel: Zitadel, options: argparse.Namespace, changes: list[str]) -> None:
        """Note which projects are ours: those that the .env files written here name.

        Until a .env names a new project, the claim file does, which is written before the project
        is created: a run that was killed in between still knows it as its own.
        """
        self.zitadel = zitadel
        self.changes = changes
        self.organization: str = zitadel.call("/management/v1/orgs/me")["org"]["id"]
        self.project_name: str = options.project_name
        self.use_existing_project: bool = options.use_existing_project
        self.roles = list(dict.fromkeys(options.role or [DEFAULT_ROLE]))
        end = datetime.now(timezone.utc) + timedelta(days=options.expires_in_days)
        self.expiration = f"{end:%Y-%m-%dT%H:%M:%SZ}"
        paths = (options.directory / name for name in (*APIS, *USERS))
        self.folders = {path.name: Folder(path, zitadel.domain) for path in paths}
        folders = [folder for folder in self.folders.values() if folder.written_here]
        self.known_projects = {folder.get("PROJECT_ID") for folder in folders} - {""}
        self.claim_file = self.folders["service-user-jwt"].path / ".provision-project"
        self.claim = f"{zitadel.domain} {self.project_name}"

    def say(self, word: str, what: str) -> None:
        """Print one line: what happened to what."""
        print(printable(f"{word:<9}{what}"), flush=True)

    def changed(self, word: str, what: str) -> None:
        """Print one line about a change, and remember it."""
        self.say(word, what)
        self.changes.append(f"{word} {what}")

    @property
    def is_claimed(self) -> bool:
        """Whether the claim file names this project."""
        return read_text(self.claim_file) == self.claim

    def owns(self, project_id: str) -> bool:
        """Tell whether the project was created from here, or may be used anyway."""
        return self.use_existing_project or self.is_claimed or project_id in self.known_projects

    def username(self, name: str) -> str:
        """Return the username: usernames, unlike project names, must be unique."""
        return name if self.project_name == DEFAULT_PROJECT else f"{name}-{slug(self.project_name)}"


@dataclass
class Problem:
    """What keeps a folder's files from working, and whether new credentials would help."""

    text: str
    credentials_work: bool = False


# Finding and creating


def find_project(run: Run) -> Json | None:
    """Return the project as ZITADEL lists it; raise ProvisionError if it may not be ours."""
    query = {"projectName": run.project_name, "method": "TEXT_FILTER_METHOD_EQUALS"}
    body = {"filters": [{"projectNameFilter": query}]}
    for project in run.zitadel.call(f"{PROJECTS}/ListProjects", body).get("projects", []):
        if project["name"] != run.project_name or project["organizationId"] != run.organization:
            continue
        if run.owns(project["projectId"]):
            return dict(project)
        raise ProvisionError(
            f"ZITADEL already has a project {run.project_name}, and no .env here shows that "
            "provision.py created it. Choose another --project-name, or pass "
            "--use-existing-project."
        )
    return None


def find_application(run: Run, project_id: str, name: str) -> Json | None:
    """Return the API as ZITADEL lists it."""
    body = {"filters": [{"projectIdFilter": {"projectId": project_id}}]}
    listed = run.zitadel.call(f"{APPLICATIONS}/ListApplications", body).get("applications", [])
    found: Json | None = next((api for api in listed if api["name"] == name), None)
    return found


def find_user(run: Run, username: str) -> Json | None:
    """Return the service account's id as ZITADEL lists it."""
    query = {"userName": username, "method": "TEXT_QUERY_METHOD_EQUALS"}
    body = {"queries": [{"userNameQuery": query}]}
    for user in run.zitadel.call(f"{USER_SERVICE}/ListUsers", body).get("result", []):
        is_ours = user["details"]["resourceOwner"] == run.organization
        if is_ours and user["username"] == username:
            return {"id": user["userId"]}
    return None


def create(run: Run, what: str, path: str, body: Json) -> Json:
    """Create something and return ZITADEL's answer, an empty one if it has that already."""
    answer = run.zitadel.call(path, body)
    if answer:
        run.changed("created", what)
    else:
        run.say("exists", what)
    return answer


def ensure(
    run: Run, what: str, find: Callable[[], Json | None], path: str, body: Json
) -> tuple[Json, bool]:
    """Return what `find` finds and False, or create it and return it and True."""
    if found := find():
        run.say("exists", what)
        return found, False
    if created := create(run, what, path, body):
        return created, True
    if found := wait(find, LAG_SECONDS):  # the lists lag behind
        return found, False
    raise ProvisionError(
        f"ZITADEL reports that the {what} exists, but not in your organization: another one may "
        "have that name. Try again, or choose another --project-name."
    )


# Using the credentials in the files


def basic(client_id: str, secret: str) -> str:
    """Return the Authorization header, both form-url-encoded first (RFC 6749, section 2.3.1)."""
    credentials = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def assertion(folder: Folder, identity: str) -> str:
    """Return a JWT signed with the folder's key, "" if that can't be used."""
    import jwt  # here, since diagnose.py works without it for an API with a secret

    key = folder.key
    now = int(time.time())
    try:
        name = key[identity]
        claims = {"iss": name, "sub": name, "aud": folder.domain, "iat": now - 60, "exp": now + 900}
        return jwt.encode(claims, key["key"], "RS256", headers={"kid": key["keyId"]})
    except (KeyError, TypeError, ValueError, jwt.PyJWTError):
        return ""


def introspect(run: Run, name: str, token: str) -> Json | None:
    """Return what ZITADEL tells the API about the token, None if it rejects the API itself."""
    folder = run.folders[name]
    form = {"token": token}
    authorization = ""
    if name == "api-jwt":
        form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        form["client_assertion"] = assertion(folder, "clientId")
    else:
        authorization = basic(folder.get("API_CLIENT_ID"), folder.get("API_CLIENT_SECRET"))
    answer = run.zitadel.send("/oauth/v2/introspect", authorization, form=form)
    return json_object(answer.content) if answer.status_code == 200 else None


def user_token(run: Run, name: str, project_id: str) -> str:
    """Return a token fetched with the service account's files, "" if ZITADEL gives none."""
    folder = run.folders[name]
    if folder.get("PROJECT_ID") != project_id:
        return ""
    if name == "service-user-pat":
        return folder.get("PERSONAL_ACCESS_TOKEN")
    form = {"scope": f"openid urn:zitadel:iam:org:project:id:{project_id}:aud"}
    authorization = ""
    if name == "service-user-jwt":
        form["grant_type"] = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        form["assertion"] = assertion(folder, "userId")
    else:
        form["grant_type"] = "client_credentials"
        authorization = basic(folder.get("CLIENT_ID"), folder.get("CLIENT_SECRET"))
    answer = run.zitadel.send("/oauth/v2/token", authorization, form=form)
    return str(json_object(answer.content).get("access_token", ""))


def find_problem(run: Run, name: str, project_id: str) -> Problem | None:
    """Return what keeps the folder's files from working, None if they do."""
    return (api_problem if name in APIS else user_problem)(run, name, project_id)


def api_problem(run: Run, name: str, project_id: str) -> Problem | None:
    """Return what keeps the folder's files from working as the project's API."""
    folder = run.folders[name]
    client_id = folder.key.get("clientId") if name == "api-jwt" else folder.get("API_CLIENT_ID")
    application = find_application(run, project_id, name)
    if not application or application["apiConfiguration"]["clientId"] != client_id:
        return Problem("its files are for another API")
    if introspect(run, name, "x") is None:
        return Problem("ZITADEL rejects its credentials (is this machine's clock right?)")
    return None


def user_problem(run: Run, name: str, project_id: str) -> Problem | None:
    """Return what keeps the folder's files from working as the service account's."""
    token = user_token(run, name, project_id)
    if not token:
        return Problem("ZITADEL gives it no token (is this machine's clock right?)")
    user = find_user(run, run.username(name)) or {}
    answers = [introspect(run, api, token) for api in APIS]
    # An API that is itself rejected is repaired first, and can't tell about the token until then.
    told = [answer for answer in answers if answer is not None]
    is_active = [answer.get("sub", "") == user.get("id") for answer in told]
    if not any(is_active):
        return Problem("its token isn't active for the APIs, or is another account's")
    if not all(is_active):
        return Problem("its token isn't active for both APIs yet", credentials_work=True)
    held = [answer.get(ROLES_CLAIM, {}) for answer in told]
    if missing := [role for role in run.roles if any(role not in roles for roles in held)]:
        return Problem(
            f"its role assignment lacks {', '.join(missing)}: add that in ZITADEL's console, under "
            "the project's Role Assignments (until 4.9: Authorizations), and run this again",
            credentials_work=True,
        )
    return None


def works(run: Run, name: str, project_id: str) -> bool:
    """Tell whether ZITADEL accepts the folder's files, even if a role isn't assigned yet."""
    problem = find_problem(run, name, project_id)
    return problem is None or problem.credentials_work


def prove(run: Run, name: str, project_id: str) -> None:
    """Wait until the folder's files work fully, and say so."""
    deadline = time.monotonic() + PROOF_SECONDS
    while problem := find_problem(run, name, project_id):
        if time.monotonic() > deadline:
            after = f"{name} didn't work within {PROOF_SECONDS} seconds"
            raise ProvisionError(f"{after}: {problem.text}.")
        time.sleep(0.5)
    proof = "it may introspect tokens"
    if name in USERS:
        proof = f"its token is active for both APIs, with {' and '.join(run.roles)}"
    run.say("proved", f"{name}: {proof}")


# Writing files


def replace(file: Path, text: str, aside: Path | None = None) -> None:
    """Write the file whole or not at all, for its owner only; rename an older one to `aside`."""
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=".provision-")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        if aside:
            os.rename(file, aside)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def write(run: Run, file: Path, text: str) -> None:
    """Write the file; keep an older one under another name."""
    shown = f"{file.parent.name}/{file.name}"
    if not os.path.lexists(file):
        replace(file, text)
    else:
        aside, number = file.with_name(f"{file.name}.old"), 2
        while os.path.lexists(aside):
            aside, number = file.with_name(f"{file.name}.old.{number}"), number + 1
        replace(file, text, aside)
        run.changed("moved", f"{shown} to {aside.name}")
    run.changed("written", shown)


def write_folder(run: Run, name: str, own: dict[str, str], key: str = "") -> None:
    """Write the folder's files: .env before the key file, since it shows whose key that is."""
    folder = run.folders[name]
    if not os.path.lexists(folder.path / ".gitignore"):
        write(run, folder.path / ".gitignore", GITIGNORE)
    values = {"ZITADEL_DOMAIN": folder.domain, **own}
    if name in USERS:
        # The API's address is kept; it may have been edited by hand.
        kept = folder.get("API_BASE_URL") if folder.written_here else ""
        values["API_BASE_URL"] = kept or "http://localhost:5000"
    if folder.key_variable:
        values[folder.key_variable] = folder.files[1].name
    is_current = all(folder.get(variable) == value for variable, value in values.items())
    if not folder.written_here or not is_current:
        lines = [f"{MARKER}on {date.today()} for {folder.domain}"]
        lines += [f"{variable}={quoted(value)}" for variable, value in values.items()]
        write(run, folder.env_file, "\n".join(lines) + "\n")
    if key:
        write(run, folder.files[1], key)
    folder.read()


def quoted(value: str) -> str:
    """Return a .env's value, in quotes only if necessary: docker's --env-file would keep them."""
    if re.fullmatch(r"[\w@%+=:,./~-]+", value, re.ASCII):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


# The steps


def check_foreign_files(run: Run, force: bool) -> None:
    """Stop if a folder contains files that aren't ours and don't fit this project.

    With `force`, show what will be renamed instead.
    """
    project = find_project(run)
    for name, folder in run.folders.items():
        if folder.is_foreign and not (project and works(run, name, project["projectId"])):
            if not force:
                raise ProvisionError(
                    f"{folder.path} contains {' or '.join(file.name for file in folder.files)} not "
                    "written by provision.py and not for this project. Move it away, or use "
                    "--force to rename it."
                )
            for file in filter(os.path.lexists, folder.files):
                run.say("note", f"{name}/{file.name} will be renamed: it isn't from here")


def provide_project(run: Run) -> str:
    """Make sure that the project exists and that a .env names it; return its id."""
    if not find_project(run):
        replace(run.claim_file, run.claim)
    what = f"project {run.project_name}"
    body = {"organizationId": run.organization, "name": run.project_name}
    try:
        project, _ = ensure(run, what, lambda: find_project(run), f"{PROJECTS}/CreateProject", body)
    except RejectedError:
        run.claim_file.unlink(missing_ok=True)
        raise
    project_id = str(project["projectId"])
    if run.is_claimed:
        write_folder(run, "service-user-jwt", {"PROJECT_ID": project_id})
        run.claim_file.unlink()
    return project_id


def provide_api(run: Run, project_id: str, name: str) -> None:
    """Make sure that the API exists and that its folder contains credentials that work."""
    method = "PRIVATE_KEY_JWT" if name == "api-jwt" else "BASIC"
    configuration = {"authMethodType": f"API_AUTH_METHOD_TYPE_{method}"}
    application, is_new = ensure(
        run,
        f"API {name}",
        lambda: find_application(run, project_id, name),
        f"{APPLICATIONS}/CreateApplication",
        {"projectId": project_id, "name": name, "apiConfiguration": configuration},
    )
    values = {"API_CLIENT_ID": application["apiConfiguration"]["clientId"]}
    owner = {"projectId": project_id, "applicationId": application["applicationId"]}
    if works(run, name, project_id):
        run.say("kept", f"{name}: its credentials work")
    else:
        renew(run, name, name, owner, {} if name == "api-jwt" else values, is_new)


def provide_user(run: Run, project_id: str, name: str) -> None:
    """Make sure that the service account exists, has the roles, and that its files work."""
    username = run.username(name)
    organization = {"organizationId": run.organization}
    user, is_new = ensure(
        run,
        f"service account {username}",
        lambda: find_user(run, username),
        f"{USER_SERVICE}/CreateUser",
        {**organization, "username": username, "machine": {"name": username}},
    )
    owner = {"userId": user["id"]}
    grant = {**owner, "projectId": project_id, **organization, "roleKeys": run.roles}
    what = f"role assignment of {username}"
    create(run, what, f"{AUTHORIZATIONS}/CreateAuthorization", grant)
    values = {"PROJECT_ID": project_id}
    if name == "service-user-client-credentials":
        values["CLIENT_ID"] = username
    if works(run, name, project_id):
        run.say("kept", f"{name}: its credentials work")
    else:
        renew(run, name, username, owner, values, is_new)


def renew(
    run: Run, name: str, owner_name: str, owner: Json, values: dict[str, str], is_new: bool
) -> None:
    """Create a credential of the API or service account, and write its folder's files."""
    kind, path, field = CREDENTIALS[name]
    if kind != "secret":
        owner = {**owner, "expirationDate": run.expiration}
    elif not is_new:
        run.say("note", f"a new secret of {owner_name} invalidates the current one, if any")
    content = create(run, f"{kind} of {owner_name}", path, owner)[field]
    if kind == "key":
        write_folder(run, name, values, base64.b64decode(content).decode())
    else:
        write_folder(run, name, {**values, SECRETS[name]: content})


def provision(run: Run, force: bool) -> None:
    """Create what is missing, write the files, and prove that they work."""
    for folder in run.folders.values():
        folder.path.mkdir(parents=True, exist_ok=True)
        if not os.access(folder.path, os.W_OK):
            raise ProvisionError(f"{folder.path} can't be written to: see --directory.")
    check_foreign_files(run, force)
    project_id = provide_project(run)
    for key in run.roles:
        role = {"projectId": project_id, "roleKey": key, "displayName": key}
        create(run, f"role {key}", f"{PROJECTS}/AddProjectRole", role)
    for name in run.folders:
        (provide_api if name in APIS else provide_user)(run, project_id, name)
        prove(run, name, project_id)


def delete(run: Run, yes: bool) -> None:
    """Show what is to be removed from ZITADEL, ask, and remove it."""
    project = find_project(run)
    doomed = []
    if project or run.known_projects or run.use_existing_project:
        for username in map(run.username, USERS):
            if user := find_user(run, username):
                what = f"service account {username} ({user['id']})"
                doomed.append((what, f"{USER_SERVICE}/DeleteUser", {"userId": user["id"]}))
    if project:  # last, since it tells a run after an interruption that this is ours
        body = {"projectId": project["projectId"]}
        what = f"project {run.project_name} ({project['projectId']}) with all its APIs"
        doomed.append((what, f"{PROJECTS}/DeleteProject", body))
    if not doomed:
        print(f"Nothing to delete: provision.py created nothing here in {run.zitadel.domain}.")
        return
    print(f"This removes from {run.zitadel.domain}:")
    for what, _, _ in doomed:
        print(printable(f"  {what}"))
    if not yes and not sys.stdin.isatty():
        raise ProvisionError("Not a terminal: confirm with --yes.")
    if not yes and input("Remove all of this? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ProvisionError("Not confirmed.")
    for what, path, body in doomed:
        run.zitadel.call(path, body)
        run.changed("deleted", what)
    # Until the lists show it too: otherwise a new run would find deleted objects.
    names = [run.username(name) for name in USERS]
    wait(lambda: not find_project(run) and not any(find_user(run, n) for n in names), LAG_SECONDS)
    print("The .env and key files in the folders remain, but no longer work.")


def show_next_steps(directory: Path) -> None:
    """Print the commands that start an API and call it."""
    print("\nEverything works.")
    programs = {"api-jwt": "server.py", "service-user-pat": "call-api-with-pat.py"}
    missing = [name for name, file in programs.items() if not (directory / name / file).exists()]
    if missing:
        print("First, copy the programs to their settings (likewise those of the other folders):")
    for name in missing:
        target = shlex.quote(str(directory / name))
        print(f"  cp {shlex.quote(str(ROOT / name))}/*.py {target}")
    print(f"Next, in two terminals, both in {directory}:")
    print("  cd api-jwt && flask --app server run  # restart it if already running")
    print("  cd service-user-pat && python call-api-with-pat.py")


# The command line


def domain_of(text: str) -> str:
    """Return --domain as ZITADEL names itself: with its scheme, without a trailing slash.

    No message shows more of it than a host: by mistake, it may be a secret.
    """
    domain = text.strip().lower()
    if re.search(r"[<>…]|your_|(^|//)your-", domain):
        raise ProvisionError("--domain is still a placeholder: give the address of your ZITADEL.")
    has_scheme = "://" in domain
    try:
        url = urlsplit(domain if has_scheme else f"https://{domain}")
        host = (url.hostname or "").encode("idna").decode()  # rejects what can't be looked up
        usable = url.scheme in ("http", "https") and host and url.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s@\\]", domain):
        raise ProvisionError("--domain is not an address such as https://example.zitadel.cloud.")
    if not has_scheme and (is_loopback(f"https://{domain}") or "." not in host):
        raise ProvisionError("--domain requires a scheme here, as in http://localhost:8080.")
    if url.path.strip("/") or url.query or url.fragment:
        raise ProvisionError(
            "--domain has a path or a query: give only scheme and domain, such as "
            f"{url.scheme}://{url.netloc}."
        )
    if url.scheme == "http" and not is_loopback(domain):
        warning = "is not encrypted: anyone on the network path can read the secrets."
        print(f"warning: {domain} {warning}", file=sys.stderr)
    return f"{url.scheme}://{url.netloc}"


def administrator_token(file: Path | None) -> str:
    """Return the administrator's token from the file, or from ZITADEL_ADMIN_TOKEN."""
    token = os.environ.get("ZITADEL_ADMIN_TOKEN", "").strip()
    if file:
        try:
            token = file.read_text("utf-8-sig", errors="replace").strip()
        except OSError as error:  # the path isn't shown: by mistake, it may be the token
            raise ProvisionError(
                f"The file that --token-file names can't be read ({error.strerror}): pass the path "
                "of a file that contains the token, not the token itself."
            ) from None
    elif not token:
        raise ProvisionError("Name a file with the administrator's token: --token-file admin.pat.")
    if not re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", token):  # RFC 6750, section 2.1
        source = file or "ZITADEL_ADMIN_TOKEN"
        raise ProvisionError(
            f"{source} must contain a personal access token alone, on one line, in UTF-8."
        )
    return token


def days(text: str) -> int:
    """Return a number of days from the command line."""
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text):
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 99999")
    return int(text)


def project_name(text: str) -> str:
    """Return the project's name from the command line; the usernames are derived from it."""
    if not slug(text):
        raise argparse.ArgumentTypeError("must have at least one letter a-z or digit")
    return text.strip()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Without --token-file, the token is taken from the variable ZITADEL_ADMIN_TOKEN.",
    )
    option = parser.add_argument
    option("--domain", required=True, help="ZITADEL's address: https://example.zitadel.cloud")
    option("--token-file", type=Path, help="file with an Org Owner's personal access token")
    option("--project-name", type=project_name, default=DEFAULT_PROJECT, help="default: Quotes")
    option("--role", action="append", help="repeatable; default: read:messages")
    option("--expires-in-days", type=days, default=365, help="of keys and PAT; default: 365")
    option("--directory", type=Path, default=ROOT, help="of the five folders, created if missing")
    option("--use-existing-project", action="store_true", help="even if it wasn't made from here")
    option("--force", action="store_true", help="rename files that provision.py didn't write")
    option("--delete", action="store_true", help="remove the project and the service accounts")
    option("--yes", action="store_true", help="don't ask before deleting")
    options, rest = parser.parse_known_args(arguments)
    if rest:  # argparse would print it, though it may be the token
        parser.error("there is an argument that belongs to no option")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit status."""
    options = parse(arguments)
    changes: list[str] = []
    try:
        zitadel = Zitadel(domain_of(options.domain), administrator_token(options.token_file))
        # Before the administrator's token is sent there:
        answer = zitadel.send("/.well-known/openid-configuration")
        if problem := address_problem(answer, zitadel.domain, "--domain"):
            raise ProvisionError(problem)
        run = Run(zitadel, options, changes)
        if options.delete:
            delete(run, options.yes)
        else:
            provision(run, options.force)
            show_next_steps(options.directory)
        return 0
    except ProvisionError as error:
        problem, status = str(error), 2
    except OSError as error:
        exists = error.filename and os.path.exists(error.filename)
        problem, status = f"{error.filename if exists else '--directory'}: {error.strerror}.", 2
    except KeyError as error:
        problem, status = f"ZITADEL's answer lacks {error}: this version may not be supported.", 2
    except (KeyboardInterrupt, EOFError):  # EOFError: Ctrl-D at the question
        problem, status = "interrupted.", 130
    print(f"provision.py: {printable(problem)}", file=sys.stderr)
    done = f"Done so far: {printable('; '.join(changes))}." if changes else "Nothing was changed."
    print(f"{done} You can safely run it again: existing objects are reused.", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
