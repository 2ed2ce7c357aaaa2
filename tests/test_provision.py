"""provision.py as a person runs it, against a local ZITADEL or a scripted one.

Most runs are in this process, since starting Python takes longer than the run.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import requests
from dotenv import dotenv_values

import tools.zitadel
from instance import Instance, new_name
from keys import tls
from local_zitadel import LocalZitadel, local_zitadel
from programs import APIS, ROOT, SCRIPTS, environment, free_port, run, running_api
from servers import ROLES, Upstream
from tools import credentials
from tools.files import Files
from tools.zitadel import Zitadel

FOLDERS = (*APIS, *SCRIPTS)
IGNORED = {f"{folder}/.gitignore" for folder in FOLDERS}
FILES = IGNORED | {
    "api-jwt/.env",
    "api-jwt/api-key-file.json",
    "api-basic-authentication/.env",
    "service-user-jwt/.env",
    "service-user-jwt/client-key-file.json",
    "service-user-client-credentials/.env",
    "service-user-pat/.env",
}
SECRETS = ("API_CLIENT_SECRET", "CLIENT_SECRET", "PERSONAL_ACCESS_TOKEN")
TOKEN = "x0Pq-_7" * 10  # of the length and the characters of a personal access token
DISCOVERY = "/.well-known/openid-configuration"
ORGANIZATION = "/management/v1/orgs/me"
PROJECTS = "/zitadel.project.v2.ProjectService"


provision = importlib.import_module("provision")


def in_process(*arguments: str, **variables: str) -> tuple[int, str]:
    """Run provision.py in this process; return its exit status and what it printed."""
    output = io.StringIO()
    with (
        patch.dict(os.environ, environment(**variables), clear=True),
        patch.object(sys, "stdin", io.StringIO()),
        redirect_stdout(output),
        redirect_stderr(output),
    ):
        try:
            status = provision.main(list(arguments))
        except SystemExit as ended:  # of argparse
            status = ended.code
    return status, output.getvalue()


@dataclass
class Setup:
    """A ZITADEL, the name of a project in it, and an empty directory for the five folders."""

    domain: str
    token_file: Path
    directory: Path
    project: str = "Quotes"

    def options(self, *options: str, domain: str | None = None) -> list[str]:
        """Return what a person would type behind `python provision.py`."""
        command = ["--domain", domain or self.domain, "--token-file", str(self.token_file)]
        command += ["--directory", str(self.directory)]
        if self.project != "Quotes":
            command += ["--project-name", self.project]
        return [*command, *options]

    def run(
        self, *options: str, status: int = 0, domain: str | None = None, **variables: str
    ) -> str:
        """Run provision.py, check its exit status, and return what it printed."""
        code, output = in_process(*self.options(*options, domain=domain), **variables)
        assert code == status, output
        self.check_no_secret_in(output)
        return output

    def check_no_secret_in(self, output: str) -> None:
        """Check that neither the administrator's token nor anything in the files was printed."""
        secrets = [self.token_file.read_text().strip()] if os.path.exists(self.token_file) else []
        for file in self.directory.rglob(".env*"):
            values = dotenv_values(file, interpolate=False)
            secrets += [values[name] or "" for name in SECRETS if values.get(name)]
        assert "PRIVATE KEY" not in output
        assert not [secret for secret in secrets if len(secret) > 8 and secret in output]

    def contents(self) -> dict[str, bytes]:
        """Return every file in the directory."""
        files = (file for file in self.directory.rglob("*") if file.is_file())
        return {file.relative_to(self.directory).as_posix(): file.read_bytes() for file in files}

    def check_no_file_is_half_written(self) -> None:
        """Check that each file is whole; the temporary one of a killed run doesn't count."""
        for file in self.directory.rglob("*"):
            if file.is_file() and not file.name.startswith(".provision-"):
                text = file.read_text()
                assert text.endswith("\n") or json.loads(text)

    def env(self, folder: str) -> dict[str, str | None]:
        """Return the values of the folder's .env."""
        return dotenv_values(self.directory / folder / ".env", interpolate=False)

    def roles(self) -> set[str]:
        """Return the roles that the API sees for the personal access token."""
        api = self.env("api-basic-authentication")
        answer = requests.post(
            f"{self.domain}/oauth/v2/introspect",
            data={"token": self.env("service-user-pat")["PERSONAL_ACCESS_TOKEN"]},
            auth=(str(api["API_CLIENT_ID"]), str(api["API_CLIENT_SECRET"])),
            timeout=30,
        )
        return set(answer.json()[ROLES])

    def replace(self, file: str, old: str, new: str) -> None:
        """Change a file by hand."""
        path = self.directory / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def zitadel() -> Iterator[LocalZitadel]:
    """Start a local ZITADEL."""
    with local_zitadel() as zitadel:
        yield zitadel


@pytest.fixture
def setup(zitadel: LocalZitadel, tmp_path: Path) -> Setup:
    """Give the local ZITADEL, and a directory that doesn't exist yet."""
    return Setup(zitadel.issuer, zitadel.token_file, tmp_path / "folders", new_name())


@pytest.fixture
def shared_setup(instance: Instance, tmp_path: Path) -> Iterator[Setup]:
    """Give the ZITADEL that the tests share, and a project's name of its own."""
    directory = tmp_path / "folders"
    with instance.new_project(directory) as project:
        yield Setup(instance.issuer, instance.token_file, directory, project)


@pytest.fixture(scope="module")
def provisioned(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """Give a directory that was provisioned; what a test changes there, it has repaired."""
    directory = tmp_path_factory.mktemp("provisioned")
    with instance.new_project(directory) as project:
        setup = Setup(instance.issuer, instance.token_file, directory, project)
        setup.run()
        yield setup


@pytest.fixture
def offline(tmp_path: Path) -> Setup:
    """Give a token and a directory, and no ZITADEL."""
    token_file = tmp_path / "admin.pat"
    token_file.write_text(f"{TOKEN}\n")
    return Setup(f"http://localhost:{free_port()}", token_file, tmp_path / "folders")


@pytest.fixture
def scripted(upstream: Upstream, offline: Setup) -> Upstream:
    """Provide a ZITADEL that is one by its discovery document only; `offline` is for it."""
    offline.domain = upstream.base_url
    upstream.paths[DISCOVERY] = {"issuer": upstream.base_url}
    return upstream


def lines(output: str, word: str) -> list[str]:
    """Return what the lines that begin with `word` say."""
    return re.findall(rf"^{word} +(.*)$", output, flags=re.MULTILINE)


# What it creates and writes


def test_first_run_creates_everything_and_proves_it(shared_setup: Setup) -> None:
    ended = run(ROOT, "provision.py", *shared_setup.options())

    assert ended.returncode == 0, ended.stderr
    assert shared_setup.contents().keys() == FILES
    assert len(lines(ended.stdout, "proved")) == 5
    assert lines(ended.stdout, "note") == []
    assert f"created  project {shared_setup.project}\n" in ended.stdout
    assert shared_setup.roles() == {"read:messages"}
    shared_setup.check_no_secret_in(ended.stdout + ended.stderr)


def test_the_help_names_everything_that_is_created(offline: Setup) -> None:
    status, output = in_process("--help")
    assert status == 0
    for name in ("Quotes", "read:messages", *FOLDERS):
        assert name in output


def test_files_are_for_their_owner_only_and_name_their_origin(provisioned: Setup) -> None:
    for name in FILES - IGNORED:
        file = provisioned.directory / name
        if os.name == "posix":
            assert file.stat().st_mode & 0o777 == 0o600
        if file.name == ".env":
            assert file.read_text().startswith("# Written by provision.py on ")
            assert file.read_text().splitlines()[0].endswith(f" for {provisioned.domain}")


def test_env_files_contain_what_the_folders_read_and_nothing_that_derives_from_the_domain(
    provisioned: Setup,
) -> None:
    client = {"ZITADEL_DOMAIN", "PROJECT_ID", "API_BASE_URL"}
    for folder, expected in {
        "api-jwt": {"ZITADEL_DOMAIN", "API_PRIVATE_KEY_FILE"},
        "api-basic-authentication": {"ZITADEL_DOMAIN", "API_CLIENT_ID", "API_CLIENT_SECRET"},
        "service-user-jwt": client | {"CLIENT_PRIVATE_KEY_FILE_PATH"},
        "service-user-client-credentials": client | {"CLIENT_ID", "CLIENT_SECRET"},
        "service-user-pat": client | {"PERSONAL_ACCESS_TOKEN"},
    }.items():
        assert provisioned.env(folder).keys() == expected
        # Nothing here needs quotes, and docker's --env-file would keep them.
        assert not re.search("['\"]", (provisioned.directory / folder / ".env").read_text())
    for file, kind in {
        "api-jwt/api-key-file.json": "application",
        "service-user-jwt/client-key-file.json": "serviceaccount",
    }.items():
        assert json.loads((provisioned.directory / file).read_text())["type"] == kind


@pytest.mark.parametrize("address", ["http://localhost:5001", "http://x/'${HOME}\\' #\n\t"])
def test_an_api_address_edited_by_hand_is_kept(setup: Setup, address: str) -> None:
    setup.run()
    escaped = address.replace("\\", "\\\\").replace("'", "\\'")
    setup.replace("service-user-pat/.env", "http://localhost:5000", f"'{escaped}'")
    setup.replace("service-user-pat/.env", "ACCESS_TOKEN=", "ACCESS_TOKEN=0")

    setup.run()

    assert setup.env("service-user-pat")["API_BASE_URL"] == address


def test_second_run_makes_nothing(provisioned: Setup) -> None:
    before = provisioned.contents()

    output = provisioned.run()

    assert provisioned.contents() == before
    assert not lines(output, "created") + lines(output, "written") + lines(output, "moved")
    assert len(lines(output, "kept")) == 5


@pytest.mark.parametrize(
    ("file", "variable"),
    [
        ("api-basic-authentication/.env", "API_CLIENT_SECRET="),
        ("service-user-client-credentials/.env", "CLIENT_SECRET="),
        ("service-user-pat/.env", "PERSONAL_ACCESS_TOKEN="),
        ("api-jwt/api-key-file.json", '"keyId": ?"'),
        ("service-user-jwt/client-key-file.json", '"keyId": ?"'),
    ],
)
def test_only_a_spoiled_credential_is_renewed(provisioned: Setup, file: str, variable: str) -> None:
    path = provisioned.directory / file
    path.with_name(f"{path.name}.old").unlink(missing_ok=True)
    text = path.read_text()
    spoiled = re.sub(variable, lambda found: found[0] + "0", text)
    assert spoiled != text
    path.write_text(spoiled)
    before = provisioned.contents()
    if "SECRET" in variable:
        assert "--replace-secrets" in provisioned.run(status=2)
        assert provisioned.contents() == before

    output = provisioned.run("--replace-secrets")

    after = provisioned.contents()
    assert {name for name in after if after[name] != before.get(name)} == {file, f"{file}.old"}
    assert after[f"{file}.old"] == before[file]
    assert lines(output, "written") == [file]
    assert len(lines(output, "proved")) == 5


def test_one_run_repairs_all_after_the_local_zitadel_forgot_everything(tmp_path: Path) -> None:
    folders = tmp_path / "folders"
    with local_zitadel() as first:
        Setup(first.issuer, first.token_file, folders).run()

    with local_zitadel("--port", first.issuer.rsplit(":", 1)[1]) as second:
        output = Setup(second.issuer, second.token_file, folders).run()

    assert second.issuer == first.issuer
    assert len(lines(output, "proved")) == 5
    assert len(lines(output, "kept")) == 0
    assert (folders / "api-jwt/api-key-file.json.old").exists()


def test_other_roles_are_created_assigned_and_proved(setup: Setup) -> None:
    output = setup.run("--role", "editor", "--role=über-admin", "--role", "editor")

    assert setup.roles() == {"editor", "über-admin"}
    assert lines(output, "proved")[-1].endswith("with editor and über-admin")
    assert len(lines(output, "created")) == 15


@pytest.mark.parametrize("file", ["service-user-pat/.env", "api-jwt/api-key-file.json"])
def test_a_file_written_by_hand_is_replaced_only_with_force(setup: Setup, file: str) -> None:
    path = setup.directory / file
    path.parent.mkdir(parents=True)
    path.write_text("PERSONAL_ACCESS_TOKEN=mine\n")

    output = setup.run(status=2)

    assert "--force" in output
    assert "Nothing was changed." in output
    assert setup.contents() == {file: b"PERSONAL_ACCESS_TOKEN=mine\n"}

    output = setup.run("--force")

    shown = f"note     {file} will be renamed: it isn't from here\n"
    assert -1 < output.find(shown) < output.find("created")
    assert setup.contents()[f"{file}.old"] == b"PERSONAL_ACCESS_TOKEN=mine\n"


def test_a_file_written_by_hand_that_works_is_kept(setup: Setup) -> None:
    setup.run()
    for folder in ("service-user-pat", "service-user-jwt"):
        setup.replace(f"{folder}/.env", "# Written by", "# Copied after")
    claim = setup.directory / "service-user-jwt/.provision-project"
    claim.write_text(f"{setup.domain} Another project, whose run was killed")
    before = setup.contents()

    setup.run()

    assert setup.contents() == before


def test_a_file_with_a_byte_order_mark_is_still_provision_pys_own(setup: Setup) -> None:
    setup.run()
    for file in setup.directory.rglob(".env"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(lines(setup.run(), "kept")) == 5


def test_a_project_made_elsewhere_is_used_only_when_told_so(setup: Setup, tmp_path: Path) -> None:
    setup.run()
    elsewhere = Setup(setup.domain, setup.token_file, tmp_path / "elsewhere", setup.project)

    output = elsewhere.run(status=2)
    assert "--use-existing-project" in output
    assert elsewhere.contents() == {}

    output = elsewhere.run("--use-existing-project", "--replace-secrets")
    assert f"exists   project {setup.project}\n" in output
    assert len(lines(output, "proved")) == 5


def test_a_token_that_only_one_api_knows_yet_is_waited_for(
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


# What else is in the folders


def test_git_sees_no_secret_in_a_fresh_directory(setup: Setup) -> None:
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


def test_a_gitignore_that_is_there_is_kept(setup: Setup) -> None:
    file = setup.directory / "api-jwt/.gitignore"
    file.parent.mkdir(parents=True)
    file.write_text("mine\n")
    setup.run()
    assert file.read_text() == "mine\n"


@pytest.mark.parametrize("name", ["service-user-jwt/.provision-project", "service-user-pat/.env"])
def test_a_symbolic_link_is_replaced_and_not_followed(setup: Setup, name: str) -> None:
    victim = setup.directory.with_name("victim")
    victim.write_text("mine")
    link = setup.directory / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    setup.run("--force")
    assert victim.read_text() == "mine"
    assert not link.is_symlink()


def test_the_commands_shown_last_work_where_only_the_settings_are(setup: Setup) -> None:
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


# Interruptions

KILLED = """
import os, sys
import provision
from tools import zitadel

changes, send = int(sys.argv.pop(1)), zitadel.Zitadel.send

def send_and_die(self, path, *arguments, **options):
    global changes
    answer = send(self, path, *arguments, **options)
    changes -= path.startswith("/zitadel.") and "/List" not in path
    if changes == 0:
        os._exit(9)
    return answer

zitadel.Zitadel.send = send_and_die
sys.exit(provision.main())
"""


def check_completion_after_kill(setup: Setup, changes: int) -> None:
    """Kill a run after so many changes in ZITADEL, and check that the next one completes it."""
    ended = run(ROOT, "-c", KILLED, str(changes), *setup.options())
    assert ended.returncode == 9, ended.stderr
    output = setup.run()
    assert len(lines(output, "proved")) == 5
    assert FILES <= setup.contents().keys() <= FILES | {"service-user-jwt/.env.old"}
    assert len(lines(setup.run(), "kept")) == 5


LAST_CHANGE = 14


@pytest.mark.parametrize("changes", [1, 5])  # a project, and a key, that no file names yet
def test_a_run_that_was_killed_is_completed_by_the_next(setup: Setup, changes: int) -> None:
    check_completion_after_kill(setup, changes)


@pytest.mark.slow
@pytest.mark.parametrize("changes", sorted({*range(1, LAST_CHANGE + 1)} - {1, 5}))
def test_a_run_that_was_killed_after_any_other_change_is_too(setup: Setup, changes: int) -> None:
    check_completion_after_kill(setup, changes)


def test_there_are_no_more_changes_after_which_to_kill_it(setup: Setup) -> None:
    ended = run(ROOT, "-c", KILLED, str(LAST_CHANGE + 1), *setup.options())
    assert len(lines(ended.stdout, "proved")) == 5


def test_a_killed_process_leaves_no_half_written_file(setup: Setup) -> None:
    for wanted in ("created  project", "written  service-user-jwt/.env", "proved   api-jwt"):
        command = [sys.executable, "provision.py", *setup.options()]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            while not (line := process.stdout.readline()).startswith(wanted):
                assert line, wanted
            process.kill()
        setup.check_no_file_is_half_written()
        setup.run("--delete", "--yes")
        shutil.rmtree(setup.directory)


def test_an_interruption_is_told_with_what_was_done(offline: Setup, scripted: Upstream) -> None:
    scripted.answer({}, delay=30)
    process = subprocess.Popen(
        [sys.executable, "provision.py", *offline.options()],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not scripted.authorizations:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=10)
    assert process.returncode == 130
    assert output.startswith("provision.py: interrupted.\nNothing was changed.")


# Deleting


def test_delete_removes_everything_and_a_new_run_makes_it_again(shared_setup: Setup) -> None:
    shared_setup.run()

    assert "--yes" in shared_setup.run("--delete", status=2)
    output = shared_setup.run("--delete", "--yes")
    assert len(lines(output, "deleted")) == 4
    assert "Nothing to delete" in shared_setup.run("--delete", "--yes")

    output = shared_setup.run()
    assert f"created  project {shared_setup.project}\n" in output
    assert len(lines(output, "proved")) == 5


def test_delete_leaves_a_project_alone_that_was_not_made_from_here(
    setup: Setup, tmp_path: Path
) -> None:
    setup.run()
    elsewhere = Setup(setup.domain, setup.token_file, tmp_path / "elsewhere", setup.project)

    assert "--use-existing-project" in elsewhere.run("--delete", "--yes", status=2)

    assert len(lines(setup.run(), "kept")) == 5


# The administrator's token


def test_a_token_without_the_right_role_is_told_and_claims_no_project(
    setup: Setup, tmp_path: Path
) -> None:
    setup.run()
    weak = tmp_path / "weak.pat"
    weak.write_text(str(setup.env("service-user-pat")["PERSONAL_ACCESS_TOKEN"]))
    wanted = new_name()
    elsewhere = Setup(setup.domain, weak, tmp_path / "elsewhere", wanted)
    assert "Org Owner" in elsewhere.run(status=2)
    Setup(setup.domain, setup.token_file, tmp_path / "first", wanted).run()
    elsewhere.token_file = setup.token_file
    assert "--use-existing-project" in elsewhere.run(status=2)


def test_a_wrong_token_is_told(setup: Setup, tmp_path: Path) -> None:
    setup.token_file = tmp_path / "wrong.pat"
    setup.token_file.write_text("wrong-token-wrong-token\n")

    assert "doesn't accept the administrator's token" in setup.run(status=2)


@pytest.mark.parametrize("content", [b"", b"two words", b"a\nb", TOKEN.encode("utf-16")])
def test_a_token_file_without_a_token_is_told(offline: Setup, content: bytes) -> None:
    offline.token_file = offline.token_file.with_name("empty.pat")
    offline.token_file.write_bytes(content)
    _, output = in_process(*offline.options())
    assert f"{offline.token_file} must contain a personal access token alone" in output


@pytest.mark.parametrize("content", [TOKEN, "missing.pat", "x" * 300])
def test_a_token_where_its_file_is_expected_is_not_shown(offline: Setup, content: str) -> None:
    offline.token_file = Path(content)
    output = offline.run(status=2)
    assert "The file that --token-file names can't be read (" in output
    assert content not in output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--domain", TOKEN], "--domain is not an address"),
        (["--domain", f"https://{TOKEN}"], "--domain is not an address"),
        (["--domain", "https://zitadel.example", TOKEN], "an argument that belongs to no option"),
    ],
)
def test_a_token_elsewhere_on_the_command_line_is_not_shown(
    offline: Setup, arguments: list[str], told: str
) -> None:
    status, output = in_process("--token-file", str(offline.token_file), *arguments)
    assert status == 2
    assert told in output
    assert TOKEN not in output and TOKEN.lower() not in output


def test_the_token_can_come_from_a_variable(offline: Setup, scripted: Upstream) -> None:
    options = ("--domain", offline.domain, "--directory", str(offline.directory))
    assert "--token-file admin.pat" in in_process(*options)[1]
    in_process(*options, ZITADEL_ADMIN_TOKEN=TOKEN)
    assert scripted.authorizations == [None, f"Bearer {TOKEN}"]


def test_a_password_in_netrc_is_never_sent(
    offline: Setup, scripted: Upstream, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password s3cret\n")
    offline.run(status=2, NETRC=str(netrc))
    assert scripted.authorizations == [None, f"Bearer {TOKEN}"]


# What ZITADEL answers


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (401, {"code": "unauthenticated"}, "doesn't accept the administrator's token"),
        (403, {"code": "permission_denied", "message": "No matching permissions"}, "Org Owner"),
        (500, {"code": "internal", "message": "boom"}, "with status 500: boom"),
        (400, {"code": 3, "message": f"\x1b]0;x\x07 {TOKEN}"}, r"with status 400: \x1b]0;x\x07 …"),
        (503, b"", "can't answer now (status 503)"),
        (429, b"", "can't answer now (status 429)"),
        (200, {}, "lacks 'org'"),
        (200, b"<html>", "answered with status 200, but not as ZITADEL does"),
        (401, b"<html>Sign in</html>", "with status 401, but not as ZITADEL does"),
        (403, b"<html>Forbidden</html>", "with status 403, but not as ZITADEL does"),
        (403, {"message": "Forbidden"}, "with status 403, but not as ZITADEL does"),
        (404, b"<html>Not found</html>", "with status 404, but not as ZITADEL does"),
        (421, b"<html>Misdirected</html>", "with status 421, but not as ZITADEL does"),
    ],
)
def test_each_refusal_of_zitadels_is_told(
    status: int, content: object, told: str, offline: Setup, scripted: Upstream
) -> None:
    scripted.answer(content, status)
    output = offline.run(status=2)
    assert told in output
    assert output.endswith("\nNothing was changed.\n")
    if "not as ZITADEL does" in told:
        assert not re.search(r"Org Owner|personal access token|4\.6", output)


@pytest.mark.parametrize("content", [b"404 page not found", {"code": 5, "message": "Not Found"}])
def test_a_zitadel_before_4_6_is_told(offline: Setup, scripted: Upstream, content: object) -> None:
    scripted.paths[ORGANIZATION] = {"org": {"id": "1"}}
    scripted.answer(content, 404)
    output = offline.run(status=2)
    assert "doesn't know ListProjects: provision.py requires ZITADEL 4.6 or newer" in output
    assert "works with 2.71 and newer" in output and "the folders' READMEs" in output


def test_a_refusal_in_mid_run_tells_what_was_done(offline: Setup, scripted: Upstream) -> None:
    scripted.paths |= {
        ORGANIZATION: {"org": {"id": "1"}},
        f"{PROJECTS}/ListProjects": {},
        f"{PROJECTS}/CreateProject": {"projectId": "2"},
    }
    scripted.answer({"code": "permission_denied"}, 403)
    output = offline.run(status=2)
    written = "written service-user-jwt/.gitignore; written service-user-jwt/.env"
    assert f"Done so far: created project Quotes; {written}." in output
    assert "You can safely run it again." in output


def test_what_zitadel_lists_is_printed_without_its_control_characters(
    offline: Setup, scripted: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = {"projectId": "\x1b[2J", "name": "Quotes", "organizationId": "1"}
    scripted.paths |= {
        ORGANIZATION: {"org": {"id": "1"}},
        f"{PROJECTS}/ListProjects": {"projects": [project]},
        f"{PROJECTS}/DeleteProject": {},
        "/zitadel.user.v2.UserService/ListUsers": {},
    }
    monkeypatch.setattr(provision, "LAG_SECONDS", 0)
    output = offline.run("--delete", "--yes", "--use-existing-project")
    assert "\x1b" not in output
    assert output.count(r"project Quotes (\x1b[2J)") == 2


def test_another_name_of_the_same_machine_is_told(setup: Setup) -> None:
    wrong = setup.domain.replace("localhost", "127.0.0.1")
    output = setup.run(status=2, domain=wrong)
    assert f"A ZITADEL answers at {wrong}, but not under its own domain" in output
    assert "proxy_set_header Host" in output


def test_what_is_no_zitadel_is_told(offline: Setup, upstream: Upstream) -> None:
    output = offline.run(status=2, domain=upstream.base_url)
    assert f"{upstream.base_url} doesn't answer as ZITADEL does (status 200)" in output


def test_a_redirect_is_told(offline: Setup, upstream: Upstream) -> None:
    upstream.answer(b"", 308, headers={"Location": "https://zitadel.example/"})
    output = offline.run(status=2, domain=upstream.base_url)
    assert f"{upstream.base_url} redirects to https://zitadel.example/: set --domain" in output


ON = "ZITADEL_EXTERNALSECURE=true"
OFF = "ZITADEL_EXTERNALSECURE=false"


@pytest.mark.parametrize(
    ("domain", "issuer", "told", "setting"),
    [
        ("http://localhost:8080", "https://localhost:8080", "set --domain to that", OFF),
        ("http://localhost:8080", "https://auth.example.com", "set --domain to that", None),
        ("http://localhost:8080", "http://localhost:9000", "set --domain to that", None),
        ("http://localhost:8080", "http://auth.example.com", "set --domain to its https", ON),
        ("http://auth.example.com", "https://auth.example.com", "set --domain to that", None),
        ("http://auth.example.com", "http://x.example.com", "set --domain to its https", ON),
        ("https://localhost:8080", "http://localhost:8080", "set --domain to its https", ON),
        ("https://auth.example.com", "http://auth.example.com", "set --domain to its https", ON),
        ("http://localhost:8080", "http://[\x1b", r"itself http://[\x1b, since", ON),
    ],
)
def test_an_issuer_that_differs_is_told_without_recommending_plain_http(
    offline: Setup,
    domain: str,
    issuer: str,
    told: str,
    setting: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = requests.Response()
    answer.status_code, answer.raw = 200, io.BytesIO(json.dumps({"issuer": issuer}).encode())
    monkeypatch.setattr(Zitadel, "send", lambda self, path: answer)
    output = offline.run(status=2, domain=domain)
    assert "This ZITADEL calls itself " in output and told in output
    assert re.findall(r"ZITADEL_EXTERNALSECURE=\w+", output) == ([setting] if setting else [])


def test_a_zitadel_behind_https_whose_external_secure_is_off_is_told(
    offline: Setup, tmp_path: Path
) -> None:
    context, certificate = tls(tmp_path)
    upstream = Upstream(context)
    issuer = upstream.base_url.replace("https:", "http:")
    upstream.paths[DISCOVERY] = {"issuer": issuer}
    bundle = {"REQUESTS_CA_BUNDLE": str(certificate)}
    output = offline.run(status=2, domain=upstream.base_url, **bundle)
    upstream.stop()
    assert f"This ZITADEL calls itself {issuer}, since its setting ExternalSecure is off" in output
    assert len(upstream.authorizations) == 1  # the token wasn't sent


# What keeps it from answering


def test_a_zitadel_that_is_slow_is_told(
    offline: Setup, scripted: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.answer({}, delay=0.5)
    monkeypatch.setattr(tools.zitadel, "TIMEOUTS", (1, 0.1))
    output = offline.run(status=2)
    assert f"{offline.domain} didn't answer in time: check --domain, or try again." in output


def test_https_where_http_is_spoken_is_told(offline: Setup, upstream: Upstream) -> None:
    output = offline.run(status=2, domain=upstream.base_url.replace("http:", "https:"))
    assert "write http:// in --domain" in output


def test_http_where_https_is_spoken_is_told(offline: Setup, tmp_path: Path) -> None:
    upstream = Upstream(tls(tmp_path)[0])
    output = offline.run(status=2, domain=upstream.base_url.replace("https:", "http:"))
    upstream.stop()
    assert "can't be reached" in output and "the address in --domain" in output


def test_an_unreachable_zitadel_is_told(offline: Setup) -> None:
    output = offline.run(status=2)
    assert f"{offline.domain} can't be reached (Connection refused): check whether" in output
    assert "proxy" not in output


def test_a_certificate_is_trusted_once_its_file_is_named(offline: Setup, tmp_path: Path) -> None:
    context, certificate = tls(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    upstream = Upstream(context)
    upstream.paths[DISCOVERY] = {"issuer": upstream.base_url}
    upstream.answer({"code": "unauthenticated"}, 401)
    _, wrong = tls(other, "127.0.0.2")
    unknown = "is rejected (self-signed certificate): set REQUESTS_CA_BUNDLE to a file"
    for variable, bundle, told in (
        ("REQUESTS_CA_BUNDLE", "", unknown),
        ("REQUESTS_CA_BUNDLE", str(wrong), "to the file that REQUESTS_CA_BUNDLE names"),
        ("CURL_CA_BUNDLE", str(wrong), "to the file that CURL_CA_BUNDLE names"),
        ("REQUESTS_CA_BUNDLE", "/nowhere.pem", "REQUESTS_CA_BUNDLE doesn't name a file with cert"),
        ("CURL_CA_BUNDLE", os.devnull, "CURL_CA_BUNDLE doesn't name a file with certificates"),
        ("REQUESTS_CA_BUNDLE", str(certificate), "doesn't accept the administrator's token"),
    ):
        bundles = {"REQUESTS_CA_BUNDLE": "", variable: bundle}
        output = offline.run(status=2, domain=upstream.base_url, **bundles)
        assert told in output and "/nowhere.pem" not in output
    upstream.stop()


@pytest.mark.parametrize(
    ("host", "days", "told"),
    [
        ("127.0.0.1", (-2, -1), "is rejected (certificate has expired): renew it, or"),
        ("127.0.0.1", (1, 2), "is rejected (certificate is not yet valid): renew it, or"),
        ("127.0.0.2", (-1, 1), "use a name that it contains"),
    ],
)
def test_each_fault_of_a_certificate_has_its_own_remedy(
    offline: Setup, tmp_path: Path, host: str, days: tuple[int, int], told: str
) -> None:
    context, certificate = tls(tmp_path, host, days)
    upstream = Upstream(context)
    bundle = {"REQUESTS_CA_BUNDLE": str(certificate)}
    output = offline.run(status=2, domain=upstream.base_url, **bundle)
    upstream.stop()
    assert f"The certificate of {upstream.base_url} is rejected (" in output and told in output
    assert "REQUESTS_CA_BUNDLE" not in output


# Proxies


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_a_loopback_address_is_never_reached_through_a_proxy(
    offline: Setup, upstream: Upstream, host: str
) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), upstream.base_url)
    offline.run(status=2, domain=f"http://{host}:{free_port()}", NO_PROXY="", **proxies)
    assert upstream.forms == []


@pytest.mark.parametrize("status", [407, 502])
def test_a_zitadel_behind_a_proxy_is_reached_through_it(
    offline: Setup, upstream: Upstream, status: int
) -> None:
    domain = "http://zitadel.example"
    upstream.paths[f"{domain}{DISCOVERY}"] = {"issuer": domain}
    upstream.answer(b"", status)
    proxy = upstream.base_url.replace("//", "//someone:s3cret@")
    output = offline.run(status=2, domain=domain, HTTP_PROXY=proxy)
    address = upstream.base_url.removeprefix("http://")
    assert f"can't answer now through the proxy {address} (status {status})" in output
    assert upstream.authorizations == [None, f"Bearer {TOKEN}"]
    assert "warning: http://zitadel.example is not encrypted" in output
    assert "s3cret" not in output


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("prefix", ["http://someone:s3cret@", "someone:s3cret@", "http://"])
def test_a_proxy_that_fails_is_named_without_its_password(
    offline: Setup, scheme: str, prefix: str
) -> None:
    address = f"127.0.0.1:{free_port()}"
    proxy = {f"{scheme.upper()}_PROXY": f"{prefix}{address}"}
    output = offline.run(status=2, domain=f"{scheme}://zitadel.example", **proxy)
    assert re.search(f"can't be reached through the proxy \\S*{address} \\(", output)
    assert "s3cret" not in output


def test_a_proxy_that_rejects_is_told(offline: Setup, upstream: Upstream) -> None:
    upstream.answer(raw=b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    output = offline.run(status=2, domain="https://zitadel.example", HTTPS_PROXY=upstream.base_url)
    assert "which answered " in output and "check the proxy" in output


# The command line


@pytest.mark.parametrize(
    ("domain", "sentence"),
    [
        ("https://YOUR_DOMAIN", "placeholder"),
        ("https://your-instance.zitadel.cloud", "placeholder"),
        ("localhost:8080", "scheme"),
        ("zitadel:8080", "scheme"),
        ("https://zitadel.example/ui/console", "path"),
        ("https://zitadel.example?x=1", "path or a query"),
        ("ftp://zitadel.example", "not an address"),
        ("https://", "not an address"),
        ("https://:password@zitadel.example", "not an address"),
        ("https://zitadel .example", "not an address"),
        ("http://localhost:99999", "not an address"),
    ],
)
def test_an_unusable_domain_is_told(offline: Setup, domain: str, sentence: str) -> None:
    assert sentence in offline.run(status=2, domain=domain)


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many", "99999999"])
def test_a_life_that_is_no_number_of_days_is_told(offline: Setup, number: str) -> None:
    assert "whole number" in offline.run(f"--expires-in-days={number}", status=2)


def test_a_directory_that_cannot_be_made_is_told(offline: Setup, setup: Setup) -> None:
    setup.directory = offline.token_file / "folders"
    output = setup.run(status=2)
    assert "can't be written to: see --directory." in output
