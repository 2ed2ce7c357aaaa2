"""provision.py where something in ZITADEL was deactivated, locked or limited: it says so."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from instance import AUTHORIZATIONS, PROJECTS, USERS, Instance, new_name
from local_zitadel import local_zitadel
from provisioning import APPLICATIONS, CLIENT, Contents, Setup, lines


@pytest.fixture
def freshly_provisioned(instance: Instance, tmp_path: Path) -> Iterator[tuple[Setup, Contents]]:
    """Provide a directory that was provisioned, and what ZITADEL has for it."""
    directory = tmp_path / "folders"
    with instance.new_project(directory) as project:
        setup = Setup(instance.issuer, instance.token_file, directory, project)
        setup.run()
        yield setup, Contents(instance, setup)


def call_for(kind: str, contents: Contents) -> tuple[str, dict[str, str], str, str]:
    """Return the path, body and name of the call that deactivates, and of its opposite."""
    project = {"projectId": contents.project_id}
    if kind == "project":
        return PROJECTS, project, "DeactivateProject", "ActivateProject"
    if kind == "role assignment":
        body = {"id": contents.assignment(CLIENT)["id"]}
        return AUTHORIZATIONS, body, "DeactivateAuthorization", "ActivateAuthorization"
    if kind in ("deactivated account", "locked account"):
        body = {"userId": contents.account(CLIENT)["userId"]}
        if kind == "locked account":
            return USERS, body, "LockUser", "UnlockUser"
        return USERS, body, "DeactivateUser", "ReactivateUser"
    body = project | {"applicationId": contents.application(kind)["applicationId"]}
    return APPLICATIONS, body, "DeactivateApplication", "ReactivateApplication"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("project", "The project {project} is deactivated: reactivate it"),
        ("api-jwt", "The API api-jwt is deactivated: reactivate it"),
        ("api-basic-authentication", "The API api-basic-authentication is deactivated"),
        ("deactivated account", f"The service account {CLIENT}-{{id}} is deactivated: reactivate"),
        ("locked account", f"The service account {CLIENT}-{{id}} is locked: unlock it"),
        ("role assignment", f"The role assignment of {CLIENT}-{{id}} in the project {{project}}"),
    ],
)
def test_what_is_deactivated_or_locked_is_named_and_nothing_changes(
    kind: str, told: str, freshly_provisioned: tuple[Setup, Contents]
) -> None:
    setup, contents = freshly_provisioned
    service, body, deactivate, activate = call_for(kind, contents)
    contents.instance.call(f"{service}/{deactivate}", body)
    before = setup.contents()
    seen = contents.application("api-jwt"), contents.account(CLIENT), contents.assignment(CLIENT)

    output = setup.run(status=2)

    assert told.format(project=setup.project, id=contents.project_id) in output
    assert output.endswith("\nNothing was changed.\n")
    assert "clock" not in output
    assert setup.contents() == before
    after = contents.application("api-jwt"), contents.account(CLIENT), contents.assignment(CLIENT)
    assert after == seen

    contents.instance.call(f"{service}/{activate}", body)
    assert len(lines(setup.run(), "kept")) == 5  # the secrets are still those in the files
    assert setup.contents() == before


def test_everything_that_is_deactivated_is_named_at_once(
    freshly_provisioned: tuple[Setup, Contents],
) -> None:
    setup, contents = freshly_provisioned
    for kind in ("api-jwt", "locked account"):
        service, body, deactivate, _ = call_for(kind, contents)
        contents.instance.call(f"{service}/{deactivate}", body)
    output = setup.run(status=2)
    assert "The API api-jwt is deactivated" in output and "is locked" in output


@pytest.mark.parametrize(
    ("ahead", "told"), [(300, "30[01] s ahead of"), (-1200, "1(200|199) s behind")]
)
def test_a_wrong_clock_is_reported_before_anything_else(
    ahead: int,
    told: str,
    freshly_provisioned: tuple[Setup, Contents],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup, _ = freshly_provisioned
    before, now = setup.contents(), time.time
    monkeypatch.setattr(time, "time", lambda: now() + ahead)
    output = setup.run(status=2)
    assert re.search(f"This machine's clock is {told} ZITADEL's", output)
    assert setup.contents() == before


def test_another_role_extends_the_assignments(freshly_provisioned: tuple[Setup, Contents]) -> None:
    setup, contents = freshly_provisioned
    output = setup.run("--role", "editor")
    assert len(lines(output, "extended")) == 3
    assert len(lines(output, "kept")) == 5
    assert {role["key"] for role in contents.assignment(CLIENT)["roles"]} == {
        "editor",
        "read:messages",
    }
    assert "answer 403" not in output  # as the accounts still have the role of the sample's route
    assert lines(setup.run("--role", "editor"), "extended") == []


def test_a_role_that_the_samples_route_does_not_require_is_reported(
    instance: Instance, tmp_path: Path
) -> None:
    with instance.new_project(tmp_path) as project:
        setup = Setup(instance.issuer, instance.token_file, tmp_path, project)
        output = setup.run("--role", "editor")
        assert "/api/private-scoped will answer 403: it requires read:messages" in output


@pytest.mark.parametrize("role", ["editor,admin", "editor admin", ""])
def test_an_invalid_role_is_rejected(
    role: str, freshly_provisioned: tuple[Setup, Contents]
) -> None:
    setup, _ = freshly_provisioned
    output = setup.run(f"--role={role}", status=2)
    assert "argument --role: " in output and "Nothing was changed" not in output


@pytest.mark.parametrize("length", [170, 200])
def test_a_long_project_name_works(length: int, instance: Instance, tmp_path: Path) -> None:
    name = new_name().ljust(length, "x")
    setup = Setup(instance.issuer, instance.token_file, tmp_path / "folders", name)
    assert len(lines(setup.run(), "proved")) == 5
    setup.run("--delete", "--yes")


def test_a_project_name_that_is_too_long_is_rejected_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    setup = Setup("http://localhost:9", tmp_path / "no.pat", tmp_path / "folders", "x" * 201)
    output = setup.run(status=2)
    assert "argument --project-name: has 201 characters, but ZITADEL's names have 1 to" in output


def test_the_api_is_found_among_more_than_a_hundred_applications(
    freshly_provisioned: tuple[Setup, Contents],
) -> None:
    setup, contents = freshly_provisioned
    configuration = {"authMethodType": "API_AUTH_METHOD_TYPE_BASIC"}
    for number in range(101):
        body = {
            "projectId": contents.project_id,
            "name": f"other-{number}",
            "apiConfiguration": configuration,
        }
        contents.instance.call(f"{APPLICATIONS}/CreateApplication", body)
    assert len(lines(setup.run(), "kept")) == 5
    output = setup.run("--delete", status=2)
    assert output.count("with its application ") == 103


@pytest.mark.local_zitadel
def test_where_login_names_end_with_a_domain_the_client_id_is_the_login_name(
    tmp_path: Path,
) -> None:
    with local_zitadel() as server:
        token_file = tmp_path / "admin.pat"
        token_file.write_text(server.admin_pat)
        instance = Instance(server.issuer, server.admin_pat, token_file)
        policy = f"/admin/v1/orgs/{instance.organization_id()}/policies/domain"
        instance.call(policy, {"userLoginMustBeDomain": True})
        setup = Setup(server.issuer, token_file, tmp_path / "folders", new_name())
        assert len(lines(setup.run(), "proved")) == 5
        client = dotenv_values(setup.directory / CLIENT / ".env")["CLIENT_ID"]
        assert client and client.endswith("@zitadel.localhost")
        assert len(lines(setup.run(), "kept")) == 5


@pytest.mark.local_zitadel
def test_a_deactivated_organization_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    with local_zitadel() as server:
        token_file = tmp_path / "admin.pat"
        token_file.write_text(server.admin_pat)
        instance = Instance(server.issuer, server.admin_pat, token_file)
        setup = Setup(server.issuer, token_file, tmp_path / "folders", new_name())
        setup.run()
        before = setup.contents()

        body = {"organizationId": instance.organization_id()}
        service = "/zitadel.org.v2.OrganizationService"
        instance.call(f"{service}/DeactivateOrganization", body)
        output = setup.run(status=2)
        assert "The organization ZITADEL is deactivated: reactivate it" in output
        assert setup.contents() == before

        instance.call(f"{service}/ActivateOrganization", body)
        assert len(lines(setup.run(), "kept")) == 5
