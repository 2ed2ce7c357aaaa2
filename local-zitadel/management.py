"""The management calls that provision.py makes, for an administrator's token."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timezone

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from answers import Json, RefusalError, call_error
from state import UNKNOWN_TOKEN, Application, Authorization, Key, Project, State, Token, User

MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
METHODS = {"API_AUTH_METHOD_TYPE_BASIC": False, "API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT": True}
LIST_LIMIT = 100


class Body:
    """The JSON object of a call, or a part of it, read with a check of each type."""

    def __init__(self, values: Json, name: str) -> None:
        self._values = values
        self.name = name

    def text(self, key: str, default: str | None = None) -> str:
        """Return the text under `key`: 1 to 200 characters unless it may be missing."""
        value = self._values.get(key)
        if value is None and default is not None:
            return default
        text = self._checked(key, "" if value is None else value)
        if not 1 <= len(text) <= 200:
            problem = "value length must be between 1 and 200 runes, inclusive"
            raise call_error("invalid_argument", f"invalid {self._place(key)}: {problem}")
        return text

    def texts(self, key: str) -> list[str]:
        """Return the list of texts under `key`."""
        return [self._checked(key, value) for value in self._list(key)]

    def part(self, key: str) -> Body | None:
        """Return the object under `key`, None if there is none."""
        value = self._values.get(key)
        return None if value is None else self._part(key, value)

    def parts(self, key: str) -> list[Body]:
        """Return the list of objects under `key`."""
        return [self._part(key, value) for value in self._list(key)]

    def only(self, known: str) -> Body:
        """Return the object under `known`; refuse any other, which nothing here looks at."""
        part = self.part(known)
        if part is None or len(self._values) != 1:
            raise call_error("unimplemented", f"local-zitadel knows only {known} in {self.name}")
        return part

    def moment(self, key: str) -> float | None:
        """Return the RFC 3339 time under `key` in Unix seconds, None if there is none."""
        if self._values.get(key) is None:
            return None
        match = MOMENT.fullmatch(self._checked(key, self._values[key]))
        try:
            if match:
                offset = match[3].replace("Z", "+00:00")
                moment = datetime.fromisoformat(match[1] + offset).timestamp()
                moment += float(match[2] or 0)
                timestamp(moment)  # fails beyond the year 9999
                return moment
        except (ValueError, OverflowError, OSError):
            pass
        raise call_error("invalid_argument", f"invalid {self._place(key)}: no RFC 3339 time")

    def _place(self, key: str) -> str:
        return f"{self.name}.{key[0].upper()}{key[1:]}"

    def _checked(self, key: str, value: object) -> str:
        # A lone surrogate, which JSON can carry, is no text that could be stored or hashed.
        if isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value):
            return value
        raise call_error("invalid_argument", f"invalid {self._place(key)}: it must be text")

    def _list(self, key: str) -> list[object]:
        value = self._values.get(key)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        raise call_error("invalid_argument", f"invalid {self._place(key)}: it must be a list")

    def _part(self, key: str, value: object) -> Body:
        if isinstance(value, dict):
            return Body(value, self._place(key))
        raise call_error("invalid_argument", f"invalid {self._place(key)}: it must be an object")


def check_admin(state: State, header: str) -> None:
    """Refuse a call whose Authorization header doesn't hold an administrator's token."""
    if not header:
        raise call_error("unauthenticated", "auth header missing")
    scheme, _, text = header.partition(" ")
    token = state.find_token(text)
    if scheme.lower() != "bearer":
        problem = "the Authorization header holds no bearer token"
    elif token is None:
        problem = UNKNOWN_TOKEN
    elif not token.is_personal:
        problem = "local-zitadel takes only a personal access token here"
    else:
        problem = token.problem()
    if token is None or problem:
        raise call_error("unauthenticated", "Errors.Token.Invalid", "AUTH-7fs1e", problem)
    if not token.user.is_admin:
        reason = f"user {token.user.id} is no administrator"
        raise call_error("not_found", "membership not found", "AUTHZ-cdgFk", reason)


def timestamp(moment: float | None = None) -> str:
    """Return a moment, now if none is given, as RFC 3339 has it."""
    date = datetime.fromtimestamp(time.time() if moment is None else moment, timezone.utc)
    return date.isoformat(timespec="microseconds").replace("+00:00", "Z")


def details(state: State, changed: float | None = None) -> Json:
    """Return the details that ZITADEL adds to some answers."""
    changed_at = timestamp(changed)
    return {"sequence": "1", "changeDate": changed_at, "resourceOwner": state.organization_id}


def my_organization(state: State) -> Json:
    """Answer GET /management/v1/orgs/me."""
    created = {"creationDate": timestamp(state.created)}
    organization = {
        "id": state.organization_id,
        "details": {**details(state, state.created), **created},
        "state": "ORG_STATE_ACTIVE",
        "name": state.organization_name,
        "primaryDomain": state.organization_domain,
    }
    return {"org": organization}


# Finding what a call is about


def check_organization(state: State, body: Body) -> None:
    """Refuse any organization but the one there is."""
    if body.text("organizationId") != state.organization_id:
        raise call_error("not_found", "Organization not found")


def project_of(state: State, body: Body) -> Project:
    """Return the project that the call names."""
    if project := state.projects.get(body.text("projectId")):
        return project
    raise call_error("failed_precondition", "Project not found", "COMMAND-EbFMN")


def application_of(state: State, body: Body) -> Application:
    """Return the application that the call names."""
    application = state.applications.get(body.text("applicationId"))
    if application and application.project.id == body.text("projectId"):
        return application
    raise call_error("not_found", "Application not found")


def user_of(state: State, body: Body) -> User:
    """Return the user that the call names."""
    if user := state.users.get(body.text("userId")):
        return user
    raise call_error("not_found", "User could not be found", "COMMAND-bd4ir1mblj")


def exists_already(what: str) -> RefusalError:
    """Return the refusal to make something a second time."""
    return call_error("already_exists", f"{what} already exists", "V3-DKcYh")


def end_of(body: Body, is_required_by_schema: bool = True) -> float:
    """Return the expirationDate that the call gives, which must be ahead."""
    expires = body.moment("expirationDate")
    if expires is None and is_required_by_schema:
        message = f"invalid {body.name}.ExpirationDate: value is required"
        raise call_error("invalid_argument", message)
    if expires is None or expires <= time.time():
        raise call_error("invalid_argument", "Errors.AuthNKey.ExpireBeforeNow", "DOMAIN-dv3t5")
    return expires


def wanted_name(query: Body, key: str, prefix: str) -> str:
    """Return the name that a list is filtered by."""
    equals = f"{prefix}_METHOD_EQUALS"
    if query.text("method", equals) != equals:
        raise call_error("unimplemented", f"local-zitadel knows only {equals}")
    return query.text(key)


def add_key(state: State, owner: Application | User, expires: float) -> tuple[Key, str]:
    """Make a key pair; keep the public half and return it with the private one."""
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    key = Key(state.new_id(), owner, private_key.public_key(), expires)
    state.keys[key.id] = key
    return key, pem.decode()


def encoded(key_file: Json) -> str:
    """Return a key file as the answers carry it."""
    return base64.b64encode(json.dumps(key_file).encode()).decode()


# Projects and applications


def create_project(state: State, body: Body) -> Json:
    """Make a project, whose name must be new."""
    check_organization(state, body)
    name = body.text("name")
    if any(project.name == name for project in state.projects.values()):
        message = "Project already exists on organization"
        raise call_error("already_exists", message, "V3-DKcYh")
    project = Project(state.new_id(), name, time.time())
    state.projects[project.id] = project
    return {"projectId": project.id, "creationDate": timestamp(project.created)}


def list_projects(state: State, body: Body) -> Json:
    """List the projects, or the one with a name."""
    projects = list(state.projects.values())
    for query in body.parts("filters"):
        name = wanted_name(query.only("projectNameFilter"), "projectName", "TEXT_FILTER")
        projects = [project for project in projects if project.name == name]
    listed = [
        {
            "projectId": project.id,
            "organizationId": state.organization_id,
            "creationDate": timestamp(project.created),
            "changeDate": timestamp(project.created),
            "name": project.name,
            "state": "PROJECT_STATE_ACTIVE",
        }
        for project in projects
    ]
    return page("projects", listed)


def page(name: str, listed: list[Json]) -> Json:
    """Return a list in an answer, newest first; like ZITADEL without what is zero or empty."""
    pagination = {"appliedLimit": str(LIST_LIMIT)}
    if not listed:
        return {"pagination": pagination}
    pagination["totalResult"] = str(len(listed))
    return {"pagination": pagination, name: listed[::-1][:LIST_LIMIT]}


def delete_project(state: State, body: Body) -> Json:
    """Remove a project; one that isn't there is no mistake."""
    if project := state.projects.get(body.text("projectId")):
        state.delete_project(project)
    return {"deletionDate": timestamp()}


def add_project_role(state: State, body: Body) -> Json:
    """Add a role to a project."""
    project = project_of(state, body)
    role = body.text("roleKey")
    if role in project.roles:
        raise exists_already("Role")
    project.roles[role] = body.text("displayName")
    return {"creationDate": timestamp()}


def create_application(state: State, body: Body) -> Json:
    """Make an API, with a secret if that is how it authenticates."""
    configuration = body.part("apiConfiguration")
    if configuration is None:
        raise call_error("unimplemented", "local-zitadel knows only APIs as applications")
    method = configuration.text("authMethodType", "API_AUTH_METHOD_TYPE_BASIC")
    if method not in METHODS:
        raise call_error("invalid_argument", f"invalid {configuration.name}.AuthMethodType")
    project = project_of(state, body)
    name = body.text("name")
    if any(a.project is project and a.name == name for a in state.applications.values()):
        raise exists_already("Application")
    now = time.time()
    application = Application(
        state.new_id(), state.new_id(), name, project, METHODS[method], now, now
    )
    state.applications[application.id] = application
    answer = {"clientId": application.client_id}
    if not application.uses_key:
        answer["clientSecret"] = state.add_secret(application)
    created = {"applicationId": application.id, "creationDate": timestamp(now)}
    return {**created, "apiConfiguration": answer}


def list_applications(state: State, body: Body) -> Json:
    """List the applications, or those of a project."""
    applications = list(state.applications.values())
    for query in body.parts("filters"):
        project_id = query.only("projectIdFilter").text("projectId")
        applications = [a for a in applications if a.project.id == project_id]
    listed = []
    for application in applications:
        configuration = {"clientId": application.client_id}
        if application.uses_key:
            configuration["authMethodType"] = "API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT"
        listed.append(
            {
                "applicationId": application.id,
                "creationDate": timestamp(application.created),
                "changeDate": timestamp(application.changed),
                "state": "APPLICATION_STATE_ACTIVE",
                "name": application.name,
                "apiConfiguration": configuration,
            }
        )
    return page("applications", listed)


def delete_application(state: State, body: Body) -> Json:
    """Remove an application."""
    state.delete_application(application_of(state, body))
    return {"deletionDate": timestamp()}


def generate_client_secret(state: State, body: Body) -> Json:
    """Give an API a new secret, which ends the one before."""
    application = application_of(state, body)
    if application.uses_key:
        raise call_error("failed_precondition", "This application authenticates with a key")
    secret = state.add_secret(application)
    return {"clientSecret": secret, "creationDate": timestamp(application.changed)}


def create_application_key(state: State, body: Body) -> Json:
    """Make a key for an API."""
    application = application_of(state, body)
    if not application.uses_key:
        raise call_error("failed_precondition", "This application authenticates with a secret")
    key, pem = add_key(state, application, end_of(body, is_required_by_schema=False))
    key_file = {
        "type": "application",
        "keyId": key.id,
        "key": pem,
        "appId": application.id,
        "clientId": application.client_id,
    }
    return {"keyId": key.id, "creationDate": timestamp(), "keyDetails": encoded(key_file)}


# Users and authorizations


def create_user(state: State, body: Body) -> Json:
    """Make a service user, whose name must be new."""
    check_organization(state, body)
    machine = body.part("machine")
    if machine is None:
        raise call_error("unimplemented", "local-zitadel knows only service users")
    username, name = body.text("username"), machine.text("name")
    if state.user_named(username):
        raise exists_already("User")
    user = state.add_user(username, name)
    return {"id": user.id, "creationDate": timestamp(user.created)}


def list_users(state: State, body: Body) -> Json:
    """List the service users, or the one with a name."""
    users = list(state.users.values())
    for query in body.parts("queries"):
        name = wanted_name(query.only("userNameQuery"), "userName", "TEXT_QUERY")
        users = [user for user in users if user.username == name]
    listed: list[Json] = [
        {
            "userId": user.id,
            "details": {
                **details(state, user.changed),
                "creationDate": timestamp(user.created),
            },
            "state": "USER_STATE_ACTIVE",
            "username": user.username,
            "loginNames": [user.username],
            "preferredLoginName": user.username,
            "machine": {"name": user.name},
        }
        for user in users
    ]
    found = {"timestamp": timestamp()}
    if not listed:
        return {"details": found}
    return {"details": {**found, "totalResult": str(len(listed))}, "result": listed[::-1]}


def delete_user(state: State, body: Body) -> Json:
    """Remove a user."""
    state.delete_user(user_of(state, body))
    return {"details": details(state)}


def add_user_key(state: State, body: Body) -> Json:
    """Make a key for a service user."""
    expires = end_of(body)
    user = user_of(state, body)
    key, pem = add_key(state, user, expires)
    key_file = {
        "type": "serviceaccount",
        "keyId": key.id,
        "key": pem,
        "expirationDate": timestamp(expires),
        "userId": user.id,
    }
    return {"creationDate": timestamp(), "keyId": key.id, "keyContent": encoded(key_file)}


def remove_user_key(state: State, body: Body) -> Json:
    """Remove a service user's key."""
    user = user_of(state, body)
    key = state.keys.get(body.text("keyId"))
    if key is None or key.owner is not user or key.removed:
        raise call_error("not_found", "Key not found")
    key.removed = "the key was removed"
    return {"deletionDate": timestamp()}


def add_secret(state: State, body: Body) -> Json:
    """Give a service user a new secret, which ends the one before."""
    user = user_of(state, body)
    secret = state.add_secret(user)
    return {"creationDate": timestamp(user.changed), "clientSecret": secret}


def add_personal_access_token(state: State, body: Body) -> Json:
    """Make a personal access token for a service user."""
    expires = end_of(body)
    token = Token(state.new_id(), user_of(state, body), time.time(), expires, is_personal=True)
    text = state.add_token(token)
    return {"creationDate": timestamp(token.issued), "tokenId": token.id, "token": text}


def remove_personal_access_token(state: State, body: Body) -> Json:
    """Remove a service user's personal access token."""
    user, token_id = user_of(state, body), body.text("tokenId")
    for token in state.tokens.values():
        if token.is_personal and token.user is user and token.id == token_id and not token.removed:
            token.removed = "the personal access token was removed"
            return {"deletionDate": timestamp()}
    raise call_error("not_found", "Personal access token not found")


def create_authorization(state: State, body: Body) -> Json:
    """Give a user roles in a project."""
    check_organization(state, body)
    user, project = user_of(state, body), project_of(state, body)
    roles = body.texts("roleKeys")
    if any(role not in project.roles for role in roles):
        message = "Errors.Project.Role.NotFound"
        raise call_error("failed_precondition", message, "COMMAND-mm9F4")
    if any(a.user is user and a.project is project for a in state.authorizations.values()):
        raise exists_already("User grant")
    authorization = Authorization(state.new_id(), user, project, roles)
    state.authorizations[authorization.id] = authorization
    return {"id": authorization.id, "creationDate": timestamp()}


def delete_authorization(state: State, body: Body) -> Json:
    """Remove a user's roles; an authorization that isn't there is no mistake."""
    state.authorizations.pop(body.text("id"), None)
    return {"deletionDate": timestamp()}


Call = Callable[[State, Body], Json]
CALLS: dict[str, dict[str, Call]] = {
    "zitadel.project.v2.ProjectService": {
        "AddProjectRole": add_project_role,
        "CreateProject": create_project,
        "DeleteProject": delete_project,
        "ListProjects": list_projects,
    },
    "zitadel.application.v2.ApplicationService": {
        "CreateApplication": create_application,
        "CreateApplicationKey": create_application_key,
        "DeleteApplication": delete_application,
        "GenerateClientSecret": generate_client_secret,
        "ListApplications": list_applications,
    },
    "zitadel.user.v2.UserService": {
        "AddKey": add_user_key,
        "AddPersonalAccessToken": add_personal_access_token,
        "AddSecret": add_secret,
        "CreateUser": create_user,
        "DeleteUser": delete_user,
        "ListUsers": list_users,
        "RemoveKey": remove_user_key,
        "RemovePersonalAccessToken": remove_personal_access_token,
    },
    "zitadel.authorization.v2.AuthorizationService": {
        "CreateAuthorization": create_authorization,
        "DeleteAuthorization": delete_authorization,
    },
}
