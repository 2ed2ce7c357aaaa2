"""The whole suite: every client calls every API, each in its own process and folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values

from instance import Suite
from programs import APIS, FLASK, GUNICORN, SCRIPTS, eventually, run, run_here, running_api
from servers import bearer, send

PUBLIC = "Public route - You don't need to be authenticated to see this."
PRIVATE = "Private route - You need to be authenticated to see this."
SCOPED = (
    "Private, scoped route - You need to be authenticated and have the role read:messages to see "
    "this."
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_client_can_call_every_api(name: str, base_url: str, suite: Suite) -> None:
    ended = run(suite.folder / name, SCRIPTS[name], API_BASE_URL=base_url)
    assert ended.returncode == 0, ended.stderr
    origin, *lines = ended.stdout.splitlines()
    assert lines == [
        f"/api/public          200  {PUBLIC}",
        f"/api/private         200  {PRIVATE}",
        f"/api/private-scoped  200  {SCOPED}",
    ]
    if name == "service-user-pat":
        assert "PERSONAL_ACCESS_TOKEN" in origin
    else:
        assert f"{suite.zitadel.issuer}/oauth/v2/token, valid for " in origin
    assert ended.stderr == ""


@pytest.mark.parametrize("name", SCRIPTS)
def test_token_only_prints_a_working_token(name: str, base_url: str, suite: Suite) -> None:
    ended = run_here(
        suite.folder / name, SCRIPTS[name], "--token-only", API_BASE_URL="http://[::1]:9"
    )
    assert ended.returncode == 0, ended.stderr
    (token,) = ended.stdout.splitlines()
    answer = send(base_url, "/api/private-scoped", bearer(token))
    assert answer[::2] == (200, {"message": SCOPED})


def test_a_missing_role_is_403_on_the_scoped_route_only(
    base_url: str, suite: Suite, add_user: Callable[[], str]
) -> None:
    token = suite.zitadel.add_pat(add_user())
    folder = suite.folder / "service-user-pat"
    variables = {"API_BASE_URL": base_url, "PERSONAL_ACCESS_TOKEN": token}
    ended = eventually(
        lambda: run_here(folder, SCRIPTS[folder.name], **variables),
        lambda ended: "403" in ended.stdout,
    )
    assert ended.returncode == 1
    assert [line.split()[1] for line in ended.stdout.splitlines()[1:]] == ["200", "200", "403"]
    assert "This route requires the role read:messages." in ended.stdout
    assert token not in ended.stdout + ended.stderr


def test_an_invalid_token_is_401(base_url: str, suite: Suite) -> None:
    folder = suite.folder / "service-user-pat"
    ended = run_here(
        folder, SCRIPTS[folder.name], API_BASE_URL=base_url, PERSONAL_ACCESS_TOKEN="wrong"
    )
    assert ended.returncode == 1
    assert [line.split()[1] for line in ended.stdout.splitlines()[1:]] == ["200", "401", "401"]
    assert "use diagnose.py" in ended.stderr


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize(
    "command", [FLASK, GUNICORN, ("server.py", "--port")], ids=["flask", "gunicorn", "python"]
)
def test_an_api_runs_under_every_server(name: str, command: tuple[str, ...], suite: Suite) -> None:
    with running_api(suite.folder / name, command) as base_url:
        folder = suite.folder / "service-user-pat"
        assert run_here(folder, SCRIPTS[folder.name], API_BASE_URL=base_url).returncode == 0


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_from_any_working_directory(
    name: str, base_url: str, suite: Suite, tmp_path: Path
) -> None:
    script = suite.folder / name / SCRIPTS[name]
    assert run(tmp_path, str(script), API_BASE_URL=base_url).returncode == 0


def test_one_env_file_above_the_folders_configures_them_all(
    base_url: str, suite: Suite, tmp_path: Path
) -> None:
    lines = []
    for name in SCRIPTS:
        copied = shutil.copytree(suite.folder / name, tmp_path / name)
        lines += (copied / ".env").read_text().splitlines()
        (copied / ".env").unlink()
    (tmp_path / ".env").write_text("\n".join(lines))
    for name, script in SCRIPTS.items():
        assert run_here(tmp_path / name, script, API_BASE_URL=base_url).returncode == 0
    (tmp_path / "service-user-pat/.env").write_text("PERSONAL_ACCESS_TOKEN=wrong")
    ended = run_here(tmp_path / "service-user-pat", "call-api-with-pat.py", API_BASE_URL=base_url)
    assert ended.returncode == 1


def test_another_program_at_the_apis_address_is_recognized(suite: Suite) -> None:
    folder = suite.folder / "service-user-pat"
    ended = run_here(folder, SCRIPTS[folder.name], API_BASE_URL=suite.zitadel.issuer)
    assert ended.returncode == 4
    assert "something other than this API" in ended.stderr and "API_BASE_URL" in ended.stderr


@pytest.mark.parametrize(
    ("name", "variables", "part"),
    [
        ("service-user-client-credentials", {"CLIENT_ID": "nobody"}, "CLIENT_ID"),
        ("service-user-client-credentials", {"CLIENT_SECRET": "wr0ng"}, "CLIENT_SECRET"),
        (
            "service-user-client-credentials",
            {"CLIENT_ID": "service-user-pat-{project}"},
            "no client secret",
        ),
        ("service-user-jwt", {"ZITADEL_DOMAIN": "https://other.example"}, "ZITADEL_DOMAIN"),
    ],
)
def test_a_rejected_token_request_is_explained(
    name: str, variables: dict[str, str], part: str, suite: Suite
) -> None:
    project = dotenv_values(suite.folder / "service-user-pat" / ".env")["PROJECT_ID"]
    variables = {key: value.format(project=project) for key, value in variables.items()}
    variables["ZITADEL_TOKEN_URL"] = f"{suite.zitadel.issuer}/oauth/v2/token"
    ended = run_here(suite.folder / name, SCRIPTS[name], **variables)
    assert (ended.returncode, ended.stdout) == (4, "")
    assert len(ended.stderr.splitlines()) == 1
    assert part in ended.stderr
    assert "wr0ng" not in ended.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {"ZITADEL_DOMAIN": "https://other.example"},
        {"API_CLIENT_SECRET": "wr0ng"},
        {"ZITADEL_INTROSPECTION_URL": "{issuer}/nothing"},
    ],
)
def test_rejected_api_credentials_are_500_and_explained_in_the_log(
    variables: dict[str, str], suite: Suite
) -> None:
    issuer = suite.zitadel.issuer
    settings = {"ZITADEL_INTROSPECTION_URL": f"{issuer}/oauth/v2/introspect"} | {
        name: value.format(issuer=issuer) for name, value in variables.items()
    }
    basic = "API_CLIENT_SECRET" in variables
    folder = suite.folder / ("api-basic-authentication" if basic else "api-jwt")
    with running_api(folder, FLASK, **settings) as base_url:
        status, _, body = send(base_url, "/api/private", bearer("tok3n"))
    assert (status, body["error"]) == (500, "server_error")
    log = (folder / "log.txt").read_text()
    assert "ZITADEL rejected this API's introspection request" in log
    assert "Traceback" not in log and "tok3n" not in log and "wr0ng" not in log
