"""The management calls that provision.py and the tests make, for an administrator's token."""

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
    Application,
    Json,
    Key,
    Organization,
    Project,
    RejectionError,
    RoleAssignment,
    State,
    T,
    Thing,
    Token,
    User,
    json_object,
)

MANAGEMENT = "management/v1"
ORGANIZATIONS = "zitadel.org.v2.OrganizationService"
PROJECTS = "zitadel.project.v2.ProjectService"
APPLICATIONS = "zitadel.application.v2.ApplicationService"
USERS = "zitadel.user.v2.UserService"
AUTHORIZATIONS = "zitadel.authorization.v2.AuthorizationService"
EXISTS = "V3-DKcYh"
PAGE = 100  # how much a list has at most
BASIC = "API_AUTH_METHOD_TYPE_BASIC"
PRIVATE_KEY_JWT = "API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT"
TOKEN_TYPES = {"ACCESS_TOKEN_TYPE_BEARER": False, "ACCESS_TOKEN_TYPE_JWT": True}
# All others are a 400.
STATUSES = {"already_exists": 409, "not_found": 404, "unauthenticated": 401}
MISSING: dict[type[Thing], tuple[str, ...]] = {
    Project: ("failed_precondition", "Project not found", "COMMAND-EbFMN"),
    User: ("not_found", "User could not be found", "COMMAND-bd4ir1mblj"),
    RoleAssignment: ("not_found", "User grant not found", "COMMAND-3M9sd"),
}
Handler = Callable[[State, Json], Json]
# By name: each call's method, path, required fields and handler.
CALLS: dict[str, tuple[str, str, tuple[str, ...], Handler]] = {}


def call(
    service: str, name: str, *required: str, method: str = "POST"
) -> Callable[[Handler], Handler]:
    """Register the function below as the handler of a call."""

    def register(handler: Handler) -> Handler:
        CALLS[name] = (method, f"/{service}/{name}", required, handler)
        return handler

    return register


def answer(state: State, name: str, header: str, content: bytes, in_path: Json) -> Json:
    """Check the caller and the fields, of which some may be in the path, then answer."""
    check_admin(state, header)
    method, _, required, handler = CALLS[name]
    fields = {} if method == "GET" else json_object(content)
    if fields is None:
        raise call_error("invalid_argument", "the body must be a JSON object")
    for path in required:
        check_field(f"{name}Request", fields, path)
    return handler(state, fields | in_path)


def check_field(name: str, fields: Json, path: str) -> None:
    """Reject a call in which a field is missing or of the wrong type."""
    value: Any = fields
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
        name += f".{step[0].upper()}{step[1:]}"
    if value is None:
        raise call_error("invalid_argument", f"invalid {name}: value is required")
    if not isinstance(value, list if path == "roleKeys" else str) or not 1 <= len(value) <= 200:
        problem = "value length must be between 1 and 200 runes, inclusive"
        raise call_error("invalid_argument", f"invalid {name}: {problem}")


def call_error(code: str, message: str, identifier: str = "", reason: str = "") -> RejectionError:
    """Return a rejection in the management calls' form."""
    body: Json = {"code": code, "message": message}
    if identifier:
        # The same detail again as a protocol buffer: field 1 the identifier, field 2 the message.
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
    return RejectionError(STATUSES.get(code, 400), body, reason or message)


def check_admin(state: State, header: str) -> None:
    """Reject a call whose Authorization header doesn't contain an administrator's token."""
    if not header:
        raise call_error("unauthenticated", "auth header missing")
    scheme, _, text = header.partition(" ")
    token, problem = state.find_token(text if scheme.lower() == "bearer" else "")
    if token is None or problem:
        raise call_error("unauthenticated", "Errors.Token.Invalid", "AUTH-7fs1e", problem)
    if not token.user.is_admin:
        reason = f"service account {token.user.id} is not an administrator"
        raise call_error("not_found", "membership not found", "AUTHZ-cdgFk", reason)


# Parts of answers


def timestamp(moment: float | None = None) -> str:
    """Return a moment, now if none is given, in the form of RFC 3339."""
    at = datetime.fromtimestamp(time.time() if moment is None else moment, timezone.utc)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def dates(thing: Thing) -> Json:
    """Return a listed thing's dates."""
    return {"creationDate": timestamp(thing.created), "changeDate": timestamp(thing.created)}


def details(organization: Organization) -> Json:
    """Return the details of what was changed just now in an organization."""
    return {"sequence": "1", "changeDate": timestamp(), "resourceOwner": organization.id}


def page(fields: Json, listed: list[Json], name: str = "pagination") -> tuple[Json, list[Json]]:
    """Return what an answer tells of its page, and the page: newest first unless `asc` is set.

    Like ZITADEL's without what is zero or empty.
    """
    wanted = fields.get(name)
    wanted = wanted if isinstance(wanted, dict) else {}
    numbers = [wanted.get("offset"), wanted.get("limit")]
    offset, limit = (n if isinstance(n, int) and n > 0 else 0 for n in numbers)
    limit = min(limit or PAGE, PAGE)
    ordered = listed if wanted.get("asc") else listed[::-1]
    total = {"totalResult": str(len(listed))} if listed else {}
    return {"appliedLimit": str(limit), **total}, ordered[offset : offset + limit]


def listing(name: str, fields: Json, listed: list[Json]) -> Json:
    """Return the answer to a list's call."""
    pagination, shown = page(fields, listed)
    return {"pagination": pagination} | ({name: shown} if shown else {})


def change_state(thing: Thing, state: str) -> str:
    """Activate, deactivate or lock something, and return when."""
    thing.state = state
    return timestamp()


# Parts of requests


def existing(state: State, kind: type[T], id_: str) -> T:
    """Return the thing that a call names by its id."""
    if found := state.find(kind, id=id_):
        return found
    raise call_error(*MISSING.get(kind, ("not_found", f"{kind.__name__} not found")))


def application_of(state: State, fields: Json, uses_key: bool | None = None) -> Application:
    """Return the application that the call names; reject one that authenticates differently."""
    application = existing(state, Application, fields["applicationId"])
    if application.project.id != fields["projectId"]:
        raise call_error("not_found", "Application not found")
    if uses_key not in (None, application.uses_key):
        raise call_error("failed_precondition", "This application authenticates differently")
    return application


def roles_of(project: Project, fields: Json) -> list[str]:
    """Return the call's roles, which must exist in the project."""
    roles: list[str] = [str(role) for role in fields["roleKeys"]]
    for role in roles:
        if role not in project.roles:
            reason = f"project {project.id} has no role '{role}'"
            message = "Errors.Project.Role.NotFound"
            raise call_error("failed_precondition", message, "COMMAND-mm9F4", reason)
    return roles


def expiry_of(fields: Json) -> float:
    """Return the call's expirationDate, which must be in the future."""
    text = fields.get("expirationDate", "0001-01-01T00:00:00Z")  # ZITADEL's default
    try:
        date = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        date = None
    if date is None or date.tzinfo is None:
        raise call_error("invalid_argument", "the expirationDate is not an RFC 3339 time")
    if date <= datetime.now(timezone.utc):
        raise call_error("invalid_argument", "Errors.AuthNKey.ExpireBeforeNow", "DOMAIN-dv3t5")
    return date.timestamp()


def filter_of(fields: Json, kind: str, name: str, key: str) -> Any:
    """Return the value of one of a list's filters, None if it has no such filter."""
    queries = fields.get(kind)
    for query in queries if isinstance(queries, list) else []:
        if isinstance(query, dict) and isinstance(query.get(name), dict):
            return query[name].get(key)
    return None


def add_key(
    state: State, owner: Application | User, fields: Json, content: str, rest: Json
) -> Json:
    """Create a key pair; keep the public half and answer with a key file under `content`."""
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    key = state.add(Key(owner, private_key.public_key(), expiry_of(fields)))
    key_file = json.dumps({"keyId": key.id, "key": pem.decode(), **rest}).encode()
    encoded = base64.b64encode(key_file).decode()
    return {"keyId": key.id, "creationDate": timestamp(), content: encoded}


# Organizations


@call(f"{MANAGEMENT}/orgs", "me", method="GET")
def my_organization(state: State, fields: Json) -> Json:
    """Return the administrator's organization."""
    organization = state.organization
    found = {
        "id": organization.id,
        "details": details(organization) | dates(organization),
        "state": f"ORG_STATE_{organization.state}",
        "name": organization.name,
        "primaryDomain": organization.domain,
    }
    return {"org": found}


@call(ORGANIZATIONS, "AddOrganization", "name")
def add_organization(state: State, fields: Json) -> Json:
    """Create an organization."""
    organization = state.add(Organization(fields["name"]))
    return {"details": details(organization), "organizationId": organization.id}


@call(ORGANIZATIONS, "ListOrganizations")
def list_organizations(state: State, fields: Json) -> Json:
    """List the organization with an id, or all."""
    id_ = filter_of(fields, "queries", "idQuery", "id")
    listed = [
        {
            "id": organization.id,
            "details": details(organization) | dates(organization),
            "state": f"ORGANIZATION_STATE_{organization.state}",
            "name": organization.name,
            "primaryDomain": organization.domain,
        }
        for organization in state.all(Organization)
        if id_ in (None, organization.id)
    ]
    _, shown = page({"query": {"asc": True, **asked(fields)}}, listed, "query")
    total = {"timestamp": timestamp(), "totalResult": str(len(listed))}
    return {"details": total, "result": shown}


@call("admin/v1/orgs/<organizationId>/policies", "domain")
def set_domain_policy(state: State, fields: Json) -> Json:
    """Set whether an organization appends its domain to login names."""
    organization = existing(state, Organization, fields["organizationId"])
    organization.appends_domain = fields.get("userLoginMustBeDomain") is True
    changed = {"sequence": "1", "creationDate": timestamp(), "resourceOwner": organization.id}
    return {"details": changed}


@call(ORGANIZATIONS, "DeactivateOrganization", "organizationId")
def deactivate_organization(state: State, fields: Json) -> Json:
    """Deactivate an organization."""
    organization = existing(state, Organization, fields["organizationId"])
    return {"changeDate": change_state(organization, "INACTIVE")}


@call(ORGANIZATIONS, "ActivateOrganization", "organizationId")
def activate_organization(state: State, fields: Json) -> Json:
    """Activate an organization again."""
    organization = existing(state, Organization, fields["organizationId"])
    return {"changeDate": change_state(organization, "ACTIVE")}


@call(ORGANIZATIONS, "DeleteOrganization", "organizationId")
def delete_organization(state: State, fields: Json) -> Json:
    """Delete an organization."""
    state.delete(existing(state, Organization, fields["organizationId"]))
    return {"deletionDate": timestamp()}


# Projects and applications


@call(PROJECTS, "CreateProject", "organizationId", "name")
def create_project(state: State, fields: Json) -> Json:
    """Create a project with a new name."""
    organization, name = existing(state, Organization, fields["organizationId"]), fields["name"]
    if state.find(Project, name=name):
        raise call_error("already_exists", "Project already exists on organization", EXISTS)
    project = state.add(Project(name, organization))
    return {"projectId": project.id, "creationDate": timestamp(project.created)}


@call(PROJECTS, "ListProjects")
def list_projects(state: State, fields: Json) -> Json:
    """List the project with a name, or all."""
    name = filter_of(fields, "filters", "projectNameFilter", "projectName")
    listed = [
        {
            "projectId": project.id,
            "organizationId": project.organization.id,
            **dates(project),
            "name": project.name,
            "state": f"PROJECT_STATE_{project.state}",
        }
        for project in state.all(Project)
        if name in (None, project.name)
    ]
    return listing("projects", fields, listed)


@call(PROJECTS, "DeleteProject", "projectId")
def delete_project(state: State, fields: Json) -> Json:
    """Delete a project; a missing one is not an error."""
    if project := state.find(Project, id=fields["projectId"]):
        state.delete(project)
    return {"deletionDate": timestamp()}


@call(PROJECTS, "DeactivateProject", "projectId")
def deactivate_project(state: State, fields: Json) -> Json:
    """Deactivate a project."""
    return {"changeDate": change_state(existing(state, Project, fields["projectId"]), "INACTIVE")}


@call(PROJECTS, "ActivateProject", "projectId")
def activate_project(state: State, fields: Json) -> Json:
    """Activate a project again."""
    return {"changeDate": change_state(existing(state, Project, fields["projectId"]), "ACTIVE")}


@call(PROJECTS, "AddProjectRole", "projectId", "roleKey", "displayName")
def add_project_role(state: State, fields: Json) -> Json:
    """Add a role to a project."""
    project = existing(state, Project, fields["projectId"])
    if fields["roleKey"] in project.roles:
        raise call_error("already_exists", "Role already exists", EXISTS)
    project.roles.append(fields["roleKey"])
    return {"creationDate": timestamp()}


@call(PROJECTS, "CreateProjectGrant", "projectId", "grantedOrganizationId", "roleKeys")
def create_project_grant(state: State, fields: Json) -> Json:
    """Let another organization assign a project's roles: here any of them."""
    project = existing(state, Project, fields["projectId"])
    project.granted_to.append(existing(state, Organization, fields["grantedOrganizationId"]))
    return {"creationDate": timestamp()}


@call(APPLICATIONS, "CreateApplication", "projectId", "name", "apiConfiguration.authMethodType")
def create_application(state: State, fields: Json) -> Json:
    """Create an API, with a secret if that is how it authenticates."""
    method, name = fields["apiConfiguration"]["authMethodType"], fields["name"]
    if method not in (BASIC, PRIVATE_KEY_JWT):
        raise call_error("invalid_argument", "the authMethodType is unknown")
    project = existing(state, Project, fields["projectId"])
    if state.find(Application, project=project, name=name):
        raise call_error("already_exists", "Application already exists", EXISTS)
    application = state.add(Application(name, project, uses_key=method == PRIVATE_KEY_JWT))
    configuration = {"clientId": application.client_id}
    if not application.uses_key:
        configuration["clientSecret"] = state.add_secret(application)
    created = {"applicationId": application.id, "creationDate": timestamp(application.created)}
    return {**created, "apiConfiguration": configuration}


@call(APPLICATIONS, "ListApplications")
def list_applications(state: State, fields: Json) -> Json:
    """List the applications of a project, or all."""
    project_id = filter_of(fields, "filters", "projectIdFilter", "projectId")
    name = filter_of(fields, "filters", "nameFilter", "name")
    listed = []
    for application in state.all(Application):
        if project_id not in (None, application.project.id) or name not in (None, application.name):
            continue
        configuration = {"clientId": application.client_id}
        if application.uses_key:
            configuration["authMethodType"] = PRIVATE_KEY_JWT
        listed.append(
            {
                "applicationId": application.id,
                "projectId": application.project.id,
                **dates(application),
                "state": f"APPLICATION_STATE_{application.state}",
                "name": application.name,
                "apiConfiguration": configuration,
            }
        )
    return listing("applications", fields, listed)


@call(APPLICATIONS, "DeleteApplication", "projectId", "applicationId")
def delete_application(state: State, fields: Json) -> Json:
    """Delete an application."""
    state.delete(application_of(state, fields))
    return {"deletionDate": timestamp()}


@call(APPLICATIONS, "DeactivateApplication", "projectId", "applicationId")
def deactivate_application(state: State, fields: Json) -> Json:
    """Deactivate an application."""
    return {"deactivationDate": change_state(application_of(state, fields), "INACTIVE")}


@call(APPLICATIONS, "ReactivateApplication", "projectId", "applicationId")
def reactivate_application(state: State, fields: Json) -> Json:
    """Activate an application again."""
    return {"reactivationDate": change_state(application_of(state, fields), "ACTIVE")}


@call(APPLICATIONS, "GenerateClientSecret", "projectId", "applicationId")
def generate_client_secret(state: State, fields: Json) -> Json:
    """Give an API a new secret, which invalidates the previous one."""
    secret = state.add_secret(application_of(state, fields, uses_key=False))
    return {"clientSecret": secret, "creationDate": timestamp()}


@call(APPLICATIONS, "CreateApplicationKey", "projectId", "applicationId")
def create_application_key(state: State, fields: Json) -> Json:
    """Create a key for an API."""
    application = application_of(state, fields, uses_key=True)
    owner = {"appId": application.id, "clientId": application.client_id}
    return add_key(state, application, fields, "keyDetails", {"type": "application", **owner})


# Service accounts and role assignments


@call(USERS, "CreateUser", "organizationId", "username", "machine.name")
def create_user(state: State, fields: Json) -> Json:
    """Create a service account with a new username."""
    organization, username = (
        existing(state, Organization, fields["organizationId"]),
        fields["username"],
    )
    user = User(username, fields["machine"]["name"], organization)
    if state.find(User, login_name=user.login_name):
        raise call_error("already_exists", "User already exists", EXISTS)
    state.add(user)
    return {"id": user.id, "creationDate": timestamp(user.created)}


def as_listed(user: User) -> Json:
    """Return a service account as ZITADEL lists it."""
    return {
        "userId": user.id,
        "details": details(user.organization) | dates(user),
        "state": f"USER_STATE_{user.state}",
        "username": user.username,
        "loginNames": [user.login_name],
        "preferredLoginName": user.login_name,
        "machine": {"name": user.name} | ({"hasSecret": True} if user.secret_digest else {}),
    }


@call(USERS, "GetUserByID", "userId")
def get_user(state: State, fields: Json) -> Json:
    """Return a service account."""
    user = existing(state, User, fields["userId"])
    return {"details": details(user.organization) | dates(user), "user": as_listed(user)}


def asked(fields: Json) -> Json:
    """Return how a list of users is to be divided."""
    query = fields.get("query")
    return query if isinstance(query, dict) else {}


@call(USERS, "ListUsers")
def list_users(state: State, fields: Json) -> Json:
    """List the service account with a username, or all."""
    username = filter_of(fields, "queries", "userNameQuery", "userName")
    organization = filter_of(fields, "queries", "organizationIdQuery", "organizationId")
    listed = [
        as_listed(user)
        for user in state.all(User)
        if username in (None, user.username) and organization in (None, user.organization.id)
    ]
    if not listed:
        return {"details": {"timestamp": timestamp()}}
    _, shown = page({"query": {"asc": True, **asked(fields)}}, listed, "query")
    total = {"timestamp": timestamp(), "totalResult": str(len(listed))}
    return {"details": total} | ({"result": shown} if shown else {})


@call(f"{MANAGEMENT}/users/<userId>", "machine", "name", method="PUT")
def change_machine(state: State, fields: Json) -> Json:
    """Set a service account's name and the kind of its access tokens."""
    user = existing(state, User, fields["userId"])
    kind = fields.get("accessTokenType", "ACCESS_TOKEN_TYPE_BEARER")
    if kind not in list(TOKEN_TYPES):
        raise call_error("invalid_argument", "the accessTokenType is unknown")
    user.name, user.gets_jwts = fields["name"], TOKEN_TYPES[kind]
    return {"details": details(user.organization)}


@call(USERS, "DeleteUser", "userId")
def delete_user(state: State, fields: Json) -> Json:
    """Delete a service account."""
    user = existing(state, User, fields["userId"])
    state.delete(user)
    return {"details": details(user.organization)}


def change_user(new_state: str) -> Handler:
    """Return the handler of a call that changes a service account's state."""

    def handler(state: State, fields: Json) -> Json:
        user = existing(state, User, fields["userId"])
        change_state(user, new_state)
        # ZITADEL's stay dead, too, when it is active again.
        for token in state.all(Token):
            if token.user is user and new_state != "ACTIVE":
                word = "locked" if new_state == "LOCKED" else "deactivated"
                state.delete(token, f"the token's service account {user.id} is {word}, or was")
        return {"details": details(user.organization)}

    return handler


for name, new_state in {
    "DeactivateUser": "INACTIVE",
    "ReactivateUser": "ACTIVE",
    "LockUser": "LOCKED",
    "UnlockUser": "ACTIVE",
}.items():
    call(USERS, name, "userId")(change_user(new_state))


@call(USERS, "AddKey", "userId", "expirationDate")
def add_user_key(state: State, fields: Json) -> Json:
    """Create a key for a service account."""
    user = existing(state, User, fields["userId"])
    owner = {"expirationDate": fields["expirationDate"], "userId": user.id}
    return add_key(state, user, fields, "keyContent", {"type": "serviceaccount", **owner})


@call(USERS, "RemoveKey", "userId", "keyId")
def remove_user_key(state: State, fields: Json) -> Json:
    """Remove a service account's key."""
    key = state.find(Key, id=fields["keyId"], owner=existing(state, User, fields["userId"]))
    if key is None:
        raise call_error("not_found", "Key not found")
    state.delete(key)
    return {"deletionDate": timestamp()}


@call(USERS, "AddSecret", "userId")
def add_secret(state: State, fields: Json) -> Json:
    """Give a service account a new secret, which invalidates the previous one."""
    secret = state.add_secret(existing(state, User, fields["userId"]))
    return {"creationDate": timestamp(), "clientSecret": secret}


@call(USERS, "AddPersonalAccessToken", "userId", "expirationDate")
def add_personal_access_token(state: State, fields: Json) -> Json:
    """Create a personal access token for a service account."""
    token = Token(existing(state, User, fields["userId"]), expiry_of(fields), is_personal=True)
    text = state.add_token(token)
    return {"creationDate": timestamp(token.created), "tokenId": token.id, "token": text}


@call(USERS, "RemovePersonalAccessToken", "userId", "tokenId")
def remove_personal_access_token(state: State, fields: Json) -> Json:
    """Remove a service account's personal access token."""
    user = existing(state, User, fields["userId"])
    token = state.find(Token, id=fields["tokenId"], user=user, is_personal=True)
    if token is None:
        raise call_error("not_found", "Personal access token not found")
    state.delete(token)
    return {"deletionDate": timestamp()}


@call(AUTHORIZATIONS, "CreateAuthorization", "organizationId", "userId", "projectId", "roleKeys")
def create_authorization(state: State, fields: Json) -> Json:
    """Assign a user roles in a project of the organization, or in one granted to it."""
    organization = existing(state, Organization, fields["organizationId"])
    user = existing(state, User, fields["userId"])
    project = existing(state, Project, fields["projectId"])
    if organization not in (project.organization, *project.granted_to):
        raise call_error("failed_precondition", "The project is not granted to the organization")
    roles = roles_of(project, fields)
    if state.find(RoleAssignment, user=user, project=project):
        raise call_error("already_exists", "User grant already exists", EXISTS)
    assignment = state.add(RoleAssignment(user, project, organization, roles))
    return {"id": assignment.id, "creationDate": timestamp()}


@call(AUTHORIZATIONS, "ListAuthorizations")
def list_authorizations(state: State, fields: Json) -> Json:
    """List the roles that users have in projects."""
    user_ids = filter_of(fields, "filters", "inUserIds", "ids")
    project_id = filter_of(fields, "filters", "projectId", "id")
    listed = [
        {
            "id": assignment.id,
            **dates(assignment),
            "project": {
                "id": assignment.project.id,
                "name": assignment.project.name,
                "organizationId": assignment.project.organization.id,
            },
            "organization": {
                "id": assignment.organization.id,
                "name": assignment.organization.name,
            },
            "user": {
                "id": assignment.user.id,
                "preferredLoginName": assignment.user.login_name,
                "organizationId": assignment.user.organization.id,
            },
            "state": f"STATE_{assignment.state}",
            "roles": [{"key": role, "displayName": role} for role in assignment.roles],
        }
        for assignment in state.all(RoleAssignment)
        if not isinstance(user_ids, list) or assignment.user.id in user_ids
        if project_id in (None, assignment.project.id)
    ]
    return listing("authorizations", fields, listed)


@call(AUTHORIZATIONS, "UpdateAuthorization", "id", "roleKeys")
def update_authorization(state: State, fields: Json) -> Json:
    """Replace a user's roles in a project."""
    assignment = existing(state, RoleAssignment, fields["id"])
    assignment.roles = roles_of(assignment.project, fields)
    return {"changeDate": timestamp()}


@call(AUTHORIZATIONS, "DeactivateAuthorization", "id")
def deactivate_authorization(state: State, fields: Json) -> Json:
    """Deactivate a user's roles in a project."""
    return {"changeDate": change_state(existing(state, RoleAssignment, fields["id"]), "INACTIVE")}


@call(AUTHORIZATIONS, "ActivateAuthorization", "id")
def activate_authorization(state: State, fields: Json) -> Json:
    """Activate a user's roles in a project again."""
    return {"changeDate": change_state(existing(state, RoleAssignment, fields["id"]), "ACTIVE")}


@call(AUTHORIZATIONS, "DeleteAuthorization", "id")
def delete_authorization(state: State, fields: Json) -> Json:
    """Remove a user's roles; a missing assignment is not an error."""
    if assignment := state.find(RoleAssignment, id=fields["id"]):
        state.delete(assignment)
    return {"deletionDate": timestamp()}
