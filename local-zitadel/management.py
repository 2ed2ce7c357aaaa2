"""The management calls that provision.py makes, for an administrator's token."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from state import (
    ORGANIZATION_DOMAIN,
    ORGANIZATION_NAME,
    Application,
    Authorization,
    Json,
    Key,
    Project,
    RefusalError,
    State,
    Token,
    User,
    json_object,
)

PROJECTS = "zitadel.project.v2.ProjectService"
APPLICATIONS = "zitadel.application.v2.ApplicationService"
USERS = "zitadel.user.v2.UserService"
AUTHORIZATIONS = "zitadel.authorization.v2.AuthorizationService"
EXISTS = "V3-DKcYh"
BASIC = "API_AUTH_METHOD_TYPE_BASIC"
PRIVATE_KEY_JWT = "API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT"
TOKEN_TYPES = {"ACCESS_TOKEN_TYPE_BEARER": False, "ACCESS_TOKEN_TYPE_JWT": True}
# What isn't listed is a 400.
STATUSES = {"already_exists": 409, "not_found": 404, "unauthenticated": 401}
Call = Callable[[State, Json], Json]
# By service and name: each call with the fields that it needs.
CALLS: dict[tuple[str, str], tuple[Call, tuple[str, ...]]] = {}


def call(service: str, name: str, *needed: str) -> Callable[[Call], Call]:
    """Make the function below the answer to a call."""

    def register(function: Call) -> Call:
        CALLS[service, name] = (function, needed)
        return function

    return register


def answer(state: State, service: str, name: str, header: str, content: bytes) -> Json:
    """Check who calls and what with, and answer."""
    check_admin(state, header)
    function, needed = CALLS[service, name]
    fields = json_object(content)
    if fields is None:
        raise call_error("invalid_argument", "the body must be a JSON object")
    for path in needed:
        check_field(f"{name}Request", fields, path)
    if "organizationId" in needed and fields["organizationId"] != state.organization_id:
        raise call_error("not_found", "Organization not found")
    return function(state, fields)


def check_field(name: str, fields: Json, path: str) -> None:
    """Refuse a call in which a field is missing or of the wrong type."""
    value: Any = fields
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
        name += f".{step[0].upper()}{step[1:]}"
    if value is None:
        raise call_error("invalid_argument", f"invalid {name}: value is required")
    if not isinstance(value, list if path == "roleKeys" else str) or not 1 <= len(value) <= 200:
        problem = "value length must be between 1 and 200 runes, inclusive"
        raise call_error("invalid_argument", f"invalid {name}: {problem}")


def call_error(code: str, message: str, identifier: str = "", reason: str = "") -> RefusalError:
    """Return a refusal as the management calls have it."""
    body: Json = {"code": code, "message": message}
    if identifier:
        # The same detail once more as protocol buffer: field 1 the identifier, field 2 the message.
        texts = (b"\x0a", identifier.encode()), (b"\x12", message.encode())
        detail = b"".join(tag + bytes([len(text)]) + text for tag, text in texts)
        body["message"] = f"{message} ({identifier})"
        body["details"] = [
            {
                "type": "zitadel.v1.ErrorDetail",
                "value": base64.b64encode(detail).decode().rstrip("="),
                "debug": {"id": identifier, "message": message},
            }
        ]
    return RefusalError(STATUSES.get(code, 400), body, reason or message)


def check_admin(state: State, header: str) -> None:
    """Refuse a call whose Authorization header doesn't hold an administrator's token."""
    if not header:
        raise call_error("unauthenticated", "auth header missing")
    scheme, _, text = header.partition(" ")
    token, problem = state.find_token(text if scheme.lower() == "bearer" else "")
    if token is None or problem:
        raise call_error("unauthenticated", "Errors.Token.Invalid", "AUTH-7fs1e", problem)
    if not token.user.is_admin:
        reason = f"user {token.user.id} is no administrator"
        raise call_error("not_found", "membership not found", "AUTHZ-cdgFk", reason)


def timestamp(moment: float | None = None) -> str:
    """Return a moment, now if none is given, as RFC 3339 has it."""
    date = datetime.fromtimestamp(time.time() if moment is None else moment, timezone.utc)
    return date.isoformat(timespec="microseconds").replace("+00:00", "Z")


def details(state: State, moment: float) -> Json:
    """Return the details that ZITADEL adds to some answers."""
    changed = timestamp(moment)
    return {"sequence": "1", "changeDate": changed, "resourceOwner": state.organization_id}


def my_organization(state: State) -> Json:
    """Answer GET /management/v1/orgs/me."""
    created = {"creationDate": timestamp(state.created)}
    organization = {
        "id": state.organization_id,
        "details": {**details(state, state.created), **created},
        "state": "ORG_STATE_ACTIVE",
        "name": ORGANIZATION_NAME,
        "primaryDomain": ORGANIZATION_DOMAIN,
    }
    return {"org": organization}


def change_machine(state: State, user_id: str, content: bytes) -> Json:
    """Answer PUT /management/v1/users/{id}/machine: set the name and the kind of access tokens."""
    user, fields = user_of(state, {"userId": user_id}), json_object(content) or {}
    check_field("UpdateMachineRequest", fields, "name")
    kind = fields.get("accessTokenType", "ACCESS_TOKEN_TYPE_BEARER")
    if kind not in list(TOKEN_TYPES):
        raise call_error("invalid_argument", "the accessTokenType is unknown")
    user.name, user.gets_jwts = fields["name"], TOKEN_TYPES[kind]
    return {"details": details(state, time.time())}


# What several calls need


def project_of(state: State, fields: Json) -> Project:
    """Return the project that the call names."""
    if project := state.projects.get(fields["projectId"]):
        return project
    raise call_error("failed_precondition", "Project not found", "COMMAND-EbFMN")


def application_of(state: State, fields: Json, uses_key: bool | None = None) -> Application:
    """Return the application that the call names, refused if it authenticates otherwise."""
    application = state.applications.get(fields["applicationId"])
    if not application or application.project.id != fields["projectId"]:
        raise call_error("not_found", "Application not found")
    if uses_key not in (None, application.uses_key):
        raise call_error("failed_precondition", "This application authenticates otherwise")
    return application


def user_of(state: State, fields: Json) -> User:
    """Return the user that the call names."""
    if user := state.users.get(fields["userId"]):
        return user
    raise call_error("not_found", "User could not be found", "COMMAND-bd4ir1mblj")


def roles_of(project: Project, fields: Json) -> list[str]:
    """Return the roles that the call gives, which the project must have."""
    roles: list[str] = fields["roleKeys"]
    if any(role not in project.roles for role in roles):
        message = "Errors.Project.Role.NotFound"
        raise call_error("failed_precondition", message, "COMMAND-mm9F4")
    return roles


def end_of(fields: Json) -> float:
    """Return the expirationDate that the call gives, which must be ahead."""
    try:
        date = datetime.fromisoformat(fields["expirationDate"].replace("Z", "+00:00"))
    except ValueError:
        date = None
    if date is None or date.tzinfo is None:
        raise call_error("invalid_argument", "the expirationDate is no RFC 3339 time")
    if date.timestamp() <= time.time():
        raise call_error("invalid_argument", "Errors.AuthNKey.ExpireBeforeNow", "DOMAIN-dv3t5")
    return date.timestamp()


def wanted(fields: Json, kind: str, name: str, key: str) -> str | None:
    """Return what a list is filtered by, by this one filter if at all; None for the whole list."""
    if kind not in fields:
        return None
    try:
        [query] = fields[kind]
        value = query[name][key]
    except (KeyError, TypeError, ValueError):
        value = None
    if isinstance(value, str):
        return value
    raise call_error("invalid_argument", f"local-zitadel lists only by one {name} with a {key}")


def page(name: str, listed: list[Json]) -> Json:
    """Return a list in an answer, newest first; like ZITADEL without what is zero or empty."""
    if not listed:
        return {"pagination": {"appliedLimit": "100"}}
    pagination = {"appliedLimit": "100", "totalResult": str(len(listed))}
    return {"pagination": pagination, name: listed[::-1]}


def add_key(
    state: State, owner: Application | User, fields: Json, content: str, rest: Json
) -> Json:
    """Make a key pair; keep the public half and answer with a key file under `content`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    key_id = state.new_id()
    state.keys[key_id] = Key(key_id, owner, key.public_key(), end_of(fields))
    key_file = json.dumps({"keyId": key_id, "key": pem.decode(), **rest}).encode()
    encoded = base64.b64encode(key_file).decode()
    return {"keyId": key_id, "creationDate": timestamp(), content: encoded}


# Projects and applications


@call(PROJECTS, "CreateProject", "organizationId", "name")
def create_project(state: State, fields: Json) -> Json:
    """Make a project, whose name must be new."""
    if any(project.name == fields["name"] for project in state.projects.values()):
        message = "Project already exists on organization"
        raise call_error("already_exists", message, EXISTS)
    project = Project(state.new_id(), fields["name"])
    state.projects[project.id] = project
    return {"projectId": project.id, "creationDate": timestamp(project.created)}


@call(PROJECTS, "ListProjects")
def list_projects(state: State, fields: Json) -> Json:
    """List the project with a name, or all."""
    name = wanted(fields, "filters", "projectNameFilter", "projectName")
    listed = [
        {
            "projectId": project.id,
            "organizationId": state.organization_id,
            "creationDate": timestamp(project.created),
            "changeDate": timestamp(project.created),
            "name": project.name,
            "state": "PROJECT_STATE_ACTIVE",
        }
        for project in state.projects.values()
        if name in (None, project.name)
    ]
    return page("projects", listed)


@call(PROJECTS, "DeleteProject", "projectId")
def delete_project(state: State, fields: Json) -> Json:
    """Remove a project; one that isn't there is no mistake."""
    if project := state.projects.get(fields["projectId"]):
        state.delete(project)
    return {"deletionDate": timestamp()}


@call(PROJECTS, "AddProjectRole", "projectId", "roleKey", "displayName")
def add_project_role(state: State, fields: Json) -> Json:
    """Add a role to a project."""
    project = project_of(state, fields)
    if fields["roleKey"] in project.roles:
        raise call_error("already_exists", "Role already exists", EXISTS)
    project.roles.append(fields["roleKey"])
    return {"creationDate": timestamp()}


@call(APPLICATIONS, "CreateApplication", "projectId", "name", "apiConfiguration.authMethodType")
def create_application(state: State, fields: Json) -> Json:
    """Make an API, with a secret if that is how it authenticates."""
    method, name = fields["apiConfiguration"]["authMethodType"], fields["name"]
    if method not in (BASIC, PRIVATE_KEY_JWT):
        raise call_error("invalid_argument", "the authMethodType is unknown")
    project = project_of(state, fields)
    if any(a.project is project and a.name == name for a in state.applications.values()):
        raise call_error("already_exists", "Application already exists", EXISTS)
    uses_key = method == PRIVATE_KEY_JWT
    application = Application(state.new_id(), state.new_id(), name, project, uses_key)
    state.applications[application.id] = application
    configuration = {"clientId": application.client_id}
    if not uses_key:
        configuration["clientSecret"] = state.add_secret(application)
    created = {"applicationId": application.id, "creationDate": timestamp(application.created)}
    return {**created, "apiConfiguration": configuration}


@call(APPLICATIONS, "ListApplications")
def list_applications(state: State, fields: Json) -> Json:
    """List the applications of a project, or all."""
    project_id = wanted(fields, "filters", "projectIdFilter", "projectId")
    listed = []
    for application in state.applications.values():
        if project_id not in (None, application.project.id):
            continue
        configuration = {"clientId": application.client_id}
        if application.uses_key:
            configuration["authMethodType"] = PRIVATE_KEY_JWT
        listed.append(
            {
                "applicationId": application.id,
                "creationDate": timestamp(application.created),
                "changeDate": timestamp(application.created),
                "state": "APPLICATION_STATE_ACTIVE",
                "name": application.name,
                "apiConfiguration": configuration,
            }
        )
    return page("applications", listed)


@call(APPLICATIONS, "DeleteApplication", "projectId", "applicationId")
def delete_application(state: State, fields: Json) -> Json:
    """Remove an application."""
    state.delete(application_of(state, fields))
    return {"deletionDate": timestamp()}


@call(APPLICATIONS, "GenerateClientSecret", "projectId", "applicationId")
def generate_client_secret(state: State, fields: Json) -> Json:
    """Give an API a new secret, which ends the one before."""
    secret = state.add_secret(application_of(state, fields, uses_key=False))
    return {"clientSecret": secret, "creationDate": timestamp()}


@call(APPLICATIONS, "CreateApplicationKey", "projectId", "applicationId", "expirationDate")
def create_application_key(state: State, fields: Json) -> Json:
    """Make a key for an API."""
    application = application_of(state, fields, uses_key=True)
    owner = {"appId": application.id, "clientId": application.client_id}
    return add_key(state, application, fields, "keyDetails", {"type": "application", **owner})


# Users and authorizations


@call(USERS, "CreateUser", "organizationId", "username", "machine.name")
def create_user(state: State, fields: Json) -> Json:
    """Make a service user, whose name must be new."""
    if state.user_named(fields["username"]):
        raise call_error("already_exists", "User already exists", EXISTS)
    user = state.add_user(fields["username"], fields["machine"]["name"])
    return {"id": user.id, "creationDate": timestamp(user.created)}


@call(USERS, "ListUsers")
def list_users(state: State, fields: Json) -> Json:
    """List the service user with a name, or all."""
    name = wanted(fields, "queries", "userNameQuery", "userName")
    listed = [
        {
            "userId": user.id,
            "details": details(state, user.created) | {"creationDate": timestamp(user.created)},
            "state": "USER_STATE_ACTIVE" if user.is_active else "USER_STATE_INACTIVE",
            "username": user.username,
            "loginNames": [user.username],
            "preferredLoginName": user.username,
            "machine": {"name": user.name},
        }
        for user in state.users.values()
        if name in (None, user.username)
    ]
    if not listed:
        return {"details": {"timestamp": timestamp()}}
    total = {"timestamp": timestamp(), "totalResult": str(len(listed))}
    return {"details": total, "result": listed}


@call(USERS, "DeleteUser", "userId")
def delete_user(state: State, fields: Json) -> Json:
    """Remove a user."""
    state.delete(user_of(state, fields))
    return {"details": details(state, time.time())}


@call(USERS, "DeactivateUser", "userId")
def deactivate_user(state: State, fields: Json) -> Json:
    """Deactivate a user, which ends its tokens too."""
    user_of(state, fields).is_active = False
    return {"details": details(state, time.time())}


@call(USERS, "AddKey", "userId", "expirationDate")
def add_user_key(state: State, fields: Json) -> Json:
    """Make a key for a service user."""
    user = user_of(state, fields)
    owner = {"expirationDate": fields["expirationDate"], "userId": user.id}
    return add_key(state, user, fields, "keyContent", {"type": "serviceaccount", **owner})


@call(USERS, "RemoveKey", "userId", "keyId")
def remove_user_key(state: State, fields: Json) -> Json:
    """Remove a service user's key."""
    key = state.keys.get(fields["keyId"])
    if key is None or key.owner is not user_of(state, fields) or key.removed:
        raise call_error("not_found", "Key not found")
    key.removed = "the key was removed"
    return {"deletionDate": timestamp()}


@call(USERS, "AddSecret", "userId")
def add_secret(state: State, fields: Json) -> Json:
    """Give a service user a new secret, which ends the one before."""
    secret = state.add_secret(user_of(state, fields))
    return {"creationDate": timestamp(), "clientSecret": secret}


@call(USERS, "AddPersonalAccessToken", "userId", "expirationDate")
def add_personal_access_token(state: State, fields: Json) -> Json:
    """Make a personal access token for a service user."""
    token = Token(state.new_id(), user_of(state, fields), end_of(fields), is_personal=True)
    text = state.add_token(token)
    return {"creationDate": timestamp(token.issued), "tokenId": token.id, "token": text}


@call(USERS, "RemovePersonalAccessToken", "userId", "tokenId")
def remove_personal_access_token(state: State, fields: Json) -> Json:
    """Remove a service user's personal access token."""
    user = user_of(state, fields)
    for token in state.tokens.values():
        if token.is_personal and token.user is user and token.id == fields["tokenId"]:
            token.removed = "the personal access token was removed"
            return {"deletionDate": timestamp()}
    raise call_error("not_found", "Personal access token not found")


@call(AUTHORIZATIONS, "CreateAuthorization", "organizationId", "userId", "projectId", "roleKeys")
def create_authorization(state: State, fields: Json) -> Json:
    """Give a user roles in a project."""
    user, project = user_of(state, fields), project_of(state, fields)
    roles = roles_of(project, fields)
    if state.authorization(user, project):
        raise call_error("already_exists", "User grant already exists", EXISTS)
    authorization = Authorization(state.new_id(), user, project, roles)
    state.authorizations[authorization.id] = authorization
    return {"id": authorization.id, "creationDate": timestamp()}


@call(AUTHORIZATIONS, "UpdateAuthorization", "id", "roleKeys")
def update_authorization(state: State, fields: Json) -> Json:
    """Give a user other roles in a project instead."""
    authorization = state.authorizations.get(fields["id"])
    if authorization is None:
        raise call_error("not_found", "Authorization not found")
    authorization.roles = roles_of(authorization.project, fields)
    return {"changeDate": timestamp()}


@call(AUTHORIZATIONS, "DeleteAuthorization", "id")
def delete_authorization(state: State, fields: Json) -> Json:
    """Remove a user's roles; an authorization that isn't there is no mistake."""
    state.authorizations.pop(fields["id"], None)
    return {"deletionDate": timestamp()}
