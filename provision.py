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
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlsplit

import jwt
import requests
from dotenv import dotenv_values

APIS = ("api-jwt", "api-basic-authentication")
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
LAG_SECONDS = 15  # how long ZITADEL may not know or not list what was just made
PROOF_SECONDS = 20  # how long a new credential may stay unknown
PROJECTS = "/zitadel.project.v2.ProjectService"
APPLICATIONS = "/zitadel.application.v2.ApplicationService"
USER_SERVICE = "/zitadel.user.v2.UserService"
AUTHORIZATIONS = "/zitadel.authorization.v2.AuthorizationService"
ONE_API = "its token is not yet active for both APIs"
NO_ROLE = f"it lacks the role {ROLE}, which its authorization in ZITADEL's console needs"

Json = dict[str, Any]
T = TypeVar("T")


class ProvisionError(Exception):
    """What went wrong, in sentences for the person who started this."""


class RefusedError(ProvisionError):
    """ZITADEL refused a call, so that it changed nothing."""


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
        """Return the answer to a call as the administrator: POST, or GET without a `body`.

        It is empty if ZITADEL has already what is to be created, or no longer what is to be
        deleted. It waits for what ZITADEL doesn't know yet, since that may have just been made.
        """
        deadline = time.monotonic() + LAG_SECONDS
        while True:
            answer = self.send(path, f"Bearer {self._token}", body=body)
            content = json_object(answer)
            if answer.status_code == 200:
                return content
            not_found = content.get("code") == "not_found"
            if answer.status_code == 409 or (not_found and "/Delete" in path):
                return {}
            may_pass = not_found or content.get("code") == "failed_precondition"
            forbidden = "membership not found" in str(content.get("message"))
            if not may_pass or forbidden or time.monotonic() > deadline:
                content["message"] = str(content.get("message")).replace(self._token, "…")
                raise refusal(path, answer.status_code, content)
            time.sleep(0.5)

    def send(
        self, path: str, authorization: str = "", *, body: Json | None = None, form: Any = None
    ) -> requests.Response:
        """Send one request; raise ProvisionError when no usable answer comes.

        With an `auth` that does nothing, requests doesn't look into ~/.netrc.
        """
        try:
            answer = self._session.request(
                "GET" if body is None and form is None else "POST",
                self.domain + path,
                json=body,
                data=form,
                headers={"Authorization": authorization} if authorization else {},
                auth=lambda request: request,
                timeout=TIMEOUTS,
                allow_redirects=False,
            )
        except (OSError, ValueError) as error:  # requests' own ones and a few that it lets through
            if "CERTIFICATE_VERIFY_FAILED" in str(error) or type(error) is OSError:
                raise ProvisionError(
                    f"The certificate of {self.domain} isn't trusted: name the file of its "
                    "authority in the variable REQUESTS_CA_BUNDLE."
                ) from None
            if isinstance(error, requests.exceptions.SSLError):
                raise ProvisionError(
                    f"{self.domain} doesn't speak https: is it http:// instead?"
                ) from None
            if isinstance(error, requests.Timeout):
                raise ProvisionError(f"{self.domain} didn't answer in time: try again.") from None
            raise ProvisionError(
                f"{self.domain} can't be reached ({type(error).__name__}): check the address, "
                "whether ZITADEL runs there, and the proxy if you have one."
            ) from None
        if 300 <= answer.status_code < 400:
            raise ProvisionError(
                f"{self.domain} answers with a redirect: give --domain the address where ZITADEL "
                "itself answers (https:// instead of http://, perhaps)."
            )
        if answer.status_code in (408, 429, 502, 503, 504):
            status = answer.status_code
            raise ProvisionError(f"{self.domain} can't answer at the moment (status {status}).")
        return answer


def refusal(path: str, status: int, content: Json) -> RefusedError:
    """Return the error that tells why ZITADEL refused the administrator's call."""
    name = path.rsplit("/", 1)[-1]
    message = content["message"]
    if status == 401:
        return RefusedError(
            "ZITADEL doesn't accept the administrator's token: it is wrong, expired, or of "
            "another ZITADEL. Make a new personal access token for its service user."
        )
    if status == 403 or "membership not found" in message:
        return RefusedError(
            "The administrator's token is valid, but its service user may not do this "
            f"({name}): make it an Org Owner in ZITADEL's console, under Organization."
        )
    if status == 404 and content.get("code") != "not_found":
        return RefusedError(
            f"This ZITADEL doesn't know the call {path}: it is too old for provision.py. "
            "Update it, or create everything by hand as the folders' READMEs say."
        )
    return RefusedError(f"ZITADEL refused {name} with status {status}: {message}")


class Folder:
    """One of the five folders, and what lies in it for the ZITADEL at `domain`."""

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

        What makes no sense, or is for another ZITADEL, counts as empty.
        """
        text = read_text(self.env_file)
        self.written_here = text.startswith(MARKER)
        values = dotenv_values(stream=io.StringIO(text), interpolate=False)
        self.values = {name: value or "" for name, value in values.items()}
        if self.get("ZITADEL_DOMAIN").rstrip("/") != self.domain:
            self.values = {}
        try:
            key = json.loads(read_text(self.path / self.get(self.key_variable)))
        except ValueError:
            key = None
        self.key: Json = key if isinstance(key, dict) else {}

    def get(self, name: str) -> str:
        """Return the .env's value of `name`, "" if it has none."""
        return self.values.get(name, "")

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
    organization: str
    project_name: str
    use_existing_project: bool
    expiration: str

    def __post_init__(self) -> None:
        """Note which projects are ours: those that the .env files written here name.

        Until a .env names a new project, the claim file does, which is written before the project
        is created: a run that was killed in between still knows it as its own.
        """
        folders = [folder for folder in self.folders.values() if folder.written_here]
        self.known_projects = {folder.get("PROJECT_ID") for folder in folders} - {""}
        self.claim_file = self.folders["service-user-jwt"].path / ".provision-project"
        self.claim = f"{self.zitadel.domain} {self.project_name}"

    def owns(self, project_id: str) -> bool:
        """Tell whether the project was made from here, or may be used all the same."""
        is_claimed = read_text(self.claim_file) == self.claim
        return self.use_existing_project or is_claimed or project_id in self.known_projects

    def username(self, name: str) -> str:
        """Return the user name: unlike projects' names, ZITADEL lets it exist only once."""
        return name if self.project_name == DEFAULT_PROJECT else f"{name}-{slug(self.project_name)}"


# Small helpers


def json_object(answer: requests.Response) -> Json:
    """Return the answer's JSON object, an empty one if it is something else."""
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def read_text(file: Path) -> str:
    """Return the file's text, "" if it isn't there."""
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def slug(name: str) -> str:
    """Return the name in lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


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
        if project["name"] != run.project_name or project["organizationId"] != run.organization:
            continue
        if run.owns(project["projectId"]):
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
        if application["name"] == name:
            return dict(application)
    return None


def find_user(run: Run, username: str) -> Json | None:
    """Return the service user's id as ZITADEL lists it."""
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
    run.say("created" if answer else "exists", what)
    return answer


def ensure(run: Run, what: str, find: Callable[[], Json | None], path: str, body: Json) -> Json:
    """Return what `find` finds, or create it."""
    if found := find():
        run.say("exists", what)
        return found
    if created := create(run, what, path, body):
        return created
    if found := wait(find, LAG_SECONDS):  # the lists lag behind
        return found
    raise ProvisionError(
        f"ZITADEL says that it has the {what}, but doesn't list it in your organization: "
        "another organization may have that name. Try again, or take another --project-name."
    )


# Using the credentials that lie in the files


def basic(client_id: str, secret: str) -> str:
    """Return the Authorization header, both form-url-encoded first (RFC 6749, section 2.3.1)."""
    credentials = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def assertion(folder: Folder, identity: str) -> str:
    """Return a JWT signed with the folder's key, "" if that can't be used."""
    key = folder.key
    now = int(time.time())
    try:
        name = key[identity]
        claims = {"iss": name, "sub": name, "aud": folder.domain, "iat": now - 60, "exp": now + 900}
        return jwt.encode(claims, key["key"], "RS256", headers={"kid": key["keyId"]})
    except (KeyError, TypeError, ValueError, jwt.PyJWTError):
        return ""


def introspect(run: Run, name: str, token: str) -> Json | None:
    """Return what ZITADEL tells the API about the token, None if it refuses the API itself."""
    folder = run.folders[name]
    form = {"token": token}
    authorization = ""
    if name == "api-jwt":
        form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        form["client_assertion"] = assertion(folder, "clientId")
    else:
        authorization = basic(folder.get("API_CLIENT_ID"), folder.get("API_CLIENT_SECRET"))
    answer = run.zitadel.send("/oauth/v2/introspect", authorization, form=form)
    return json_object(answer) if answer.status_code == 200 else None


def user_token(run: Run, name: str, project_id: str) -> str:
    """Return a token got with what lies in the service user's folder, "" if it is refused."""
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
    return str(json_object(answer).get("access_token", ""))


def api_problem(run: Run, name: str, project_id: str) -> str:
    """Return what keeps the folder's files from working as the project's API, or ""."""
    folder = run.folders[name]
    client_id = folder.key.get("clientId") if name == "api-jwt" else folder.get("API_CLIENT_ID")
    application = find_application(run, project_id, name)
    if not application or application["apiConfiguration"]["clientId"] != client_id:
        return "its files are for another API"
    if introspect(run, name, "x") is None:
        return "ZITADEL refuses its credentials (is this machine's clock right?)"
    return ""


def user_problem(run: Run, name: str, project_id: str) -> str:
    """Return what keeps the folder's files from working as the service user's, or ""."""
    token = user_token(run, name, project_id)
    if not token:
        return "ZITADEL gives no token for it (is this machine's clock right?)"
    user = find_user(run, run.username(name)) or {}
    answers = [introspect(run, api, token) for api in APIS]
    # Where the API itself is refused, which is repaired first, it can't tell about the token.
    told = [answer for answer in answers if answer is not None]
    is_active = [answer.get("sub", "") == user.get("id") for answer in told]
    if not any(is_active):
        return "its token is not active for the APIs, or another user's"
    if not all(is_active):
        return ONE_API
    if any(ROLE not in answer.get(ROLES_CLAIM, {}) for answer in told):
        return NO_ROLE
    return ""


def works(run: Run, name: str, project_id: str) -> bool:
    """Tell whether ZITADEL accepts the folder's files, even if the user's role isn't there yet."""
    if name in APIS:
        return not api_problem(run, name, project_id)
    return user_problem(run, name, project_id) in ("", NO_ROLE, ONE_API)


def prove(run: Run, name: str, project_id: str) -> None:
    """Wait until the folder's files work fully, and say so."""
    find_problem = api_problem if name in APIS else user_problem
    deadline = time.monotonic() + PROOF_SECONDS
    while problem := find_problem(run, name, project_id):
        if time.monotonic() > deadline:
            raise ProvisionError(f"{name} didn't work within {PROOF_SECONDS} seconds: {problem}.")
        time.sleep(0.5)
    user_proof = f"its token is active for both APIs, with role {ROLE}"
    run.say("proved", f"{name}: {'it may introspect tokens' if name in APIS else user_proof}")


# Writing files


def write(run: Run, file: Path, text: str) -> None:
    """Write the file whole or not at all, for its owner only; move an older one aside."""
    shown = f"{file.parent.name}/{file.name}"
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
    run.say("written", shown)


def write_folder(run: Run, name: str, own: dict[str, str], key: str = "") -> None:
    """Write the folder's .env, and then its key file, whose owner the .env tells."""
    folder = run.folders[name]
    values = {"ZITADEL_DOMAIN": folder.domain, **own}
    if name in USERS:
        # The address of the API may have been changed by hand, and stays.
        kept = folder.get("API_BASE_URL") if folder.written_here else ""
        values["API_BASE_URL"] = kept or "http://localhost:5000"
    if folder.key_variable:
        values[folder.key_variable] = folder.files[1].name
    is_current = all(folder.get(variable) == value for variable, value in values.items())
    if not folder.written_here or not is_current:
        lines = [f"{MARKER}on {date.today()} for {folder.domain}"]
        for variable, value in values.items():
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            lines.append(f"{variable}='{escaped}'")
        write(run, folder.env_file, "\n".join(lines) + "\n")
    if key:
        write(run, folder.files[1], key)
    folder.read()


# The steps


def check_address(zitadel: Zitadel) -> None:
    """Check, before the administrator's token is sent, that ZITADEL answers under this domain."""
    answer = zitadel.send("/.well-known/openid-configuration")
    if answer.status_code == 404 and "Instance not found" in answer.text:
        raise ProvisionError(
            f"A ZITADEL answers at {zitadel.domain}, but under another domain than its own: give "
            "--domain its external domain, such as localhost instead of 127.0.0.1."
        )
    issuer = json_object(answer).get("issuer")
    if answer.status_code != 200 or not issuer:
        raise ProvisionError(
            f"{zitadel.domain} doesn't answer as ZITADEL does (status {answer.status_code}): is it "
            "the address of your ZITADEL, and https:// or http:// as it should be?"
        )
    if issuer != zitadel.domain:
        raise ProvisionError(f"This ZITADEL's own address is {issuer!r}: give --domain that one.")


def check_foreign_files(run: Run, force: bool) -> None:
    """Stop if a folder holds files that somebody else wrote and that don't fit this project.

    With `force`, show what is to be moved aside instead.
    """
    project = find_project(run)
    for name, folder in run.folders.items():
        if folder.is_foreign and not (project and works(run, name, project["projectId"])):
            if not force:
                raise ProvisionError(
                    f"{folder.path} holds {' or '.join(file.name for file in folder.files)} that "
                    "provision.py didn't write and that doesn't fit this project. Move it away, or "
                    "let provision.py move it aside and write its own with --force."
                )
            for file in filter(os.path.lexists, folder.files):
                run.say("note", f"{name}/{file.name} is to be moved aside: it isn't from here")


def provide_project(run: Run) -> str:
    """See to it that the project exists and that a .env names it, and return its id."""
    if not find_project(run):
        run.claim_file.write_text(run.claim, encoding="utf-8")
    what = f"project {run.project_name}"
    body = {"organizationId": run.organization, "name": run.project_name}
    try:
        project = ensure(run, what, lambda: find_project(run), f"{PROJECTS}/CreateProject", body)
    except RefusedError:
        run.claim_file.unlink(missing_ok=True)
        raise
    project_id = str(project["projectId"])
    if read_text(run.claim_file) == run.claim:
        token_url = f"{run.zitadel.domain}/oauth/v2/token"
        values = {"PROJECT_ID": project_id, "ZITADEL_TOKEN_URL": token_url}
        write_folder(run, "service-user-jwt", values)
        run.claim_file.unlink()
    return project_id


def provide_api(run: Run, project_id: str, name: str) -> None:
    """See to it that the API exists and that its folder holds credentials that work."""
    method = "PRIVATE_KEY_JWT" if name == "api-jwt" else "BASIC"
    configuration = {"authMethodType": f"API_AUTH_METHOD_TYPE_{method}"}
    application = ensure(
        run,
        f"API {name}",
        lambda: find_application(run, project_id, name),
        f"{APPLICATIONS}/CreateApplication",
        {"projectId": project_id, "name": name, "apiConfiguration": configuration},
    )
    if works(run, name, project_id):
        run.say("kept", f"{name}: its credentials work")
        return
    owner = {"projectId": project_id, "applicationId": application["applicationId"]}
    values = {"ZITADEL_INTROSPECTION_URL": f"{run.zitadel.domain}/oauth/v2/introspect"}
    if name == "api-jwt":
        path = f"{APPLICATIONS}/CreateApplicationKey"
        body = {**owner, "expirationDate": run.expiration}
        answer = create(run, f"key of {name}", path, body)
        write_folder(run, name, values, base64.b64decode(answer["keyDetails"]).decode())
        return
    if f"created API {name}" not in run.say.changes:
        run.say("note", f"a new secret of {name} ends the one that it has now, if any")
    answer = create(run, f"secret of {name}", f"{APPLICATIONS}/GenerateClientSecret", owner)
    values["API_CLIENT_ID"] = application["apiConfiguration"]["clientId"]
    values["API_CLIENT_SECRET"] = answer["clientSecret"]
    write_folder(run, name, values)


def provide_user(run: Run, project_id: str, name: str) -> None:
    """See to it that the service user exists, has the role, and that its folder's files work."""
    username = run.username(name)
    organization = {"organizationId": run.organization}
    user = ensure(
        run,
        f"service user {username}",
        lambda: find_user(run, username),
        f"{USER_SERVICE}/CreateUser",
        {**organization, "username": username, "machine": {"name": username}},
    )
    owner = {"userId": user["id"]}
    grant = {**owner, "projectId": project_id, **organization, "roleKeys": [ROLE]}
    create(run, f"role {ROLE} for {username}", f"{AUTHORIZATIONS}/CreateAuthorization", grant)
    if works(run, name, project_id):
        run.say("kept", f"{name}: its credentials work")
        return
    expiring = {**owner, "expirationDate": run.expiration}
    values = {"PROJECT_ID": project_id}
    if name == "service-user-pat":
        path = f"{USER_SERVICE}/AddPersonalAccessToken"
        answer = create(run, f"access token of {username}", path, expiring)
        write_folder(run, name, {**values, "PERSONAL_ACCESS_TOKEN": answer["token"]})
        return
    values["ZITADEL_TOKEN_URL"] = f"{run.zitadel.domain}/oauth/v2/token"
    if name == "service-user-jwt":
        answer = create(run, f"key of {username}", f"{USER_SERVICE}/AddKey", expiring)
        write_folder(run, name, values, base64.b64decode(answer["keyContent"]).decode())
        return
    if f"created service user {username}" not in run.say.changes:
        run.say("note", f"a new secret of {username} ends the one that it has now, if any")
    answer = create(run, f"secret of {username}", f"{USER_SERVICE}/AddSecret", owner)
    secret = answer["clientSecret"]
    write_folder(run, name, {**values, "CLIENT_ID": username, "CLIENT_SECRET": secret})


def provision(run: Run, force: bool) -> None:
    """Create what is missing, write the files, and prove that they work."""
    for folder in run.folders.values():
        folder.path.mkdir(parents=True, exist_ok=True)
        if not os.access(folder.path, os.W_OK):
            raise ProvisionError(f"{folder.path} can't be written to: see --directory.")
    check_foreign_files(run, force)
    project_id = provide_project(run)
    role = {"projectId": project_id, "roleKey": ROLE, "displayName": "Read messages"}
    create(run, f"role {ROLE}", f"{PROJECTS}/AddProjectRole", role)
    for name in APIS:
        provide_api(run, project_id, name)
        prove(run, name, project_id)
    for name in USERS:
        provide_user(run, project_id, name)
        prove(run, name, project_id)


def delete(run: Run, yes: bool) -> None:
    """Show what is to be removed from ZITADEL, ask, and remove it."""
    project = find_project(run)
    doomed = []
    if project or run.known_projects or run.use_existing_project:
        for username in map(run.username, USERS):
            if user := find_user(run, username):
                what = f"service user {username} ({user['id']})"
                doomed.append((what, f"{USER_SERVICE}/DeleteUser", {"userId": user["id"]}))
    if project:  # last, since it tells a run after an interruption that this is ours
        body = {"projectId": project["projectId"]}
        what = f"project {run.project_name} ({project['projectId']}) with all its APIs"
        doomed.append((what, f"{PROJECTS}/DeleteProject", body))
    if not doomed:
        print(f"Nothing to delete: {run.zitadel.domain} has nothing that provision.py made here.")
        return
    print(f"This removes from {run.zitadel.domain}:")
    for what, _, _ in doomed:
        print(f"  {what}")
    if not yes and not sys.stdin.isatty():
        raise ProvisionError("There is no terminal to ask at: confirm with --yes.")
    if not yes and input("Remove all of this? [y/N] ").strip().lower() not in ("y", "yes"):
        raise ProvisionError("Not confirmed.")
    for what, path, body in doomed:
        run.zitadel.call(path, body)
        run.say("deleted", what)
    # Until the lists show it too: a new run would else find what is gone.
    names = [run.username(name) for name in USERS]
    wait(lambda: not find_project(run) and not any(find_user(run, n) for n in names), LAG_SECONDS)
    print("The .env and key files in the folders are still there, but useless now.")


# The command line


def domain_of(text: str) -> str:
    """Return --domain as ZITADEL names itself: with its scheme, without a trailing slash."""
    domain = text.strip().lower()
    if re.search(r"[<>…]|your_|(^|//)your-", domain):
        raise ProvisionError("--domain is still a placeholder: give the address of your ZITADEL.")
    has_scheme = "://" in domain
    try:
        url = urlsplit(domain if has_scheme else f"https://{domain}")
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s@\\]", domain):
        raise ProvisionError("--domain is not an address such as https://example.zitadel.cloud.")
    if not has_scheme and url.hostname in LOOPBACK:
        raise ProvisionError(f"--domain needs a scheme here: is it http://{domain}?")
    if url.path.strip("/") or url.query or url.fragment:
        raise ProvisionError(
            "--domain has a path or a query: give only scheme and domain, such as "
            f"{url.scheme}://{url.netloc}."
        )
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        warning = f"warning: {domain} is not encrypted: everybody on the way can read the secrets."
        print(warning, file=sys.stderr)
    return f"{url.scheme}://{url.netloc}"


def administrator_token(file: Path | None) -> str:
    """Return the administrator's token from the file, or from ZITADEL_ADMIN_TOKEN."""
    if file:
        token = file.read_text("utf-8-sig", errors="replace").strip()
    else:
        token = os.environ.get("ZITADEL_ADMIN_TOKEN", "").strip()
    if not token and not file:
        raise ProvisionError("Name a file with the administrator's token: --token-file admin.pat.")
    if not re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", token):  # RFC 6750, section 2.1
        source = file or "ZITADEL_ADMIN_TOKEN"
        raise ProvisionError(f"{source} must hold a personal access token alone, on one line.")
    return token


def days(text: str) -> int:
    """Return a number of days from the command line."""
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text):
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 99999")
    return int(text)


def project_name(text: str) -> str:
    """Return the project's name from the command line; the service users' names come from it."""
    if not slug(text):
        raise argparse.ArgumentTypeError("must have at least one letter a-z or digit")
    return text.strip()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description="Create in a ZITADEL all that the five folders need, and write their files.",
        epilog="Without --token-file, the token is taken from the variable ZITADEL_ADMIN_TOKEN.",
    )
    option = parser.add_argument
    option("--domain", required=True, help="ZITADEL's address: https://example.zitadel.cloud")
    option("--token-file", type=Path, help="file with an Org Owner's personal access token")
    option("--project-name", type=project_name, default=DEFAULT_PROJECT, help="default: Quotes")
    option("--expires-in-days", type=days, default=365, help="life of keys and PAT; default: 365")
    root = Path(__file__).resolve().parent
    option("--directory", type=Path, default=root, help="where the five folders lie or shall lie")
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
        end = datetime.now(timezone.utc) + timedelta(days=options.expires_in_days)
        run = Run(
            zitadel,
            say,
            {name: Folder(options.directory / name, zitadel.domain) for name in (*APIS, *USERS)},
            zitadel.call("/management/v1/orgs/me")["org"]["id"],
            options.project_name,
            options.use_existing_project,
            end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        if options.delete:
            delete(run, options.yes)
            return 0
        provision(run, options.force)
        print(f"\nAll works. Next, in two terminals, both in {options.directory}:")
        print("  cd api-jwt && flask --app server run  # again, if it is running already")
        print("  cd service-user-pat && python call-api-with-pat.py")
        return 0
    except ProvisionError as error:
        problem, status = str(error), 2
    except OSError as error:
        problem, status = f"{error.filename}: {error.strerror}.", 2
    except KeyError as error:
        problem, status = f"ZITADEL's answer lacks {error}: its version may not fit.", 2
    except (KeyboardInterrupt, EOFError):  # EOFError: Ctrl-D at the question
        problem, status = "interrupted.", 130
    print(f"provision.py: {problem}", file=sys.stderr)
    done = f"Done so far: {'; '.join(say.changes)}." if say.changes else "Nothing was changed."
    print(f"{done} It is safe to run it again: what exists is used.", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
