"""diagnose.py as a person runs it: a token that works, and mistakes in how it is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from diagnosing import ACCEPTED, BASIC, JWT_USER, PAT_USER, diagnose, project_of, token_of
from instance import Suite
from programs import APIS, ROOT, SCRIPTS, copy_folder, run
from servers import Upstream


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_working_token_has_no_problem(api: str, name: str, suite: Suite) -> None:
    lines = diagnose(suite.folder / api, token=token_of(suite, name), status=0)
    assert {line[:9].strip() for line in lines[1:-2]} == {"ok"}
    assert lines[-2] == ACCEPTED
    assert ("it is a personal access token" in str(lines)) == (name == PAT_USER)
    known = f"ok       The API belongs to the project {project_of(suite)}."
    assert (known in lines) == (name == PAT_USER)


def test_it_runs_from_an_apis_folder(suite: Suite) -> None:
    command = [sys.executable, str(ROOT / "diagnose.py"), "."]
    ended = subprocess.run(
        command,
        cwd=suite.folder / "api-jwt",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "") and ACCEPTED in ended.stdout
    assert str(suite.folder / PAT_USER / ".env") in ended.stdout.splitlines()[0]


def test_an_api_with_a_secret_does_not_require_pyjwt() -> None:
    without = "import sys; sys.modules['jwt'] = None; import diagnose"
    ended = run(ROOT, "-c", without)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_your_own_app_is_not_run(tmp_path: Path) -> None:
    for file in ("server.py", "client_authentication.py"):
        (tmp_path / file).write_text("raise SystemExit('it was run')")
    told = diagnose(tmp_path, token="abc", status=2)
    assert told[0].startswith("Name api-jwt or api-basic-authentication, also for an app")


def test_empty_standard_input_is_reported(suite: Suite) -> None:
    (line,) = diagnose(suite.folder / "api-jwt", token="", status=2)
    assert line == "Standard input is empty: the command before the pipe printed no token."


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["service-user-pat"], "Name api-jwt or api-basic-authentication"),
        (["hushed"], "Name api-jwt or api-basic-authentication"),
        (["api-jwt", "hushed"], "the token is read from standard input"),
        (["api-jwt", "--token", "hushed"], "the token is read from standard input"),
        (["api-jwt", "--project-id", "hushed"], "digits only"),
    ],
)
def test_wrong_arguments_are_reported(arguments: list[str], told: str, suite: Suite) -> None:
    folder, *others = arguments
    (line,) = diagnose(suite.folder / folder, *others, status=2)
    assert told in line and "hushed" not in line


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ZITADEL_DOMAIN", "<YOUR_DOMAIN>", "ZITADEL_DOMAIN is still a placeholder"),
        ("API_PRIVATE_KEY_FILE", "no.json", "API_PRIVATE_KEY_FILE is not the path of a"),
    ],
)
def test_wrong_settings_are_reported(name: str, value: str, told: str, suite: Suite) -> None:
    variables = {name: value}
    (line,) = diagnose(suite.folder / "api-jwt", status=4, ahead=0, **variables)
    assert told in line


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
@pytest.mark.parametrize("name", [BASIC, *SCRIPTS])
def test_an_env_file_that_is_not_utf_8_is_reported(
    name: str, encoding: str, scripted_api: tuple[Upstream, Path]
) -> None:
    env_file = scripted_api[1].parent / name / ".env"
    env_file.parent.mkdir(exist_ok=True)
    env_file.write_bytes("# \u00fc\nPROJECT_ID=1\n".encode(encoding))
    (line,) = diagnose(scripted_api[1], token="abc", status=4)
    assert line.startswith(str(env_file)) and "it must be a UTF-8 text file" in line


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_token_that_is_not_utf_8_is_reported(
    encoding: str, scripted_api: tuple[Upstream, Path]
) -> None:
    (line,) = diagnose(scripted_api[1], token="abc\u00fc".encode(encoding), status=4)
    assert line == "Standard input isn't UTF-8 text: save the file of the token as UTF-8."


def test_the_source_of_each_setting_is_printed(suite: Suite) -> None:
    secret = str(dotenv_values(suite.folder / BASIC / ".env")["API_CLIENT_SECRET"])
    lines = diagnose(suite.folder / BASIC, status=0, API_CLIENT_SECRET=secret)
    place = suite.folder / BASIC / ".env"
    assert f"ok       ZITADEL_DOMAIN, API_CLIENT_ID come from {place}." in lines
    assert "ok       API_CLIENT_SECRET comes from the environment." in lines


def test_your_own_app_gets_no_notes_about_the_samples_folders(suite: Suite, tmp_path: Path) -> None:
    variables = dotenv_values(suite.folder / BASIC / ".env")
    for name in (BASIC, *SCRIPTS):
        copy_folder(name, tmp_path)
    (tmp_path / JWT_USER / ".env").write_text("PROJECT_ID=7\n")
    (tmp_path / PAT_USER / ".env").write_text("PERSONAL_ACCESS_TOKEN=the-samples-own\n")
    own: dict[str, Any] = dict(variables)

    lines = diagnose(tmp_path / BASIC, token="wrong", **own)

    assert "PROJECT_ID in" not in " ".join(lines) and PAT_USER not in " ".join(lines)
    assert "set PERSONAL_ACCESS_TOKEN" in str(diagnose(tmp_path / BASIC, status=2, **own))
