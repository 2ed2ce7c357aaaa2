"""Create in a ZITADEL all that the five folders need, and write their .env and key files.

    python provision.py --domain https://example.zitadel.cloud --token-file admin.pat

The token file holds the personal access token of a service user that is Org Owner (or IAM Owner).
Running it again is safe: what works is kept, and only what is missing or refused is made anew.
`--delete` removes from ZITADEL what it made.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote_plus, urlsplit

import jwt
import requests
from cryptography.exceptions import UnsupportedAlgorithm
from dotenv import dotenv_values

APIS = {
    "api-jwt": "API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT",
    "api-basic-authentication": "API_AUTH_METHOD_TYPE_BASIC",
}
USERS = ("service-user-jwt", "service-user-client-credentials", "service-user-pat")
KEY_FILES = {  # folder: the variable that names the file, the file
    "api-jwt": ("API_PRIVATE_KEY_FILE", "api-key-file.json"),
    "service-user-jwt": ("CLIENT_PRIVATE_KEY_FILE_PATH", "client-key-file.json"),
}
ROLE = "read:messages"
ROLES_CLAIM = "urn:zitadel:iam:org:project:roles"
DEFAULT_PROJECT = "Quotes"
MARKER = "# Written by provision.py "
LOOPBACK = ("localhost", "127.0.0.1", "::1")
TIMEOUTS = (5, 30)  # seconds: to connect, and for each read
LIST_SECONDS = 15  # how long ZITADEL's lists may lag behind its writes
PROOF_SECONDS = 20  # how long a new credential may stay unknown
PROJECTS = "/zitadel.project.v2.ProjectService"
APPLICATIONS = "/zitadel.application.v2.ApplicationService"
USER_SERVICE = "/zitadel.user.v2.UserService"
AUTHORIZATIONS = "/zitadel.authorization.v2.AuthorizationService"
CREDENTIALS = {  # folder: what it is called, the call that makes it, where the answer has it
    "api-jwt": ("key", f"{APPLICATIONS}/CreateApplicationKey", "keyDetails"),
    "api-basic-authentication": ("secret", f"{APPLICATIONS}/GenerateClientSecret", "clientSecret"),
    "service-user-jwt": ("key", f"{USER_SERVICE}/AddKey", "keyContent"),
    "service-user-client-credentials": ("secret", f"{USER_SERVICE}/AddSecret", "clientSecret"),
    "service-user-pat": ("access token", f"{USER_SERVICE}/AddPersonalAccessToken", "token"),
}

Json = dict[str, Any]
T = TypeVar("T")


class ProvisionError(Exception):
    """What went wrong, in sentences for the person who started this."""


class AlreadyExists(ProvisionError):  # noqa: N818
    """ZITADEL has it already."""


class NotReady(ProvisionError):  # noqa: N818
    """ZITADEL lacks something that the call needs; right after its creation, this may pass."""


class NotFound(NotReady):
    """ZITADEL doesn't have it."""


class Progress:
    """Print each step, and remember what was changed."""

    def __init__(self) -> None:
        self.changes: list[str] = []

    def __call__(self, word: str, what: str) -> None:
        """Print one line: what happened to what."""
        print(f"{word:<9}{what}", flush=True)
        if word in ("created", "moved", "written", "deleted"):
            self.changes.append(f"{word} {what}")


class Zitadel:
    """The ZITADEL at `domain`, called with the administrator's token where that is needed."""

    def __init__(self, domain: str, token: str) -> None:
        self.domain = domain
        self._token = token
        self._session = requests.Session()

    def call(self, path: str, body: Json | None = None) -> Json:
        """Return the answer to a call as the administrator: POST, or GET without a `body`."""
        answer = self.send(path, f"Bearer {self._token}", body=body)
        content = json_object(answer)
        name = path.rsplit("/", 1)[-1]
        message = str((content or {}).get("message", "")).replace(self._token, "…")[:200]
        status = answer.status_code
        if status == 200 and content is not None:
            return content
        if status == 409:
            raise AlreadyExists(f"ZITADEL has this already ({name}).")
        if status == 401:
            raise ProvisionError(
                "ZITADEL doesn't accept the administrator's token: it is wrong, expired, or of "
                "another ZITADEL. Make a new personal access token for its service user."
            )
        if status == 403 or "membership not found" in message:
            raise ProvisionError(
                "The administrator's token is valid, but its service user may not do this "
                f"({name}): make it an Org Owner in ZITADEL's console, under Organization."
            )
        if status == 404 and (content or {}).get("code") == "not_found":
            raise NotFound(f"ZITADEL doesn't find what {name} is about: {message}")
        if (content or {}).get("code") == "failed_precondition":
            raise NotReady(f"ZITADEL lacks what {name} needs: {message}")
        if status == 404:
            raise ProvisionError(
                f"This ZITADEL doesn't know the call {path}: it is too old for provision.py. "
                "Update it, or create everything by hand as the folders' READMEs say."
            )
        raise ProvisionError(f"ZITADEL refused {name} with status {status}: {message or 'no text'}")

    def call_when_ready(self, path: str, body: Json) -> Json:
        """Return the answer to a call about something new, which ZITADEL may not know at once."""
        deadline = time.monotonic() + LIST_SECONDS
        while True:
            try:
                return self.call(path, body)
            except NotReady:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def send(
        self, path: str, authorization: str = "", *, body: Json | None = None, form: Any = None
    ) -> requests.Response:
        """Send one request; raise ProvisionError when no usable answer comes.

        The authentication is always explicit, since requests would else look into ~/.netrc.
        """

        def authenticate(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if authorization:
                request.headers["Authorization"] = authorization
            return request

        try:
            answer = self._session.request(
                "GET" if body is None and form is None else "POST",
                self.domain + path,
                json=body,
                data=form,
                auth=authenticate,
                timeout=TIMEOUTS,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError:
            raise ProvisionError(
                f"The TLS certificate of {self.domain} is not trusted. If it is signed by your own "
                "authority, name its certificate file in the variable REQUESTS_CA_BUNDLE."
            ) from None
        except requests.Timeout:
            raise ProvisionError(f"{self.domain} didn't answer in time.") from None
        except (OSError, UnicodeError) as error:
            raise ProvisionError(
                f"{self.domain} can't be reached ({type(error).__name__}): check the address, "
                "whether ZITADEL runs there, and the proxy and REQUESTS_CA_BUNDLE if you set them."
            ) from None
        status = answer.status_code
        if 300 <= status < 400:
            raise ProvisionError(
                f"{self.domain} answers with a redirect: give --domain the address where ZITADEL "
                "itself answers (https:// instead of http://, perhaps)."
            )
        if status in (408, 429, 502, 503, 504):
            raise ProvisionError(f"{self.domain} can't answer at the moment (status {status}).")
        if status == 404 and "Instance not found" in answer.text:
            raise ProvisionError(
                f"A ZITADEL answers at {self.domain}, but under another domain than its own: give "
                "--domain its external domain, such as localhost instead of 127.0.0.1."
            )
        return answer


class Login(NamedTuple):
    """How an API authenticates when it introspects a token."""

    client_id: str
    authorization: str
    form: dict[str, str]


class Folder:
    """One of the five folders, and what lies in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.env_file = path / ".env"
        self.key_variable, key_file = KEY_FILES.get(self.name, ("", ""))
        self.files = [self.env_file, path / key_file] if key_file else [self.env_file]
        self.read()

    def read(self) -> None:
        """Read the .env and the key file that it names; what can't be read counts as empty."""
        text = read_text(self.env_file)
        self.written_here = text.startswith(MARKER)
        self.values = dotenv_values(stream=io.StringIO(text), interpolate=False)
        self.key: Json = {}
        if key_file := self.get(self.key_variable):
            try:
                content = json.loads(read_text(self.path / key_file))
            except ValueError:
                content = None
            self.key = content if isinstance(content, dict) else {}

    def get(self, name: str) -> str:
        """Return the .env's value of `name`, "" if it has none."""
        return self.values.get(name) or ""

    @property
    def is_foreign(self) -> bool:
        """Whether a file lies here that provision.py didn't write."""
        return not self.written_here and any(os.path.lexists(file) for file in self.files)


@dataclass
class Run:
    """What the steps share."""

    zitadel: Zitadel
    say: Progress
    folders: dict[str, Folder]
    project_name: str
    use_existing_project: bool = False
    expiration: str = ""
    organization: str = ""
    made: set[str] = field(default_factory=set)  # names of what ZITADEL made in this run

    def __post_init__(self) -> None:
        """Note which projects the .env files name, as far as provision.py wrote them."""
        self.known_projects = {
            self.folders[name].get("PROJECT_ID")
            for name in USERS
            if self.folders[name].written_here and self.is_for_this_domain(self.folders[name])
        } - {""}

    def is_for_this_domain(self, folder: Folder) -> bool:
        """Tell whether the folder's .env names this ZITADEL."""
        return folder.get("ZITADEL_DOMAIN").rstrip("/") == self.zitadel.domain

    def username(self, name: str) -> str:
        """Return the user name: unlike projects' names, ZITADEL lets it exist only once."""
        return name if self.project_name == DEFAULT_PROJECT else f"{name}-{slug(self.project_name)}"


# Small helpers


def json_object(answer: requests.Response) -> Json | None:
    """Return the answer's JSON object, None if it is something else."""
    try:
        content = answer.json()
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def text_in(content: Json, *names: str) -> str:
    """Return the text under these keys of an answer of ZITADEL's."""
    value: Any = content
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value:
        raise ProvisionError(f"ZITADEL's answer lacks {'.'.join(names)}: its version may not fit.")
    return value


def read_text(file: Path) -> str:
    """Return the file's text, "" if it isn't there or can't be read."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def slug(name: str) -> str:
    """Return the name in lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def is_token(text: str) -> bool:
    """Tell whether the text has the form of a bearer token (RFC 6750, section 2.1)."""
    return re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", text) is not None


def wait(attempt: Callable[[], T], seconds: float) -> T:
    """Repeat `attempt` until it returns something true or the time is over; return its last."""
    deadline = time.monotonic() + seconds
    while not (result := attempt()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return result


# Finding and creating


def find_project(run: Run) -> Json | None:
    """Return the project as ZITADEL lists it; refuse one that may be somebody else's."""
    query = {"projectName": run.project_name, "method": "TEXT_FILTER_METHOD_EQUALS"}
    body = {"filters": [{"projectNameFilter": query}]}
    for project in run.zitadel.call(f"{PROJECTS}/ListProjects", body).get("projects", []):
        named = project.get("name") == run.project_name
        if not named or project.get("organizationId") != run.organization:
            continue
        if run.use_existing_project or text_in(project, "projectId") in run.known_projects:
            return dict(project)
        raise ProvisionError(
            f"ZITADEL has a project {run.project_name} already, and no .env file here tells that "
            "provision.py made it. Choose another name with --project-name, or let it be used "
            "with --use-existing-project."
        )
    return None


def find_application(run: Run, project_id: str, name: str) -> Json | None:
    """Return the API as ZITADEL lists it."""
    body = {"filters": [{"projectIdFilter": {"projectId": project_id}}]}
    answer = run.zitadel.call(f"{APPLICATIONS}/ListApplications", body)
    for application in answer.get("applications", []):
        if application.get("name") != name:
            continue
        api = application.get("apiConfiguration")
        # ZITADEL leaves the method out when it is Basic.
        basic_method = APIS["api-basic-authentication"]
        if isinstance(api, dict) and api.get("authMethodType", basic_method) == APIS[name]:
            return dict(application)
        raise ProvisionError(
            f"The project has an application {name} that is no API or authenticates in another "
            "way: delete or rename it in ZITADEL's console."
        )
    return None


def find_user(run: Run, username: str) -> Json | None:
    """Return the service user as ZITADEL lists it."""
    query = {"userName": username, "method": "TEXT_QUERY_METHOD_EQUALS"}
    body = {"queries": [{"userNameQuery": query}]}
    for user in run.zitadel.call(f"{USER_SERVICE}/ListUsers", body).get("result", []):
        owner = user.get("details", {}).get("resourceOwner")
        if user.get("username") == username and owner == run.organization and "machine" in user:
            return {"id": text_in(user, "userId")}
    return None


def ensure(run: Run, what: str, find: Callable[[], Json | None], path: str, body: Json) -> Json:
    """Return what `find` finds, or create it; ZITADEL's lists lag behind, so it may exist."""
    found = find()
    if not found:
        try:
            answer = run.zitadel.call_when_ready(path, body)
        except AlreadyExists:
            found = wait(find, LIST_SECONDS)
        else:
            run.say("created", what)
            run.made.add(what)
            return answer
    if not found:
        raise ProvisionError(
            f"ZITADEL says that it has the {what}, but doesn't list it in your organization: "
            "another organization may have that name. Try again, or take another --project-name."
        )
    run.say("exists", what)
    return found


def add(run: Run, what: str, path: str, body: Json) -> None:
    """Create what needn't be found again."""
    try:
        run.zitadel.call_when_ready(path, body)
        run.say("created", what)
    except AlreadyExists:
        run.say("exists", what)


# Using the credentials that lie in the files


def basic(client_id: str, secret: str) -> str:
    """Return the Authorization header, both form-url-encoded first (RFC 6749, section 2.3.1)."""
    credentials = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def assertion(run: Run, key: Json, identity: str) -> str:
    """Return a JWT signed with the key, "" if the key can't be used."""
    now = int(time.time())
    name = key.get(identity)
    claims = {"iss": name, "sub": name, "aud": run.zitadel.domain, "iat": now - 60}
    try:
        headers = {"kid": key["keyId"]}
        return jwt.encode({**claims, "exp": now + 900}, key["key"], "RS256", headers=headers)
    except (KeyError, TypeError, ValueError, jwt.PyJWTError, UnsupportedAlgorithm):
        return ""


def api_login(run: Run, name: str) -> Login | None:
    """Return how the API authenticates with what lies in its folder, None if that can't be."""
    folder = run.folders[name]
    if not run.is_for_this_domain(folder):
        return None
    if name == "api-jwt":
        signed = assertion(run, folder.key, "clientId")
        type_ = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        form = {"client_assertion_type": type_, "client_assertion": signed}
        return Login(str(folder.key.get("clientId")), "", form) if signed else None
    client_id, secret = folder.get("API_CLIENT_ID"), folder.get("API_CLIENT_SECRET")
    return Login(client_id, basic(client_id, secret), {}) if client_id and secret else None


def introspect(run: Run, login: Login | None, token: str) -> Json | None:
    """Return what ZITADEL tells the API about the token, None if it refuses the API itself."""
    if not login:
        return None
    form = {"token": token, **login.form}
    answer = run.zitadel.send("/oauth/v2/introspect", login.authorization, form=form)
    return json_object(answer) if answer.status_code == 200 else None


def user_token(run: Run, name: str, project_id: str) -> str:
    """Return a token got with what lies in the service user's folder, "" if it is refused."""
    folder = run.folders[name]
    if not run.is_for_this_domain(folder) or folder.get("PROJECT_ID") != project_id:
        return ""
    if name == "service-user-pat":
        token = folder.get("PERSONAL_ACCESS_TOKEN")
        return token if is_token(token) else ""
    authorization = ""
    form = {"scope": f"openid urn:zitadel:iam:org:project:id:{project_id}:aud"}
    if name == "service-user-jwt":
        form["grant_type"] = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        form["assertion"] = assertion(run, folder.key, "userId")
    else:
        form["grant_type"] = "client_credentials"
        authorization = basic(folder.get("CLIENT_ID"), folder.get("CLIENT_SECRET"))
    if form.get("assertion") == "":
        return ""
    answer = run.zitadel.send("/oauth/v2/token", authorization, form=form)
    return str((json_object(answer) or {}).get("access_token", ""))


def api_works(run: Run, name: str, application: Json | None) -> bool:
    """Tell whether ZITADEL accepts the folder's credentials as those of this API."""
    login = api_login(run, name)
    if not application or not login:
        return False
    client_id = application.get("apiConfiguration", {}).get("clientId")
    return login.client_id == client_id and introspect(run, login, "x") is not None


def user_works(run: Run, name: str, project_id: str, user: Json | None) -> bool:
    """Tell whether ZITADEL accepts the folder's credentials as those of this service user."""
    token = user_token(run, name, project_id)
    if not user or not token:
        return False

    def is_active() -> bool:
        answers = [introspect(run, api_login(run, api), token) or {} for api in APIS]
        return any(a.get("active") is True and a.get("sub") == user["id"] for a in answers)

    return wait(is_active, 5 if run.made else 0)  # a new API may not know tokens at once


def user_problem(run: Run, name: str, project_id: str, logins: dict[str, Login]) -> str:
    """Return what keeps the service user's token from opening both APIs, "" if nothing does."""
    token = user_token(run, name, project_id)
    if not token:
        return "ZITADEL gives no token for it"
    for api, login in logins.items():
        answer = introspect(run, login, token) or {}
        if answer.get("active") is not True:
            return f"its token is not active for {api}"
        roles = answer.get(ROLES_CLAIM)
        if not isinstance(roles, dict) or ROLE not in roles:
            return f"it lacks the role {ROLE}, which its authorization in ZITADEL's console needs"
    return ""


# Writing files


def write(run: Run, file: Path, text: str) -> None:
    """Write the file whole or not at all, for its owner only; move an older one aside."""
    shown = f"{file.parent.name}/{file.name}"
    try:
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=".provision-")
        try:
            with open(descriptor, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            if os.path.lexists(file):
                aside, number = file.with_name(f"{file.name}.old"), 2
                while os.path.lexists(aside):
                    aside, number = file.with_name(f"{file.name}.old.{number}"), number + 1
                os.rename(file, aside)
                run.say("moved", f"{shown} to {aside.name}")
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ProvisionError(f"{file} can't be written ({type(error).__name__}).") from None
    run.say("written", shown)


def write_folder(run: Run, name: str, own: dict[str, str], key: str = "") -> None:
    """Write the folder's .env, and then its key file, whose owner the .env tells."""
    folder = run.folders[name]
    values = {"ZITADEL_DOMAIN": run.zitadel.domain, **own}
    if name in USERS:
        # The address of the API may have been changed by hand, and stays.
        kept = folder.get("API_BASE_URL") if folder.written_here else ""
        values["API_BASE_URL"] = kept or "http://localhost:5000"
    if folder.key_variable:
        values[folder.key_variable] = folder.files[1].name
    is_current = all(folder.values.get(variable) == value for variable, value in values.items())
    if not folder.written_here or not is_current:
        quoted = {v: values[v].replace("\\", "\\\\").replace("'", "\\'") for v in values}
        lines = [f"{MARKER}on {date.today()} for {run.zitadel.domain}"]
        lines += [f"{variable}='{value}'" for variable, value in quoted.items()]
        text = "\n".join(lines) + "\n"
        if dotenv_values(stream=io.StringIO(text), interpolate=False) != values:
            raise ProvisionError(f"A value for {folder.env_file} can't be written in a .env file.")
        write(run, folder.env_file, text)
    if key:
        write(run, folder.files[1], key)
    folder.read()


# The steps


def check_address(zitadel: Zitadel) -> None:
    """Check, before the administrator's token is sent, that ZITADEL answers under this domain."""
    answer = zitadel.send("/.well-known/openid-configuration")
    issuer = (json_object(answer) or {}).get("issuer")
    if answer.status_code != 200 or not isinstance(issuer, str):
        raise ProvisionError(
            f"{zitadel.domain} doesn't answer as ZITADEL does (status {answer.status_code}): is it "
            "the address of your ZITADEL?"
        )
    if issuer != zitadel.domain:
        raise ProvisionError(f"This ZITADEL's own address is {issuer!r}: give --domain that one.")
    try:
        ahead = time.time() - parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return
    if not -600 < ahead < 50:
        raise ProvisionError(
            f"This machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} "
            "ZITADEL's, which then refuses what is signed here: set it right first."
        )


def refuse_foreign_files(run: Run, project: Json | None) -> None:
    """Stop if a folder holds files that somebody else wrote and that don't fit this project."""
    project_id = text_in(project, "projectId") if project else ""
    for name, folder in run.folders.items():
        works = not folder.is_foreign
        if not works and project_id and name in APIS:
            works = api_works(run, name, find_application(run, project_id, name))
        elif not works and project_id:
            works = user_works(run, name, project_id, find_user(run, run.username(name)))
        if not works:
            raise ProvisionError(
                f"{folder.path} holds {' or '.join(file.name for file in folder.files)} that "
                "provision.py didn't write and that doesn't fit this project. Move it away, or "
                "let provision.py move it aside and write its own with --force."
            )


def provide_api(run: Run, project_id: str, name: str) -> None:
    """See to it that the API exists and that its folder holds credentials that work."""
    what, in_project = f"API {name}", {"projectId": project_id}
    body = {**in_project, "name": name, "apiConfiguration": {"authMethodType": APIS[name]}}
    application = ensure(
        run,
        what,
        lambda: find_application(run, project_id, name),
        f"{APPLICATIONS}/CreateApplication",
        body,
    )
    if what not in run.made and api_works(run, name, application):
        run.say("kept", f"{name}: its credentials work")
        return
    values = {"ZITADEL_INTROSPECTION_URL": f"{run.zitadel.domain}/oauth/v2/introspect"}
    if name == "api-basic-authentication":
        values["API_CLIENT_ID"] = text_in(application, "apiConfiguration", "clientId")
    owner = {**in_project, "applicationId": text_in(application, "applicationId")}
    make_credential(run, name, what, owner, values, "API_CLIENT_SECRET")


def provide_user(run: Run, project_id: str, name: str) -> None:
    """See to it that the service user exists, has the role, and that its folder's files work."""
    username = run.username(name)
    what, organization = f"service user {username}", {"organizationId": run.organization}
    user = ensure(
        run,
        what,
        lambda: find_user(run, username),
        f"{USER_SERVICE}/CreateUser",
        {**organization, "username": username, "machine": {"name": username}},
    )
    owner = {"userId": text_in(user, "id")}
    grant = {**owner, "projectId": project_id, **organization, "roleKeys": [ROLE]}
    add(run, f"role {ROLE} for {username}", f"{AUTHORIZATIONS}/CreateAuthorization", grant)
    if what not in run.made and user_works(run, name, project_id, user):
        run.say("kept", f"{name}: its credentials work")
        return
    values = {"PROJECT_ID": project_id}
    if name != "service-user-pat":
        values["ZITADEL_TOKEN_URL"] = f"{run.zitadel.domain}/oauth/v2/token"
    if name == "service-user-client-credentials":
        values["CLIENT_ID"] = username
    variable = "PERSONAL_ACCESS_TOKEN" if name == "service-user-pat" else "CLIENT_SECRET"
    make_credential(run, name, what, owner, values, variable)


def make_credential(
    run: Run, name: str, what: str, owner: dict[str, str], values: dict[str, str], variable: str
) -> None:
    """Let ZITADEL make a key, secret or token for `owner`, and write it into the folder."""
    kind, path, place = CREDENTIALS[name]
    if kind == "secret":  # the only kind that has no end, and of which there is only one
        if what not in run.made:
            run.say("note", f"a new secret of the {what} ends the one that it has now, if any")
        answer = run.zitadel.call_when_ready(path, owner)
    else:
        expiring = {**owner, "expirationDate": run.expiration}
        answer = run.zitadel.call_when_ready(path, expiring)
    run.say("created", f"{kind} of the {what}")
    run.made.add(f"{kind} of the {what}")
    credential = text_in(answer, place)
    if kind != "key":
        write_folder(run, name, {**values, variable: credential})
        return
    try:
        key_file = base64.b64decode(credential).decode()
        json.loads(key_file)
    except ValueError:
        raise ProvisionError(
            f"ZITADEL's {place} is no key file: its version may not fit."
        ) from None
    write_folder(run, name, values, key_file)


def prove_api(run: Run, name: str) -> Login:
    """Prove that ZITADEL accepts what lies in the API's folder; return how it authenticates."""
    login = api_login(run, name)
    if not login or wait(lambda: introspect(run, login, "x"), PROOF_SECONDS) is None:
        raise ProvisionError(f"ZITADEL doesn't accept the new credentials of {name}.")
    run.say("proved", f"{name}: ZITADEL lets it introspect tokens")
    return login


def prove_user(run: Run, project_id: str, name: str, logins: dict[str, Login]) -> None:
    """Prove that what lies in the service user's folder opens both APIs."""
    if not wait(lambda: not user_problem(run, name, project_id, logins), PROOF_SECONDS):
        problem = user_problem(run, name, project_id, logins) or "it works only now"
        raise ProvisionError(f"{name} didn't work within {PROOF_SECONDS} seconds: {problem}.")
    run.say("proved", f"{name}: its token is active for both APIs, with role {ROLE}")


def provision(run: Run, force: bool) -> None:
    """Create what is missing, write the files, and prove that they work."""
    project = find_project(run)
    if not force:
        refuse_foreign_files(run, project)
    what = f"project {run.project_name}"
    project = ensure(
        run,
        what,
        lambda: find_project(run),
        f"{PROJECTS}/CreateProject",
        {"organizationId": run.organization, "name": run.project_name},
    )
    project_id = text_in(project, "projectId")
    if what in run.made:  # so that a run after an interruption knows whose the project is
        token_url = f"{run.zitadel.domain}/oauth/v2/token"
        values = {"PROJECT_ID": project_id, "ZITADEL_TOKEN_URL": token_url}
        write_folder(run, "service-user-jwt", values)
    role = {"projectId": project_id, "roleKey": ROLE, "displayName": "Read messages"}
    add(run, f"role {ROLE}", f"{PROJECTS}/AddProjectRole", role)
    logins = {}
    for name in APIS:
        provide_api(run, project_id, name)
        logins[name] = prove_api(run, name)
    for name in USERS:
        provide_user(run, project_id, name)
    for name in USERS:
        prove_user(run, project_id, name, logins)


def delete(run: Run, yes: bool) -> None:
    """Show what is to be removed from ZITADEL, ask, and remove it."""
    project = find_project(run)
    users = {}
    if project or run.known_projects or run.use_existing_project:
        found = {run.username(name): find_user(run, run.username(name)) for name in USERS}
        users = {username: user for username, user in found.items() if user}
    if not project and not users:
        print(f"Nothing to delete: {run.zitadel.domain} has nothing that provision.py made here.")
        return
    print(f"This removes from {run.zitadel.domain}:")
    if project:
        print(f"  project {run.project_name} ({text_in(project, 'projectId')}) with all its APIs")
    for username, user in users.items():
        print(f"  service user {username} ({user['id']})")
    if not yes and not sys.stdin.isatty():
        raise ProvisionError("There is no terminal to ask at: confirm with --yes.")
    if not yes and input("Remove all of this? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ProvisionError("Not confirmed.")
    doomed = [
        (f"service user {username}", f"{USER_SERVICE}/DeleteUser", {"userId": user["id"]})
        for username, user in users.items()
    ]
    if project:  # last, since it tells a run after an interruption that this is ours
        body = {"projectId": text_in(project, "projectId")}
        doomed.append((f"project {run.project_name}", f"{PROJECTS}/DeleteProject", body))
    for what, path, body in doomed:
        try:
            run.zitadel.call(path, body)
            run.say("deleted", what)
        except NotFound:
            run.say("gone", what)
    # Until the lists show it too: a new run would else find what is gone.
    names = list(users)
    wait(lambda: not find_project(run) and not any(find_user(run, n) for n in names), LIST_SECONDS)
    print("The .env and key files in the folders are still there, but useless now.")


# The command line


def domain_of(text: str) -> str:
    """Return --domain as ZITADEL names itself: with its scheme, without a trailing slash."""
    domain = text.strip()
    if re.search(r"[<>…]|YOUR_|(^|//)your[-_]", domain):
        raise ProvisionError("--domain is still a placeholder: give the address of your ZITADEL.")
    try:
        if "://" not in domain:
            if urlsplit(f"//{domain}").hostname in LOOPBACK:
                raise ProvisionError(f"--domain needs a scheme here: is it http://{domain}?")
            domain = f"https://{domain}"
        url = urlsplit(domain)
        usable = url.scheme in ("http", "https") and url.hostname and (url.port or 1)
    except ValueError:
        usable = False
    if not usable or "@" in domain or re.search(r"[\s\\]", domain):
        raise ProvisionError("--domain is not an address such as https://example.zitadel.cloud.")
    if url.path.strip("/") or re.search(r"[?#]", domain):
        raise ProvisionError(
            "--domain has a path or a query: give only scheme and domain, such as "
            f"{url.scheme}://{url.netloc}."
        )
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        warning = f"warning: {domain} is not encrypted: everybody on the way can read the secrets."
        print(warning, file=sys.stderr)
    return f"{url.scheme}://{url.netloc.lower()}"


def administrator_token(file: Path | None) -> str:
    """Return the administrator's token from the file, or from ZITADEL_ADMIN_TOKEN."""
    source = str(file or "ZITADEL_ADMIN_TOKEN")
    try:
        text = file.read_text("utf-8-sig") if file else os.environ.get("ZITADEL_ADMIN_TOKEN", "")
    except (OSError, UnicodeDecodeError) as error:
        raise ProvisionError(f"{file} can't be read ({type(error).__name__}).") from None
    token = text.strip()
    if not token and not file:
        raise ProvisionError("Name a file with the administrator's token: --token-file admin.pat.")
    if not is_token(token):
        raise ProvisionError(f"{source} must hold a personal access token alone, on one line.")
    return token


def five_folders(directory: Path | None, create: bool) -> dict[str, Folder]:
    """Return the folders; those in a --directory are created, provision.py's own must be there."""
    root = directory or Path(__file__).resolve().parent
    folders = {}
    for name in (*APIS, *USERS):
        path = root / name
        try:
            if directory and create:
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProvisionError(f"{path} can't be created ({type(error).__name__}).") from None
        if create and not (path.is_dir() and os.access(path, os.W_OK)):
            raise ProvisionError(f"{path} is no folder that can be written to: see --directory.")
        folders[name] = Folder(path)
    return folders


def days(text: str) -> int:
    """Return a number of days from the command line."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 36500:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 36500")
    return int(text)


def project_name(text: str) -> str:
    """Return the project's name from the command line; the service users' names come from it."""
    name = text.strip()
    if not slug(name) or len(name) > 150 or not name.isprintable():
        raise argparse.ArgumentTypeError(
            "must be 1 to 150 characters with at least one letter a-z or digit"
        )
    return name


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description="Create in a ZITADEL all that the five folders need, and write their files.",
        epilog="Without --token-file, the token is taken from the variable ZITADEL_ADMIN_TOKEN.",
        allow_abbrev=False,
    )
    option = parser.add_argument
    option("--domain", required=True, help="ZITADEL's address: https://example.zitadel.cloud")
    option("--token-file", type=Path, help="file with an Org Owner's personal access token")
    option("--project-name", type=project_name, default=DEFAULT_PROJECT, help="default: Quotes")
    option("--expires-in-days", type=days, default=365, help="life of keys and PAT; default: 365")
    option("--directory", type=Path, help="where the five folders lie; created if missing")
    option("--use-existing-project", action="store_true", help="even if it wasn't made from here")
    option("--force", action="store_true", help="move files aside that provision.py didn't write")
    option("--delete", action="store_true", help="remove the project and the three service users")
    option("--yes", action="store_true", help="don't ask before deleting")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit status."""
    options = parse(arguments)
    say = Progress()
    try:
        zitadel = Zitadel(domain_of(options.domain), administrator_token(options.token_file))
        check_address(zitadel)
        organization = text_in(zitadel.call("/management/v1/orgs/me"), "org", "id")
        folders = five_folders(options.directory, create=not options.delete)
        run = Run(zitadel, say, folders, options.project_name, options.use_existing_project)
        run.organization = organization
        end = datetime.now(timezone.utc) + timedelta(days=options.expires_in_days)
        run.expiration = end.strftime("%Y-%m-%dT%H:%M:%SZ")
        if options.delete:
            delete(run, options.yes)
            return 0
        provision(run, options.force)
        where = f"cd {shlex.quote(str(options.directory))} && " if options.directory else ""
        print("\nAll works. Next, in two terminals:")
        print(f"  {where}cd api-jwt && flask --app server run")
        print(f"  {where}cd service-user-pat && python call-api-with-pat.py")
        return 0
    except ProvisionError as error:
        print(f"provision.py: {error}", file=sys.stderr)
        status = 2
    except (KeyboardInterrupt, EOFError):  # EOFError: Ctrl-D at the question
        print("\nprovision.py: interrupted.", file=sys.stderr)
        status = 130
    done = f"Done so far: {'; '.join(say.changes)}." if say.changes else "Nothing was changed."
    print(f"{done} It is safe to run it again: what exists is used.", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
