"""provision.py beside what others made: colleagues' checkouts, other projects, other accounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from instance import Instance, new_name
from provisioning import CLIENT, Contents, Setup, lines

BASIC = "api-basic-authentication"


@pytest.fixture
def pair(instance: Instance, tmp_path: Path) -> Iterator[tuple[Setup, Setup]]:
    """Provide a checkout that was provisioned, and a second one of the same project."""
    with instance.new_project(tmp_path / "first") as project:
        first = Setup(instance.issuer, instance.token_file, tmp_path / "first", project)
        first.run()
        yield first, Setup(instance.issuer, instance.token_file, tmp_path / "second", project)


def test_a_second_checkout_replaces_no_secret_without_an_option(pair: tuple[Setup, Setup]) -> None:
    first, second = pair
    refused = second.run(status=2)
    assert "--use-existing-project: then keys and a personal access token are added" in refused

    output = second.run("--use-existing-project", status=2)

    assert f"ZITADEL has a secret for {BASIC} and {CLIENT} that isn't in the files here" in output
    assert "--replace-secrets" in output
    assert second.contents() == {}
    assert len(lines(first.run(), "kept")) == 5


def test_a_second_checkout_with_the_secrets_of_the_first_only_adds_keys(
    pair: tuple[Setup, Setup],
) -> None:
    first, second = pair
    for name in (BASIC, CLIENT):
        (second.directory / name).mkdir(parents=True)
        content = (first.directory / name / ".env").read_bytes()
        (second.directory / name / ".env").write_bytes(content)

    output = second.run("--use-existing-project")

    assert sorted(lines(output, "created")) == [
        "access token for service-user-pat",
        "key for api-jwt",
        "key for service-user-jwt",
    ]
    assert len(lines(first.run(), "kept")) == 5
    assert len(lines(second.run(), "kept")) == 5


def test_an_option_replaces_the_secrets(pair: tuple[Setup, Setup]) -> None:
    first, second = pair
    output = second.run("--use-existing-project", "--replace-secrets")
    assert len(lines(output, "proved")) == 5
    assert f"ZITADEL has a secret for {BASIC} and {CLIENT}" in first.run(status=2)


@pytest.mark.parametrize("names", [("EU {}", "({}) EU"), ("ü {}", "ö {}")])
def test_projects_with_similar_names_share_nothing(
    names: tuple[str, str], instance: Instance, tmp_path: Path
) -> None:
    run = new_name()
    first, second = (
        Setup(instance.issuer, instance.token_file, tmp_path / str(index), name.format(run))
        for index, name in enumerate(names)
    )
    first.run()
    second.run()
    assert first.env(CLIENT)["CLIENT_ID"] != second.env(CLIENT)["CLIENT_ID"]
    assert len(lines(first.run(), "kept")) == 5

    second.run("--delete", "--yes")
    assert len(lines(first.run(), "kept")) == 5
    first.run("--delete", "--yes")


def accounts_of_an_older_version(setup: Setup, instance: Instance) -> None:
    """Recreate the service accounts of a setup under the usernames of an older version."""
    contents = Contents(instance, setup)
    for folder in ("service-user-jwt", CLIENT, "service-user-pat"):
        instance.delete_user(contents.account(folder)["userId"])
        user = instance.add_user(f"{folder}-{setup.project}")
        instance.authorize(user, contents.project_id, "read:messages")


def test_accounts_of_an_older_version_are_found_and_deleted(
    instance: Instance, tmp_path: Path
) -> None:
    setup = Setup(instance.issuer, instance.token_file, tmp_path, new_name())
    setup.run()
    accounts_of_an_older_version(setup, instance)

    output = setup.run()
    assert f"service account {CLIENT}-{setup.project}" in lines(output, "exists")
    assert setup.env(CLIENT)["CLIENT_ID"] == f"{CLIENT}-{setup.project}"
    assert len(lines(setup.run("--delete", "--yes"), "deleted")) == 4


def test_an_account_with_a_role_elsewhere_is_neither_changed_nor_deleted(
    pair: tuple[Setup, Setup], instance: Instance, tmp_path: Path
) -> None:
    setup, _ = pair
    other = Setup(instance.issuer, instance.token_file, tmp_path / "other", new_name())
    other.run()
    contents = Contents(instance, setup)
    account = contents.account(CLIENT)
    elsewhere = Contents(instance, other).project_id
    instance.authorize(account["userId"], elsewhere, "read:messages")
    assert len(lines(setup.run(), "kept")) == 5  # nothing to change

    output = setup.run("--role", "editor", status=2)
    assert f"also has a role in the project {other.project}, so it isn't changed" in output

    output = setup.run("--delete", "--yes")
    assert f"{account['username']} ({account['userId']}) stays: it has a role in" in output
    assert len(lines(output, "deleted")) == 3
    assert contents.account(CLIENT) == account
    instance.delete_user(account["userId"])
    other.run("--delete", "--yes")


def test_delete_removes_all_of_this_project_and_nothing_of_another(
    pair: tuple[Setup, Setup], instance: Instance, tmp_path: Path
) -> None:
    setup, _ = pair
    other = Setup(instance.issuer, instance.token_file, tmp_path / "other", new_name())
    other.run()
    body = {
        "projectId": Contents(instance, setup).project_id,
        "name": "made by hand",
        "apiConfiguration": {"authMethodType": "API_AUTH_METHOD_TYPE_BASIC"},
    }
    instance.call("/zitadel.application.v2.ApplicationService/CreateApplication", body)

    output = setup.run("--delete", "--yes")

    for name in ("api-jwt", BASIC, "made by hand"):
        assert f"with its application {name} (" in output
    assert "Nothing to delete" in setup.run("--delete", "--yes")
    assert len(lines(other.run(), "kept")) == 5
    other.run("--delete", "--yes")


def test_lines_added_to_an_env_file_by_hand_are_kept(pair: tuple[Setup, Setup]) -> None:
    setup, _ = pair
    file = setup.directory / CLIENT / ".env"
    file.write_text(file.read_text().replace("PROJECT_ID=", "PROJECT_ID=0") + "MY_OWN=1\n")
    output = setup.run()
    assert lines(output, "written") == [f"{CLIENT}/.env"]
    assert setup.env(CLIENT)["MY_OWN"] == "1"
    assert len(lines(output, "kept")) == 5
