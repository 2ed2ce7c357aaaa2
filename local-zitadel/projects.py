"""The calls that change organizations, projects and applications."""

from __future__ import annotations

from management import (
    EXISTS,
    MANAGEMENT,
    add_key,
    call,
    call_error,
    change_state,
    dates,
    details,
    existing,
    filter_of,
    listing,
    older_listing,
    timestamp,
)
from state import Application, Json, Organization, Project, State

ORGANIZATIONS = "zitadel.org.v2.OrganizationService"
PROJECTS = "zitadel.project.v2.ProjectService"
APPLICATIONS = "zitadel.application.v2.ApplicationService"
BASIC = "API_AUTH_METHOD_TYPE_BASIC"
PRIVATE_KEY_JWT = "API_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT"


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
    return older_listing(fields, listed)


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


def application_of(state: State, fields: Json, uses_key: bool | None = None) -> Application:
    """Return the application that the call names; reject one that authenticates differently."""
    application = existing(state, Application, fields["applicationId"])
    if application.project.id != fields["projectId"]:
        raise call_error("not_found", "Application not found")
    if uses_key not in (None, application.uses_key):
        raise call_error("failed_precondition", "This application authenticates differently")
    return application


@call(PROJECTS, "CreateProject", "organizationId", "name")
def create_project(state: State, fields: Json) -> Json:
    """Create a project with a new name."""
    organization, name = existing(state, Organization, fields["organizationId"]), fields["name"]
    if state.find(Project, name=name, organization=organization):
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
