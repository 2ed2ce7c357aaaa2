"""What ZITADEL has for one project: found, and created or extended where it is missing."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tools.suite import ACCESS_TOKEN, APIS, CLIENTS, DEFAULT_PROJECT, KEY, SECRET, Folder
from tools.terminal import Log, ProgramError
from tools.zitadel import (
    APPLICATIONS,
    AUTHORIZATIONS,
    LAG_SECONDS,
    ORGANIZATION,
    PROJECTS,
    USERS,
    Json,
    Zitadel,
    wait,
)

MAX_LENGTH = 200  # of a name in ZITADEL, in characters
BASIC = "API_AUTH_METHOD_TYPE_BASIC"  # ZITADEL's default, which lists don't name
METHODS = {KEY: "API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT", SECRET: BASIC}
# The call that creates a credential, and the field of its answer.
API_CREDENTIALS = {
    KEY: (f"{APPLICATIONS}/CreateApplicationKey", "keyDetails"),
    SECRET: (f"{APPLICATIONS}/GenerateClientSecret", "clientSecret"),
}
ACCOUNT_CREDENTIALS = {
    KEY: (f"{USERS}/AddKey", "keyContent"),
    SECRET: (f"{USERS}/AddSecret", "clientSecret"),
    ACCESS_TOKEN: (f"{USERS}/AddPersonalAccessToken", "token"),
}


@dataclass
class Found:
    """What there is for one project, as ZITADEL lists it; by folder where there are several."""

    project: Json | None = None
    applications: dict[str, Json] = field(default_factory=dict)
    accounts: dict[str, Json] = field(default_factory=dict)
    assignments: dict[str, Json] = field(default_factory=dict)
    # Names of the other projects in which an account has a role too: it isn't only ours.
    elsewhere: dict[str, list[str]] = field(default_factory=dict)


class Organization:
    """The administrator's organization in a ZITADEL, and how to find and create things in it."""

    def __init__(self, zitadel: Zitadel, log: Log) -> None:
        listed = zitadel.call(ORGANIZATION)["org"]
        self.zitadel = zitadel
        self.log = log
        self.id: str = listed["id"]
        self.name = str(listed.get("name"))
        self.is_active = listed.get("state") != "ORG_STATE_INACTIVE"

    def look(self, project_name: str) -> Found:
        """Return what there is for the project of this name."""
        found = Found(self.find_project(project_name))
        if not found.project:
            return found
        project_id = found.project["projectId"]
        for api in APIS:
            if application := self.find_application(project_id, api.name):
                found.applications[api.name] = application
        for client in CLIENTS:
            self._look_for_account(found, client, project_id, project_name)
        return found

    def _look_for_account(
        self, found: Found, client: Folder, project_id: str, project_name: str
    ) -> None:
        """Add the client's service account, if there is one that was made for this project."""
        for name in (username(client, project_id), former_username(client, project_name)):
            account = self.find_account(name)
            if not account:
                continue
            held = self.list_assignments(account["userId"])
            here = [one for one in held if one["project"]["id"] == project_id]
            others = [str(one["project"].get("name")) for one in held if one not in here]
            # Formerly, different projects could come to the same name.
            if name == username(client, project_id) or (here and not others):
                found.accounts[client.name] = account
                if here:
                    found.assignments[client.name] = here[0]
                if others:
                    found.elsewhere[client.name] = others
                return
            if here:
                self.log.say("note", f"service account {name} has a role in {others[0]} too: left")

    def find_project(self, name: str) -> Json | None:
        """Return the project as ZITADEL lists it."""
        query = {"projectName": name, "method": "TEXT_FILTER_METHOD_EQUALS"}
        filters = {"filters": [{"projectNameFilter": query}]}
        for project in self.zitadel.list(f"{PROJECTS}/ListProjects", "projects", filters):
            if project["name"] == name and project["organizationId"] == self.id:
                return project
        return None

    def list_applications(self, project_id: str, *filters: Json) -> list[Json]:
        """Return the project's applications as ZITADEL lists them."""
        body = {"filters": [{"projectIdFilter": {"projectId": project_id}}, *filters]}
        return self.zitadel.list(f"{APPLICATIONS}/ListApplications", "applications", body)

    def find_application(self, project_id: str, name: str) -> Json | None:
        """Return the API as ZITADEL lists it."""
        query = {"name": name, "method": "TEXT_FILTER_METHOD_EQUALS"}
        listed = self.list_applications(project_id, {"nameFilter": query})
        return next((one for one in listed if one["name"] == name), None)

    def find_account(self, name: str) -> Json | None:
        """Return the service account as ZITADEL lists it."""
        query = {"userName": name, "method": "TEXT_QUERY_METHOD_EQUALS"}
        queries = [{"userNameQuery": query}, {"organizationIdQuery": {"organizationId": self.id}}]
        body = {"queries": queries}
        for user in self.zitadel.list(f"{USERS}/ListUsers", "result", body, pages="query"):
            is_account = "machine" in user and user["username"] == name
            if is_account and user["details"]["resourceOwner"] == self.id:
                return user
        return None

    def list_assignments(self, user_id: str) -> list[Json]:
        """Return the roles that a user has in projects, as ZITADEL lists them."""
        body = {"filters": [{"inUserIds": {"ids": [user_id]}}]}
        path = f"{AUTHORIZATIONS}/ListAuthorizations"
        return self.zitadel.list(path, "authorizations", body)

    def find_assignment(self, user_id: str, project_id: str) -> Json | None:
        """Return the roles that a user has in the project, as ZITADEL lists them."""
        listed = self.list_assignments(user_id)
        return next((one for one in listed if one["project"]["id"] == project_id), None)

    def create(self, what: str, path: str, body: Json) -> Json:
        """Create something and return ZITADEL's answer, an empty one if it has that already."""
        answer = self.zitadel.call(path, body)
        if answer:
            self.log.changed("created", what)
        else:
            self.log.say("exists", what)
        return answer

    def ensure(
        self, what: str, path: str, body: Json, find: Callable[[], Json | None]
    ) -> tuple[Json, bool]:
        """Create something; return ZITADEL's answer and True, or what it lists and False."""
        if created := self.create(what, path, body):
            return created, True
        return self._listed(what, find), False

    def _listed(self, what: str, find: Callable[[], Json | None]) -> Json:
        """Return what `find` finds: lists lag behind."""
        if found := wait(find, LAG_SECONDS):
            return found
        raise ProgramError(
            f"ZITADEL reports that the {what} exists, but doesn't list it in the organization "
            f"{self.name}: run this again in a minute, or choose another --project-name."
        )

    def create_project(self, name: str) -> str:
        """Create the project and return its id."""
        body = {"organizationId": self.id, "name": name}
        path = f"{PROJECTS}/CreateProject"
        project, _ = self.ensure(f"project {name}", path, body, lambda: self.find_project(name))
        return str(project["projectId"])

    def create_role(self, project_id: str, key: str) -> None:
        """Create the role if it isn't there."""
        role = {"projectId": project_id, "roleKey": key, "displayName": key}
        self.create(f"role {key}", f"{PROJECTS}/AddProjectRole", role)

    def create_application(self, project_id: str, api: Folder) -> Json:
        """Create the API and return it: with its secret if it has one and wasn't there already."""
        configuration = {"authMethodType": METHODS[api.credential]}
        body = {"projectId": project_id, "name": api.name, "apiConfiguration": configuration}
        application, _ = self.ensure(
            f"API {api.name}",
            f"{APPLICATIONS}/CreateApplication",
            body,
            lambda: self.find_application(project_id, api.name),
        )
        return application

    def create_account(self, project_id: str, client: Folder) -> Json:
        """Create the service account and return it: its login name only if that is needed."""
        name = username(client, project_id)
        what = f"service account {name}"
        body = {"organizationId": self.id, "username": name, "machine": {"name": client.name}}
        find = partial(self.find_account, name)
        account, is_new = self.ensure(what, f"{USERS}/CreateUser", body, find)
        if is_new and client.id_variable:
            return self._listed(what, find)
        return {"userId": account["id"], "username": name} if is_new else account

    def assign(
        self, account: Json, project_id: str, roles: list[str], assignment: Json | None
    ) -> None:
        """Give the service account the roles in the project, besides those of `assignment`."""
        what = f"role assignment of {account['username']}"
        user_id = account["userId"]
        if not assignment:
            body = {"userId": user_id, "projectId": project_id, "organizationId": self.id}
            path = f"{AUTHORIZATIONS}/CreateAuthorization"
            if self.create(what, path, {**body, "roleKeys": roles}):
                return
            assignment = wait(lambda: self.find_assignment(user_id, project_id), LAG_SECONDS)
        held = roles_of(assignment)
        if missing := [role for role in roles if role not in held]:
            body = {"id": (assignment or {})["id"], "roleKeys": [*held, *missing]}
            self.zitadel.call(f"{AUTHORIZATIONS}/UpdateAuthorization", body)
            self.log.changed("extended", f"{what} by {', '.join(missing)}")


def username(client: Folder, project_id: str) -> str:
    """Return the service account's username: distinct in the whole instance, for each project."""
    return f"{client.name}-{project_id}"


def former_username(client: Folder, project_name: str) -> str:
    """Return the username that provision.py used to give: it isn't distinct for each project."""
    slug = re.sub(r"[^a-z0-9]+", "-", project_name.lower()).strip("-")
    return client.name if project_name == DEFAULT_PROJECT else f"{client.name}-{slug}"[:MAX_LENGTH]


def roles_of(assignment: Json | None) -> list[str]:
    """Return the keys of the roles in a role assignment."""
    return [str(role["key"]) for role in (assignment or {}).get("roles", [])]


def name_problem(name: str) -> str:
    """Return why ZITADEL wouldn't take this name, "" if it would."""
    if not 1 <= len(name) <= MAX_LENGTH:
        return f"has {len(name)} characters, but ZITADEL's names have 1 to {MAX_LENGTH}"
    is_text = all("\ud800" > character or character > "\udfff" for character in name)
    return "" if is_text else "isn't UTF-8 text"


def inactive(organization: Organization, found: Found) -> list[str]:
    """Return, in sentences, what was deactivated or locked, and where to undo that."""
    problems = []
    if not organization.is_active:
        problems.append(
            f"The organization {organization.name} is deactivated: reactivate it in ZITADEL's "
            "console, under Organization."
        )
    project = found.project or {}
    where = f"the project {project.get('name')}"
    if project.get("state") == "PROJECT_STATE_INACTIVE":
        problems.append(
            f"The project {project['name']} is deactivated: reactivate it in ZITADEL's "
            "console, under Projects."
        )
    for name, application in found.applications.items():
        if application.get("state") == "APPLICATION_STATE_INACTIVE":
            problems.append(
                f"The API {name} is deactivated: reactivate it in ZITADEL's console, in {where}."
            )
    for name, account in found.accounts.items():
        state, act = account.get("state"), "under Users, Service Accounts (until 4.9: Service Users"
        what = f"The service account {account['username']} is"
        if state == "USER_STATE_LOCKED":
            problems.append(f"{what} locked: unlock it in ZITADEL's console, {act}).")
        elif state == "USER_STATE_INACTIVE":
            problems.append(f"{what} deactivated: reactivate it in ZITADEL's console, {act}).")
        if found.assignments.get(name, {}).get("state") == "STATE_INACTIVE":
            problems.append(
                f"The role assignment of {account['username']} in {where} is deactivated: activate "
                "it in ZITADEL's console, under Role Assignments (until 4.9: Authorizations)."
            )
    return problems


def unsuitable(found: Found) -> list[str]:
    """Return, in sentences, which applications of the project can't be those of the folders."""
    problems = []
    for api in APIS:
        application = found.applications.get(api.name, {"apiConfiguration": {}})
        configuration = application.get("apiConfiguration", {"authMethodType": "not an API"})
        method = configuration.get("authMethodType", BASIC)
        if api.name in found.applications and method != METHODS[api.credential]:
            problems.append(
                f"The application {api.name} in the project {(found.project or {})['name']} isn't "
                f"an API that authenticates with a {api.credential}: choose another --project-name."
            )
    return problems
