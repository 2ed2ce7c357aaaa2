"""provision.py creates and proves everything in an empty ZITADEL and an empty directory."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest

from programs import ROOT, SCRIPTS, run, running_api
from provisioning import FILES, FOLDERS, IGNORED, Setup, lines
from tools import credentials
from tools.files import Files
from tools.zitadel import Zitadel


def test_the_first_run_creates_everything_and_tests_it(shared_setup: Setup) -> None:
    ended = run(ROOT, "provision.py", *shared_setup.options())

    assert ended.returncode == 0, ended.stderr
    assert shared_setup.contents().keys() == FILES
    assert len(lines(ended.stdout, "proved")) == 5
    assert lines(ended.stdout, "note") == []
    assert f"created  project {shared_setup.project}\n" in ended.stdout
    assert shared_setup.roles() == {"read:messages"}
    shared_setup.check_no_secret_in(ended.stdout + ended.stderr)


@pytest.mark.parametrize("name", sorted(FILES - IGNORED))
def test_only_their_owner_can_read_the_files(name: str, provisioned: Setup) -> None:
    file = provisioned.directory / name
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600
    if file.name == ".env":
        assert file.read_text().startswith("# Written by provision.py on ")
        assert file.read_text().splitlines()[0].endswith(f" for {provisioned.domain}")


@pytest.mark.parametrize(
    ("folder", "variables"),
    [
        ("api-jwt", "API_PRIVATE_KEY_FILE"),
        ("api-basic-authentication", "API_CLIENT_ID API_CLIENT_SECRET"),
        ("service-user-jwt", "PROJECT_ID API_BASE_URL CLIENT_PRIVATE_KEY_FILE_PATH"),
        ("service-user-client-credentials", "PROJECT_ID API_BASE_URL CLIENT_ID CLIENT_SECRET"),
        ("service-user-pat", "PROJECT_ID API_BASE_URL PERSONAL_ACCESS_TOKEN"),
    ],
)
def test_each_env_file_contains_only_what_its_folder_requires(
    folder: str, variables: str, provisioned: Setup
) -> None:
    assert provisioned.env(folder).keys() == {"ZITADEL_DOMAIN", *variables.split()}
    # Nothing here needs quotes, and docker's --env-file would keep them.
    assert not re.search("['\"]", (provisioned.directory / folder / ".env").read_text())


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("api-jwt/api-key-file.json", "application"),
        ("service-user-jwt/client-key-file.json", "serviceaccount"),
    ],
)
def test_each_key_file_is_of_the_right_type(file: str, kind: str, provisioned: Setup) -> None:
    assert json.loads((provisioned.directory / file).read_text())["type"] == kind


def test_other_roles_are_created_assigned_and_tested(setup: Setup) -> None:
    output = setup.run("--role", "editor", "--role=über-admin", "--role", "editor")

    assert setup.roles() == {"editor", "über-admin"}
    assert lines(output, "proved")[-1].endswith("with editor and über-admin")
    assert len(lines(output, "created")) == 15


def test_a_token_that_one_api_does_not_know_yet_is_tried_again(
    provisioned: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    introspect, lags = credentials.introspect, iter([True, True])

    def lagging(zitadel: Zitadel, api: Files, client_id: str, token: str) -> object:
        is_new = api.folder.name == "api-jwt" and token != "x" and next(lags, False)
        return {"active": False} if is_new else introspect(zitadel, api, client_id, token)

    monkeypatch.setattr(credentials, "introspect", lagging)
    output = provisioned.run()
    assert next(lags, None) is None
    assert len(lines(output, "kept")) == len(lines(output, "proved")) == 5


def test_the_printed_commands_work_in_another_directory(setup: Setup) -> None:
    setup.directory = setup.directory.with_name("my folders")
    output = setup.run()

    commands = re.findall(r"^  (.*)$", output, re.MULTILINE)
    copies = [command for command in commands if command.startswith("cp ")]
    assert len(copies) == 3 and commands[3:] == [
        "cd api-jwt && flask --app server run  # restart it if it runs",
        "cd api-basic-authentication && flask --app server run --port 5001"
        "  # restart it if it runs",
        "cd service-user-pat && python call-api-with-pat.py",
    ]
    assert f"in {setup.directory}:" in output
    for command in copies:
        subprocess.run(command, shell=True, cwd="/", check=True)
    with running_api(setup.directory / "api-jwt") as base_url:
        script = SCRIPTS["service-user-pat"]
        ended = run(setup.directory / "service-user-pat", script, API_BASE_URL=base_url)
    assert ended.returncode == 0, ended.stderr
    assert re.findall(r"^  cp .*$", setup.run(), re.MULTILINE) == []  # there now


def test_git_ignores_every_file_that_may_contain_a_secret(setup: Setup) -> None:
    setup.run()
    old = list(setup.contents())
    for file in setup.directory.rglob(".env"):
        file.write_text(file.read_text().replace("=", "=0"))
    setup.run("--use-existing-project", "--force", "--replace-secrets")
    stray = [
        *(".env~", "#.env#", ".env.swp", ".env-backup", ".envrc", "prod.env", "admin.pat"),
        *("admin.pat~", "#admin.pat#", "admin.pat.old", "token.txt", "server.key", "server.pem"),
        *("345678901234567890.json", "345678901234567890 (1).json", "api-key-file.json.old"),
        *("client-key-file (1).json", ".api-key-file.json.swp", ".provision-abc"),
    ]
    wanted = [".env.example", "server.py", "README.md", "data.json"]
    for folder in FOLDERS:
        for name in (*stray, *wanted):
            (setup.directory / folder / name).write_text("s3cret")

    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=setup.directory, check=True)
    listed = ["git", "-c", "core.quotePath=off", "ls-files"]
    staged = subprocess.check_output(listed, cwd=setup.directory, text=True).splitlines()

    assert len(setup.contents()) > len(old) + len(FOLDERS) * len([*stray, *wanted])  # .env.old too
    assert set(staged) == IGNORED | {f"{folder}/{name}" for folder in FOLDERS for name in wanted}
