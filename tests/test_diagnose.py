"""diagnose.py as a person runs it, on each mistake that hides behind an inactive token."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from dotenv import dotenv_values

from conftest import Suite
from keys import RSA_KEY, pem
from programs import APIS, ROOT, SCRIPTS, environment, eventually, free_port, run
from servers import Upstream
from test_help import WRONG_CLOCK

JWT_USER, SECRET_USER, PAT_USER = SCRIPTS


def diagnose(
    suite: Suite,
    *arguments: str,
    token: str | None = None,
    status: int = 1,
    code: str = "",
    **variables: str,
) -> list[str]:
    """Run it in the suite, check its exit status, and return its lines, each whole."""
    program = str(ROOT / "diagnose.py")
    command = (
        ["-c", code, *arguments[:1], program, *arguments[1:]] if code else [program, *arguments]
    )
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=suite.folder,
        env=environment(**variables),
        **({"input": token} if token is not None else {"stdin": subprocess.DEVNULL}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    output = ended.stdout + ended.stderr
    assert ended.returncode == status, output
    assert "Traceback" not in output
    for secret in secrets(suite, token or "", variables):
        assert secret not in output
    return output.replace("\n         ", " ").splitlines()


def secrets(suite: Suite, token: str, variables: dict[str, str]) -> list[str]:
    found = [token.strip(), variables.get("PERSONAL_ACCESS_TOKEN", "")]
    for folder in (*APIS, *SCRIPTS):
        values = dotenv_values(suite.folder / folder / ".env")
        found += [value or "" for name, value in values.items() if re.search("SECRET|TOKEN", name)]
    return [secret for secret in found if len(secret) > 8 and not secret.startswith("http")]


def problems(lines: list[str]) -> list[str]:
    return [line.removeprefix("PROBLEM  ") for line in lines if line.startswith("PROBLEM")]


def token_of(suite: Suite, name: str, **variables: str) -> str:
    ended = run(suite.folder / name, SCRIPTS[name], "--token-only", **variables)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_token_that_passes_has_no_problem(api: str, name: str, suite: Suite) -> None:
    lines = diagnose(suite, api, token=token_of(suite, name), status=0)
    assert [line[:9] for line in lines[1:-1]] == ["ok       "] * 7
    assert lines[-1] == "An API with these settings lets this token pass."
    assert ("it is a personal access token" in str(lines)) == (name == PAT_USER)


def test_without_a_token_the_personal_access_token_is_taken(suite: Suite) -> None:
    assert "PERSONAL_ACCESS_TOKEN" in diagnose(suite, "api-jwt", status=0)[0]
    lines = diagnose(suite, "api-jwt", PERSONAL_ACCESS_TOKEN="wrong-token")
    assert "isn't active" in problems(lines)[0] and "scope" not in problems(lines)[0]


def test_a_program_that_gave_no_token_is_not_taken_for_one(suite: Suite) -> None:
    (line,) = diagnose(suite, "api-jwt", token="", status=2)
    assert line == "There is no token on standard input: the program before the | gave none."


@pytest.mark.parametrize("api", APIS)
def test_a_token_for_another_project(api: str, suite: Suite) -> None:
    (told,) = problems(diagnose(suite, api, token=token_of(suite, JWT_USER, PROJECT_ID="7")))
    project = dotenv_values(suite.folder / JWT_USER / ".env")["PROJECT_ID"]
    assert "isn't active" in told and f"urn:zitadel:iam:org:project:id:{project}:aud" in told


def test_a_user_without_the_role(suite: Suite, add_user: Callable[[], str]) -> None:
    token = suite.zitadel.add_pat(add_user())
    (told,) = eventually(
        lambda: problems(diagnose(suite, "api-jwt", token=token)), lambda e: "lacks" in e[0]
    )
    assert "lacks the role read:messages (all of its roles here: none)" in told
    (told,) = problems(diagnose(suite, "api-jwt", "--role", "admin"))
    assert "lacks the role admin (all of its roles here: read:messages)" in told


@pytest.mark.parametrize("token", ["Bearer abc", '"abc"', "abc def", "abc\ndef", "\u00e4", "a,b"])
def test_a_damaged_token(token: str, suite: Suite) -> None:
    (told,) = problems(diagnose(suite, "api-jwt", token=token))
    assert "holds characters that no token has" in told


@pytest.mark.parametrize(
    ("api", "variables", "told"),
    [
        ("api-basic-authentication", {"API_CLIENT_SECRET": "wr0ng-secret"}, "a new secret ends"),
        ("api-basic-authentication", {"API_CLIENT_ID": "1"}, "Correct API_CLIENT_ID"),
        ("api-basic-authentication", {"ZITADEL_INTROSPECTION_URL": "{}/x"}, "or remove it"),
        ("api-jwt", {"ZITADEL_INTROSPECTION_URL": "http://localhost:9"}, "can't be reached"),
    ],
)
def test_credentials_that_zitadel_refuses(
    api: str, variables: dict[str, str], told: str, suite: Suite
) -> None:
    changed = {name: value.format(suite.zitadel.issuer) for name, value in variables.items()}
    lines = diagnose(suite, api, token=None, status=1, code="", **changed)
    assert told in problems(lines)[0]
    assert "the API can't ask about the token" in lines[-1]


def test_a_key_that_zitadel_does_not_know(suite: Suite, tmp_path: Path) -> None:
    file = tmp_path / "api-key-file.json"
    key = json.loads((suite.folder / "api-jwt/api-key-file.json").read_text())
    file.write_text(json.dumps(key | {"key": pem(RSA_KEY)}))
    (told,) = problems(diagnose(suite, "api-jwt", API_PRIVATE_KEY_FILE=str(file)))
    assert "refuses the API's key (unauthorized_client)" in told


@pytest.mark.parametrize(("ahead", "direction"), [(300, "ahead of"), (-1000, "behind")])
def test_a_clock_that_is_wrong(ahead: int, direction: str, suite: Suite) -> None:
    first, *_ = problems(diagnose(suite, str(ahead), "api-jwt", code=WRONG_CLOCK))
    assert f"s {direction} ZITADEL's" in first


@pytest.mark.local_zitadel
def test_an_address_that_is_not_zitadels(suite: Suite, upstream: Upstream) -> None:
    issuer, port = suite.zitadel.issuer, free_port()
    upstream.paths["/.well-known/openid-configuration"] = {"issuer": issuer}
    for domain, told in (
        (f"http://localhost:{port}", "can't be reached (ConnectionError)"),
        (
            issuer.replace("localhost", "127.0.0.1"),
            "127.0.0.1 and a container's name are not the same",
        ),
        (issuer.replace("http", "https"), "it doesn't speak https; is it http:// instead?"),
        (upstream.base_url, f"The issuer is '{issuer}'"),
    ):
        assert told in problems(diagnose(suite, "api-jwt", ZITADEL_DOMAIN=domain))[0]
    upstream.paths.clear()
    lines = diagnose(suite, "api-jwt", ZITADEL_DOMAIN=upstream.base_url)
    assert "doesn't answer as ZITADEL does (status 200)" in problems(lines)[0]


def test_what_a_jwt_says_of_itself(suite: Suite) -> None:
    issuer = suite.zitadel.issuer
    project = dotenv_values(suite.folder / JWT_USER / ".env")["PROJECT_ID"]
    right = {"iss": issuer, "aud": [project], "exp": time.time() + 60, "jti": "1", "sub": "2"}
    for changed, told in (
        ({}, "isn't active"),
        ({"aud": ["7"]}, f"neither this API nor its project {project}"),
        ({"aud": "7"}, f"urn:zitadel:iam:org:project:id:{project}:aud"),
        ({"iss": "https://other.example"}, "Its issuer is 'https://other.example'"),
        ({"exp": 1}, "It ended at 1970-01-01 00:00:01 UTC"),
        ({"jti": None}, "It looks like an id_token"),
        ({"aud": issuer}, "It is an assertion"),
    ):
        claims = {name: value for name, value in (right | changed).items() if value is not None}
        token = jwt.encode(claims, RSA_KEY, "RS256")
        lines = diagnose(suite, "api-jwt", token=token)
        assert "ok       The token is a JWT." in lines
        assert told in problems(lines)[0]
    lines = diagnose(suite, "api-jwt", "--project-id", "7", token=token)
    assert "It is an assertion" in problems(lines)[0]


@pytest.mark.parametrize("token", ["a.b.c", "a.b", "..", "e30.e30.x", "W10.W10.x"])
def test_what_only_looks_like_a_jwt(token: str, suite: Suite) -> None:
    assert "isn't active" in problems(diagnose(suite, "api-jwt", token=token))[-1]


def test_mistakes_of_the_folder_are_one_sentence(suite: Suite) -> None:
    app = suite.folder / "app"
    app.mkdir()
    shutil.copy(suite.folder / "api-jwt/client_authentication.py", app)
    for arguments, variables, told in (
        (("app",), {}, "is not the folder of an API of this suite: put your values into"),
        (("service-user-pat",), {}, "is not the folder of an API"),
        (("nowhere",), {}, "is not the folder of an API"),
        (
            ("api-jwt",),
            {"ZITADEL_DOMAIN": "<YOUR_DOMAIN>"},
            "ZITADEL_DOMAIN is still a placeholder",
        ),
        (("api-jwt",), {"API_PRIVATE_KEY_FILE": "no.json"}, "doesn't exist"),
    ):
        lines = diagnose(suite, *arguments, status=2, **variables)
        assert len(lines) == 1 and told in lines[0]
