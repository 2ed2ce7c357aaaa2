"""provision.py as a person runs it: a process of its own against a local ZITADEL of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dotenv import dotenv_values

from instance import Instance
from keys import tls
from local_zitadel import local_zitadel
from programs import ROOT, free_port, run
from servers import Upstream

FILES = (
    "api-jwt/.env",
    "api-jwt/api-key-file.json",
    "api-basic-authentication/.env",
    "service-user-jwt/.env",
    "service-user-jwt/client-key-file.json",
    "service-user-client-credentials/.env",
    "service-user-pat/.env",
)
SECRETS = ("API_CLIENT_SECRET", "CLIENT_SECRET", "PERSONAL_ACCESS_TOKEN")


@dataclass
class Setup:
    """A ZITADEL, the name of a project in it, and an empty directory for the five folders."""

    domain: str
    token_file: Path
    directory: Path
    project: str = "Quotes"

    def command(self, *options: str, domain: str | None = None) -> list[str]:
        """Return what a person would type behind `python`."""
        command = ["provision.py", "--domain", domain or self.domain]
        command += ["--token-file", str(self.token_file), "--directory", str(self.directory)]
        if self.project != "Quotes":
            command += ["--project-name", self.project]
        return [*command, *options]

    def run(self, *options: str, status: int = 0, domain: str | None = None) -> str:
        """Run provision.py, check its exit status, and return what it printed."""
        result = run(ROOT, *self.command(*options, domain=domain))
        output = result.stdout + result.stderr
        assert result.returncode == status, output
        assert "Traceback" not in output
        self.check_no_secret_in(output)
        return output

    def check_no_secret_in(self, output: str) -> None:
        """Check that neither the administrator's token nor anything in the files was printed."""
        secrets = [self.token_file.read_text().strip()] if self.token_file.exists() else []
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
                assert text.endswith("'\n") or json.loads(text)

    def env(self, folder: str) -> dict[str, str | None]:
        """Return the values of the folder's .env."""
        return dotenv_values(self.directory / folder / ".env", interpolate=False)

    def replace(self, file: str, old: str, new: str) -> None:
        """Change a file by hand."""
        path = self.directory / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    """Start a local ZITADEL and give a directory that doesn't exist yet."""
    with local_zitadel() as zitadel:
        yield Setup(zitadel.issuer, zitadel.token_file, tmp_path / "folders")


@pytest.fixture
def shared_setup(instance: Instance, tmp_path: Path) -> Iterator[Setup]:
    """Give the ZITADEL that the tests share, and a project's name of its own."""
    directory = tmp_path / "folders"
    with instance.new_project(directory) as project:
        yield Setup(instance.issuer, instance.token_file, directory, project)


def lines(output: str, word: str) -> list[str]:
    """Return what the lines that begin with `word` say."""
    return re.findall(rf"^{word} +(.*)$", output, flags=re.MULTILINE)


def test_first_run_creates_everything_and_proves_it(shared_setup: Setup) -> None:
    output = shared_setup.run()

    assert sorted(shared_setup.contents()) == sorted(FILES)
    assert len(lines(output, "proved")) == 5
    assert f"created  project {shared_setup.project}\n" in output
    assert "cd api-jwt && flask --app server run" in output
    assert "cd service-user-pat && python call-api-with-pat.py" in output


def test_files_are_for_their_owner_only_and_name_their_origin(setup: Setup) -> None:
    setup.run()

    for name in FILES:
        file = setup.directory / name
        if os.name == "posix":
            assert file.stat().st_mode & 0o777 == 0o600
        if file.name == ".env":
            assert file.read_text().startswith("# Written by provision.py on ")
            assert file.read_text().splitlines()[0].endswith(f" for {setup.domain}")


def test_env_files_hold_the_variables_that_the_folders_read(setup: Setup) -> None:
    setup.run()

    introspection = {"ZITADEL_DOMAIN", "ZITADEL_INTROSPECTION_URL"}
    client = {"ZITADEL_DOMAIN", "PROJECT_ID", "API_BASE_URL"}
    assert setup.env("api-jwt").keys() == introspection | {"API_PRIVATE_KEY_FILE"}
    assert setup.env("api-basic-authentication").keys() == introspection | {
        "API_CLIENT_ID",
        "API_CLIENT_SECRET",
    }
    assert setup.env("service-user-jwt").keys() == client | {
        "ZITADEL_TOKEN_URL",
        "CLIENT_PRIVATE_KEY_FILE_PATH",
    }
    assert setup.env("service-user-client-credentials").keys() == client | {
        "ZITADEL_TOKEN_URL",
        "CLIENT_ID",
        "CLIENT_SECRET",
    }
    assert setup.env("service-user-pat").keys() == client | {"PERSONAL_ACCESS_TOKEN"}
    api_key = json.loads((setup.directory / "api-jwt/api-key-file.json").read_text())
    assert api_key["type"] == "application"
    user_key = json.loads((setup.directory / "service-user-jwt/client-key-file.json").read_text())
    assert user_key["type"] == "serviceaccount"


def test_second_run_makes_nothing(shared_setup: Setup) -> None:
    shared_setup.run()
    before = shared_setup.contents()

    output = shared_setup.run()

    assert shared_setup.contents() == before
    assert not lines(output, "created") + lines(output, "written") + lines(output, "moved")
    assert len(lines(output, "kept")) == 5


@pytest.mark.parametrize(
    ("file", "variable"),
    [
        ("api-basic-authentication/.env", "API_CLIENT_SECRET='"),
        ("service-user-client-credentials/.env", "CLIENT_SECRET='"),
        ("service-user-pat/.env", "PERSONAL_ACCESS_TOKEN='"),
        ("api-jwt/api-key-file.json", '"keyId":"'),
        ("service-user-jwt/client-key-file.json", '"keyId":"'),
    ],
)
def test_only_a_spoiled_credential_is_renewed(
    shared_setup: Setup, file: str, variable: str
) -> None:
    shared_setup.run()
    path = shared_setup.directory / file
    text = path.read_text()
    spoiled = re.sub(re.sub('":"', '": ?"', variable), lambda found: found[0] + "0", text)
    assert spoiled != text
    path.write_text(spoiled)
    before = shared_setup.contents()

    output = shared_setup.run()

    after = shared_setup.contents()
    assert {name for name in after if after[name] != before.get(name)} == {file, f"{file}.old"}
    assert after[f"{file}.old"] == before[file]
    assert lines(output, "written") == [file]
    assert len(lines(output, "proved")) == 5
    assert ("ends the one that it has now" in output) == ("SECRET" in variable)


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

    shown = f"note     {file} is to be moved aside: it isn't from here\n"
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


def test_a_project_made_elsewhere_is_used_only_when_told_so(setup: Setup, tmp_path: Path) -> None:
    setup.run()
    elsewhere = Setup(setup.domain, setup.token_file, tmp_path / "elsewhere")

    output = elsewhere.run(status=2)
    assert "--use-existing-project" in output
    assert elsewhere.contents() == {}

    output = elsewhere.run("--use-existing-project")
    assert "exists   project Quotes\n" in output
    assert len(lines(output, "proved")) == 5


def test_another_project_has_users_of_its_own(setup: Setup, tmp_path: Path) -> None:
    setup.run()
    other = Setup(setup.domain, setup.token_file, tmp_path / "other")

    other.run("--project-name", "More Quotes!")

    client_id = other.env("service-user-client-credentials")["CLIENT_ID"]
    assert client_id == "service-user-client-credentials-more-quotes"
    assert len(lines(setup.run(), "kept")) == 5


KILLED = """
import os, sys
import provision

changes, send = int(sys.argv.pop(1)), provision.Zitadel.send

def send_and_die(zitadel, path, *arguments, **options):
    global changes
    answer = send(zitadel, path, *arguments, **options)
    changes -= path.startswith("/zitadel.") and "/List" not in path
    if changes == 0:
        os._exit(9)
    return answer

provision.Zitadel.send = send_and_die
sys.exit(provision.main())
"""


def test_a_run_that_was_killed_after_any_change_is_completed_by_the_next(setup: Setup) -> None:
    changes = 0
    while True:
        changes += 1
        setup.directory = setup.directory.with_name(f"killed-{changes}")
        options = ["--project-name", f"Killed {changes}"]
        command = setup.command(*options)[1:]
        if run(ROOT, "-c", KILLED, str(changes), *command).returncode != 9:
            break
        output = setup.run(*options)
        assert len(lines(output, "proved")) == 5
        assert {*FILES} <= setup.contents().keys() <= {*FILES, "service-user-jwt/.env.old"}
        assert len(lines(setup.run(*options), "kept")) == 5
    assert changes == 16 and len(setup.contents()) == len(FILES)  # each change, and none more


def test_a_killed_process_leaves_no_half_written_file(setup: Setup) -> None:
    for wanted in ("created  project", "written  service-user-jwt/.env", "proved   api-jwt"):
        command = [sys.executable, *setup.command()]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            while not (line := process.stdout.readline()).startswith(wanted):
                assert line, wanted
            process.kill()
        setup.check_no_file_is_half_written()
        setup.run("--delete", "--yes")
        shutil.rmtree(setup.directory)


def test_a_token_without_the_right_role_is_told_and_claims_no_project(
    setup: Setup, tmp_path: Path
) -> None:
    setup.run()
    weak = tmp_path / "weak.pat"
    weak.write_text(str(setup.env("service-user-pat")["PERSONAL_ACCESS_TOKEN"]))
    elsewhere = Setup(setup.domain, weak, tmp_path / "elsewhere")
    assert "Org Owner" in elsewhere.run("--project-name", "Wanted", status=2)
    setup.directory = tmp_path / "first"
    setup.run("--project-name", "Wanted")
    elsewhere.token_file = setup.token_file
    assert "--use-existing-project" in elsewhere.run("--project-name", "Wanted", status=2)


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
    elsewhere = Setup(setup.domain, setup.token_file, tmp_path / "elsewhere")

    assert "--use-existing-project" in elsewhere.run("--delete", "--yes", status=2)

    assert len(lines(setup.run(), "kept")) == 5


def test_a_wrong_token_is_told(setup: Setup, tmp_path: Path) -> None:
    setup.token_file = tmp_path / "wrong.pat"
    setup.token_file.write_text("wrong-token-wrong-token\n")

    assert "doesn't accept the administrator's token" in setup.run(status=2)


@pytest.mark.parametrize("content", ["", "two words", "a\nb"])
def test_a_token_file_without_a_token_is_told(setup: Setup, tmp_path: Path, content: str) -> None:
    setup.token_file = tmp_path / "empty.pat"
    setup.token_file.write_text(content)

    assert "must hold a personal access token" in setup.run(status=2)


def test_a_missing_token_file_is_told(setup: Setup, tmp_path: Path) -> None:
    setup.token_file = tmp_path / "missing.pat"

    assert "missing.pat" in setup.run(status=2)


def test_another_name_of_the_same_machine_is_told(setup: Setup) -> None:
    wrong = setup.domain.replace("localhost", "127.0.0.1")

    assert "external domain" in setup.run(status=2, domain=wrong)


@pytest.fixture
def scripted(upstream: Upstream) -> Upstream:
    """Provide a ZITADEL that is one by its discovery document only."""
    upstream.paths["/.well-known/openid-configuration"] = {"issuer": upstream.base_url}
    return upstream


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (401, {"code": "unauthenticated"}, "doesn't accept the administrator's token"),
        (403, {"code": "permission_denied", "message": "No matching permissions"}, "Org Owner"),
        (404, b"404 page not found", "too old"),
        (500, {"code": "internal", "message": "boom"}, "with status 500: boom"),
        (503, b"", "can't answer at the moment (status 503)"),
        (429, b"", "can't answer at the moment (status 429)"),
        (200, {}, "lacks 'org'"),
        (200, b"<html>", "lacks 'org'"),
    ],
)
def test_each_refusal_of_zitadels_is_told(
    status: int, content: object, told: str, setup: Setup, scripted: Upstream
) -> None:
    scripted.answer(content, status)
    output = setup.run(status=2, domain=scripted.base_url)
    assert told in output
    assert "Nothing was changed. It is safe to run it again" in output
    assert "PAT" not in output


def test_a_refusal_in_mid_run_tells_what_was_done(setup: Setup, scripted: Upstream) -> None:
    scripted.paths |= {
        "/management/v1/orgs/me": {"org": {"id": "1"}},
        "/zitadel.project.v2.ProjectService/ListProjects": {},
        "/zitadel.project.v2.ProjectService/CreateProject": {"projectId": "2"},
    }
    scripted.answer({"code": "permission_denied"}, 403)
    output = setup.run(status=2, domain=scripted.base_url)
    assert "Done so far: created project Quotes; written service-user-jwt/.env." in output
    assert "It is safe to run it again: what exists is used." in output


def test_a_zitadel_that_is_slow_is_told(setup: Setup, scripted: Upstream) -> None:
    scripted.answer({}, delay=2)
    impatient = "import provision, sys; provision.TIMEOUTS = (1, 1); sys.exit(provision.main())"
    ended = run(ROOT, "-c", impatient, *setup.command(domain=scripted.base_url)[1:])
    assert ended.returncode == 2
    assert f"{scripted.base_url} didn't answer in time: try again." in ended.stderr


def test_a_redirect_is_told(setup: Setup, upstream: Upstream) -> None:
    upstream.answer(b"", 308, headers={"Location": "https://zitadel.example/"})
    assert "https:// instead of http://" in setup.run(status=2, domain=upstream.base_url)


def test_https_where_http_is_spoken_is_told(setup: Setup) -> None:
    domain = setup.domain.replace("http:", "https:")
    assert "doesn't speak https: is it http:// instead?" in setup.run(status=2, domain=domain)


def test_http_where_https_is_spoken_is_told(setup: Setup, tmp_path: Path) -> None:
    upstream = Upstream(tls(tmp_path)[0])
    output = setup.run(status=2, domain=upstream.base_url.replace("https:", "http:"))
    upstream.stop()
    assert "can't be reached" in output and "check the address" in output


def test_a_certificate_is_trusted_once_its_file_is_named(setup: Setup, tmp_path: Path) -> None:
    context, certificate = tls(tmp_path)
    upstream = Upstream(context)
    upstream.paths["/.well-known/openid-configuration"] = {"issuer": upstream.base_url}
    upstream.answer({"code": "unauthenticated"}, 401)
    command = setup.command(domain=upstream.base_url)
    for bundle, told in (
        ("", "isn't trusted: name the file of its authority in the variable REQUESTS_CA_BUNDLE"),
        ("/nowhere.pem", "isn't trusted"),
        (str(certificate), "doesn't accept the administrator's token"),
    ):
        ended = run(ROOT, *command, **({"REQUESTS_CA_BUNDLE": bundle} if bundle else {}))
        assert ended.returncode == 2
        assert told in ended.stderr
    upstream.stop()


def test_an_unreachable_zitadel_is_told(setup: Setup) -> None:
    assert "can't be reached" in setup.run(status=2, domain=f"http://localhost:{free_port()}")


@pytest.mark.parametrize(
    ("domain", "sentence"),
    [
        ("https://YOUR_DOMAIN", "placeholder"),
        ("https://your-instance.zitadel.cloud", "placeholder"),
        ("localhost:8080", "scheme"),
        ("https://zitadel.example/ui/console", "path"),
        ("https://zitadel.example?x=1", "path or a query"),
        ("ftp://zitadel.example", "not an address"),
        ("https://", "not an address"),
        ("https://:password@zitadel.example", "not an address"),
        ("https://zitadel .example", "not an address"),
        ("http://localhost:99999", "not an address"),
    ],
)
def test_an_unusable_domain_is_told(setup: Setup, domain: str, sentence: str) -> None:
    assert sentence in setup.run(status=2, domain=domain)


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many", "99999999"])
def test_a_life_that_is_no_number_of_days_is_told(setup: Setup, number: str) -> None:
    assert "whole number" in setup.run(f"--expires-in-days={number}", status=2)
