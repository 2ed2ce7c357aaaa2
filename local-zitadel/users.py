"""The calls that change service accounts and role assignments."""

from __future__ import annotations

from management import (
    EXISTS,
    LENGTH,
    MANAGEMENT,
    Handler,
    add_key,
    call,
    call_error,
    change_state,
    dates,
    details,
    existing,
    expiry_of,
    filter_of,
    invalid,
    listing,
    older_listing,
    roles_of,
    timestamp,
)
from state import Json, Key, Organization, Project, RoleAssignment, State, Token, User

USERS = "zitadel.user.v2.UserService"
AUTHORIZATIONS = "zitadel.authorization.v2.AuthorizationService"
TOKEN_TYPES = {"ACCESS_TOKEN_TYPE_BEARER": False, "ACCESS_TOKEN_TYPE_JWT": True}


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


@call(USERS, "ListUsers")
def list_users(state: State, fields: Json) -> Json:
    """List the service account with a username, or all."""
    username = filter_of(fields, "queries", "userNameQuery", "userName")
    if isinstance(username, str) and not 1 <= len(username) <= 200:
        each = [{"queries": [query]} for query in fields["queries"]]
        found = [filter_of(one, "queries", "userNameQuery", "userName") for one in each]
        number = found.index(username)
        outer = f"ListUsersRequest.Queries[{number}]", "SearchQuery.UserNameQuery"
        raise invalid([*outer, "UserNameQuery.UserName"], LENGTH)

    organization = filter_of(fields, "queries", "organizationIdQuery", "organizationId")
    listed = [
        as_listed(user)
        for user in state.all(User)
        if username in (None, user.username) and organization in (None, user.organization.id)
    ]
    return older_listing(fields, listed)


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
