"""diagnose.py as a person runs it, on each mistake that hides behind an inactive token."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import jwt
import pytest
from dotenv import dotenv_values

from conftest import Suite
from instance import USERS
from keys import RSA_KEY, pem, tls
from programs import APIS, ROOT, SCRIPTS, copy_folder, eventually, free_port, run, run_here
from servers import ROLES, Upstream
from test_scripts_at_zitadel import WRONG_CLOCK

JWT_USER, SECRET_USER, PAT_USER = SCRIPTS
BASIC = "api-basic-authentication"
DISCOVERY = "/.well-known/openid-configuration"
NO_PAT = {"PERSONAL_ACCESS_TOKEN": "no-token"}
ACCEPTED = "An API with these settings accepts this token."
FIRST = "the most likely cause first"
DEAD = (
    "its user was deleted, or deactivated or locked, after which tokens stay dead even if that is"
)
RESTARTED = "local-zitadel was restarted, which forgets everything: run provision.py again; "
GONE = f"{RESTARTED}{DEAD} undone: get a new one; or another ZITADEL issued it."
PERSONAL = "it has expired or was removed; it wasn't copied whole; " + GONE


def diagnose(
    folder: Path,
    *options: str,
    token: str | bytes | None = None,
    status: int = 1,
    ahead: float = 0,
    **variables: str,
) -> list[str]:
    """Run it on an API's folder and return its lines, each whole.

    It must end with this exit status and print nothing secret. A `token` is piped in; this
    machine's clock is `ahead` by so many seconds.
    """
    receiver, sender = os.pipe()
    os.write(sender, token.encode() if isinstance(token, str) else token or b"")
    os.close(sender)
    if token is None:
        os.close(receiver)
    modules = {file.stem for file in folder.glob("*.py")} & sys.modules.keys()
    ours = {name: sys.modules.pop(name) for name in modules}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", open(os.devnull if token is None else receiver))
        now = time.time
        patch.setattr(time, "time", lambda: now() + ahead)
        try:
            ended = run_here(ROOT, "diagnose.py", str(folder), *options, **variables)
        finally:
            for file in folder.glob("*.py"):
                sys.modules.pop(file.stem, None)
            sys.modules.update(ours)
            sys.stdin.close()
    output = ended.stdout + ended.stderr
    assert ended.returncode == status, output
    values = [token.strip()] if isinstance(token, str) else []
    values += [value for name, value in variables.items() if re.search("SECRET|ACCESS", name)]
    for file in folder.parent.glob("*/.env"):
        text = file.read_text(errors="replace")
        values += re.findall("(?:SECRET|ACCESS_TOKEN)=[\"']?([^\"'\\n]+)", text)
    for value in values:
        assert len(value) < 9 or value not in output
    lines = ended.stdout.replace(str(folder.parent), "…").splitlines()
    assert all(len(line) <= 100 or " " not in line[9:] for line in lines)
    return output.replace("\n         ", " ").splitlines()


def problems(lines: list[str]) -> list[str]:
    return [line.removeprefix("PROBLEM  ") for line in lines if line.startswith("PROBLEM")]


def problem(folder: Path, *options: str, **arguments: Any) -> str:
    """Return the only problem found."""
    (told,) = problems(diagnose(folder, *options, **arguments))
    return told


def token_of(suite: Suite, name: str, **variables: str) -> str:
    ended = run(suite.folder / name, SCRIPTS[name], "--token-only", **variables)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def project_of(suite: Suite) -> str:
    return str(dotenv_values(suite.folder / JWT_USER / ".env")["PROJECT_ID"])


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_token_that_passes_has_no_problem(api: str, name: str, suite: Suite) -> None:
    lines = diagnose(suite.folder / api, token=token_of(suite, name), status=0)
    assert {line[:9].strip() for line in lines[1:-2]} == {"ok"}
    assert lines[-2] == ACCEPTED
    assert ("it is a personal access token" in str(lines)) == (name == PAT_USER)
    known = f"ok       The API belongs to the project {project_of(suite)}."
    assert (known in lines) == (name == PAT_USER)


def test_as_a_process_of_its_own(suite: Suite) -> None:
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


def test_a_program_that_gave_no_token(suite: Suite) -> None:
    (line,) = diagnose(suite.folder / "api-jwt", token="", status=2)
    assert line == "Standard input is empty: the command before the pipe printed no token."


# A wrong project


@pytest.mark.parametrize("api", APIS)
def test_a_project_id_of_another_project(api: str, suite: Suite) -> None:
    token, project = token_of(suite, JWT_USER, PROJECT_ID="7"), project_of(suite)
    told = problem(suite.folder / api, token=token, PROJECT_ID="7")
    assert told == (
        "ZITADEL says that the token isn't active for this API. PROJECT_ID in the environment "
        "isn't that project. If it is an access token, the most "
        f"likely cause first: it was requested without the scope urn:zitadel:iam:org:project:id:"
        f"{project}:aud with the id of the API's project; it has expired; it wasn't copied "
        f"whole; it was revoked; {GONE} If it is "
        f"a personal access token, {FIRST}: {PERSONAL}"
    )
    right = problem(suite.folder / api, token=token)
    assert right == told.replace("PROJECT_ID in the environment isn't that project. ", "")


def test_a_wrong_project_id_shows_with_a_personal_access_token(suite: Suite) -> None:
    options = ("--project-id", "8")
    lines = diagnose(suite.folder / "api-jwt", *options, status=0, PROJECT_ID="7")
    for place in ("PROJECT_ID in the environment", "--project-id"):
        told = f"note     {place} isn't that project: tokens for it aren't active for this API."
        assert told in lines


def test_the_project_is_asked_for_where_it_is_not_known(suite: Suite) -> None:
    token = token_of(suite, JWT_USER, PROJECT_ID="7")
    told = problem(suite.folder / "api-jwt", token=token, PROJECT_ID="7", **NO_PAT)
    assert "urn:zitadel:iam:org:project:id:PROJECT:aud with the id of the API's project" in told
    assert "compare PROJECT_ID with it, and pass it as --project-id." in told
    options = ("--project-id", "8")
    told = problem(suite.folder / "api-jwt", *options, token=token, PROJECT_ID="7", **NO_PAT)
    assert (
        "project:id:8:aud with the id of the API's project" in told and "isn't that project" in told
    )


def signed(claims: dict[str, Any]) -> str:
    content = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(content, RSA_KEY, "RS256")


def test_what_a_jwt_says_of_itself(suite: Suite) -> None:
    issuer, project = suite.zitadel.issuer, project_of(suite)
    right = {"iss": issuer, "aud": [project], "exp": time.time() + 60, "jti": "1", "sub": "2"}
    for changed, told in (
        ({}, f"As a JWT, {FIRST}: it was revoked; {DEAD} undone; or it was"),
        ({"aud": ["7"]}, f"['7'] contains neither this API nor its project {project}: request"),
        ({"aud": "7"}, f"urn:zitadel:iam:org:project:id:{project}:aud (see PROJECT_ID)."),
        ({"iss": "https://a.b"}, f"https://a.b issued it, not {issuer}: check the client's"),
        ({"exp": 1}, "It expired at 1970-01-01 00:00:01 UTC: get a new one."),
        ({"jti": None}, "It looks like an id_token: send the access_token of the same answer."),
        ({"aud": issuer}, "It is an assertion: send it to ZITADEL's token endpoint"),
        ({"iss": "\x1b[1m"}, r"\x1b[1m issued it"),
    ):
        lines = diagnose(suite.folder / "api-jwt", token=signed(right | changed), PROJECT_ID="7")
        assert told in problems(lines)[0]


def test_a_jwt_of_another_project_never_agrees_with_a_wrong_project_id(suite: Suite) -> None:
    claims = {"iss": suite.zitadel.issuer, "aud": ["7"], "jti": "1"}
    told = problem(suite.folder / BASIC, token=signed(claims), PROJECT_ID="7", **NO_PAT)
    assert "As a JWT, the most likely cause first: it was requested without the scope" in told
    assert "Its audience is ['7']. Which project this API belongs to isn't known here" in told


@pytest.mark.parametrize("api", APIS)
def test_a_jwt_that_zitadel_issued(
    api: str, suite: Suite, add_user: Callable[[], str], tmp_path: Path
) -> None:
    user_id, key_file = add_user(), tmp_path / "key.json"
    kind = {"name": "JWT", "accessTokenType": "ACCESS_TOKEN_TYPE_JWT"}
    suite.zitadel.call(f"/management/v1/users/{user_id}/machine", kind, "PUT")
    suite.zitadel.add_key(user_id, key_file)
    variables = {"CLIENT_PRIVATE_KEY_FILE_PATH": str(key_file)}
    token = token_of(suite, JWT_USER, **variables, PROJECT_ID="7")
    told = problem(suite.folder / api, token=token, PROJECT_ID="7")
    audience = f"Its audience ['7'] contains neither this API nor its project {project_of(suite)}"
    assert audience in told and told.count(". ") == 1
    assert "is without the role" in problem(
        suite.folder / api, token=token_of(suite, JWT_USER, **variables)
    )


@pytest.mark.parametrize("token", ["a.b.c", "a.b", "..", "e30.e30.x", "W10.W10.x"])
def test_what_only_looks_like_a_jwt(token: str, suite: Suite) -> None:
    assert "If it is an access token" in problem(suite.folder / "api-jwt", token=token)


# Tokens that are no longer active


def test_a_personal_access_token_that_is_cut_off(suite: Suite) -> None:
    pat = str(dotenv_values(suite.folder / PAT_USER / ".env")["PERSONAL_ACCESS_TOKEN"])
    told = problem(suite.folder / "api-jwt", token=pat[:-5])
    assert (
        "It is only a part of the PERSONAL_ACCESS_TOKEN in " in told
        and f"{PAT_USER}/.env: copy it whole" in told
    )
    told = problem(suite.folder / "api-jwt", PERSONAL_ACCESS_TOKEN=pat[:-5])
    assert f"the most likely cause first: {PERSONAL} Create one" in told


@pytest.mark.parametrize("cause", ["expired", "removed", "user deactivated", "user deleted"])
def test_a_personal_access_token_that_is_no_longer_active(
    cause: str, suite: Suite, add_user: Callable[[], str]
) -> None:
    zitadel, user = suite.zitadel, add_user()
    content = {"userId": user, "expirationDate": "2090-01-01T00:00:00Z"}
    if cause == "expired":
        seconds = time.gmtime(time.time() + 3)
        content["expirationDate"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", seconds)
    created = zitadel.call(f"{USERS}/AddPersonalAccessToken", content)
    if cause == "expired":
        time.sleep(4)
    elif cause == "removed":
        content = {"userId": user, "tokenId": created["tokenId"]}
        zitadel.call(f"{USERS}/RemovePersonalAccessToken", content)
    elif cause == "user deactivated":
        zitadel.call(f"{USERS}/DeactivateUser", {"userId": user})
    else:
        zitadel.delete_user(user)
    token = created["token"]
    told = eventually(
        lambda: " ".join(problems(diagnose(suite.folder / BASIC, token=token))),
        lambda text: "active" in text,
    )
    assert f"If it is a personal access token, the most likely cause first: {PERSONAL}" in told
    assert f"id:{project_of(suite)}:aud with the id of the API's project" in told
    told = problem(suite.folder / BASIC, PERSONAL_ACCESS_TOKEN=token)
    assert (
        f"As a personal access token, the most likely cause first: {PERSONAL}" in told
        and "scope" not in told
    )


def test_a_token_of_another_zitadel(suite: Suite, upstream: Upstream) -> None:
    upstream.answer({"access_token": "from-another-zitadel", "expires_in": 60})
    url = upstream.base_url + "/oauth/v2/token"
    token = token_of(suite, JWT_USER, ZITADEL_TOKEN_URL=url)
    told = problem(suite.folder / "api-jwt", token=token)
    assert told.count("another ZITADEL issued it") == 2


@pytest.mark.parametrize("token", ["Bearer abc", '"abc"', "abc def", "abc\ndef", "\u00e4", "a,b"])
def test_a_token_with_impossible_characters(token: str, suite: Suite) -> None:
    told = problem(suite.folder / "api-jwt", token=token)
    assert "contains characters that no token can contain" in told
    assert ("begins with the word Bearer" in told) == token.startswith("Bearer")


def test_a_byte_order_mark_is_no_part_of_the_token(suite: Suite) -> None:
    token = "\ufeff" + token_of(suite, JWT_USER) + "\r\n"
    assert ACCEPTED in diagnose(suite.folder / "api-jwt", token=token.encode(), status=0)


# Roles and expiry


def test_a_user_without_the_role(suite: Suite, add_user: Callable[[], str]) -> None:
    token = suite.zitadel.add_pat(add_user())
    told = eventually(
        lambda: problems(diagnose(suite.folder / "api-jwt", token=token))[0],
        lambda text: "role" in text,
    )
    assert told == (
        "The token is without the role read:messages (all of its roles here: none). Assign it in "
        f"ZITADEL's console, in the project {project_of(suite)} under Role Assignments (until 4.9: "
        "Authorizations); it takes effect immediately."
    )
    told = problem(suite.folder / "api-jwt", "--role", "admin")
    organization = suite.zitadel.organization_id()
    assert f"roles here: read:messages through organization {organization})" in told


@pytest.fixture
def scripted(upstream: Upstream, tmp_path: Path) -> tuple[Upstream, Path]:
    """Provide a scripted ZITADEL that accepts every token, and an API's folder for it."""
    upstream.paths[DISCOVERY] = {
        "issuer": upstream.base_url,
        "introspection_endpoint": upstream.url,
    }
    folder = copy_folder(BASIC, tmp_path)
    settings = {"ZITADEL_DOMAIN": upstream.base_url, "API_CLIENT_ID": "5"}
    settings["API_CLIENT_SECRET"] = "s3cret-s3cret"
    (folder / ".env").write_text("".join(f"{name}={settings[name]}\n" for name in settings))
    upstream.answer(claims())
    return upstream, folder


def claims(**changes: Any) -> dict[str, Any]:
    roles = {"read:messages": {"12": "a.example", "13": "b.example"}}
    answer = {"active": True, "sub": "1", "client_id": "user", "exp": time.time() + 60}
    return {**answer, ROLES: roles, **changes}


def test_a_role_scope_hides_the_other_roles(scripted: tuple[Upstream, Path]) -> None:
    upstream, folder = scripted
    scope = "openid urn:zitadel:iam:org:project:role:other"
    upstream.answer(claims(scope=scope, **{ROLES: {}}))
    told = problem(folder, token="abc")
    assert "was requested with urn:zitadel:iam:org:project:role:other, which hides all" in told
    assert "request it without role scopes. If its user doesn't have it: assign it" in told
    assert "hides" not in problem(folder, "--role", "other", token="abc")
    personal = claims(scope=scope, aud=["5", "6"], **{ROLES: {}})
    del personal["client_id"]
    upstream.answer(personal)
    told = problem(folder, token="abc")
    assert "hides" not in told and "in the project 6 under" in told


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["5", "6"]},
        {"aud": ["6"], "client_id": None},
        {"aud": ["6", "7"], "client_id": None},
    ],
)
def test_the_project_is_known_only_from_a_personal_access_token(
    changes: dict[str, Any], scripted: tuple[Upstream, Path]
) -> None:
    answer = claims(**changes)
    scripted[0].answer({name: value for name, value in answer.items() if value is not None})
    lines = diagnose(scripted[1], token="abc", status=0)
    assert "belongs to the project" not in str(lines)


def test_an_answer_that_contains_the_token(scripted: tuple[Upstream, Path]) -> None:
    scripted[0].answer(claims(sub="\x1b[1m a-long-token"))
    lines = diagnose(scripted[1], token="a-long-token", status=0)
    assert r"its user is \x1b[1m …." in " ".join(lines)


def test_roles_are_shown_with_their_organizations(scripted: tuple[Upstream, Path]) -> None:
    lines = diagnose(scripted[1], token="abc", status=0)
    shown = "read:messages (all of its roles here: read:messages through organization 12, 13)"
    assert f"ok       Its user has the role {shown}." in lines


@pytest.mark.parametrize(
    ("exp", "told"),
    [
        (253402300799, "ok       It never expires."),
        (4102444800, "ok       It expires at 2100-01-01 00:00:00 UTC."),
        (None, "note     ZITADEL doesn't say when it expires; the API accepts that."),
    ],
)
def test_the_expiry(exp: int | None, told: str, scripted: tuple[Upstream, Path]) -> None:
    answer = {name: value for name, value in claims(exp=exp).items() if value is not None}
    scripted[0].answer(answer)
    lines = diagnose(scripted[1], token="abc", status=0)
    assert told in lines and ACCEPTED in lines


@pytest.mark.parametrize(
    ("exp", "told"), [("soon", "is not a number. The API rejects it"), (5, "Set the clock")]
)
def test_an_expiry_for_which_the_api_rejects_it(
    exp: object, told: str, scripted: tuple[Upstream, Path]
) -> None:
    scripted[0].answer(claims(exp=exp))
    assert told in problem(scripted[1], token="abc")


def test_an_answer_that_the_api_cannot_use(scripted: tuple[Upstream, Path]) -> None:
    upstream, folder = scripted
    content: Callable[[dict[str, str]], object] = lambda form: (  # noqa: E731
        claims(scope="a" * (1_000_000 if form["token"] == "abc" else 1))
    )
    upstream.answer(content)
    told = problem(folder, token="abc")
    assert "answer about the token is larger than the API reads" in told and "scopes" in told
    upstream.answer(lambda form: {} if form["token"] == "abc" else claims())
    assert "ZITADEL can't tell (status 200). Try again" in problem(folder, token="abc")


# The API's own credentials


def test_a_secret_that_zitadel_rejects(suite: Suite) -> None:
    for variables in ({"API_CLIENT_SECRET": "wr0ng-secret"}, {"API_CLIENT_ID": "1"}):
        lines = diagnose(suite.folder / BASIC, status=1, ahead=0, **variables)
        assert problems(lines) == [
            "ZITADEL rejects the API's client id and secret (unauthorized_client). Possible "
            "causes, the most likely first: API_CLIENT_ID isn't this API's client id, or "
            "API_CLIENT_SECRET isn't its latest secret: a new one invalidates the previous one; "
            "the API has the method Private Key JWT, which takes no secret: use api-jwt, or an "
            f"API with the method Basic; {RESTARTED}the API (the application in ZITADEL's "
            "console), its project or its organization was deactivated: reactivate that, since new "
            "credentials don't help; it was deleted; or it belongs to another ZITADEL."
        ]
        assert lines[-1] == "Fix this first: the token itself couldn't be checked."


def test_the_two_apis_swapped(suite: Suite) -> None:
    key = json.loads((suite.folder / "api-jwt/api-key-file.json").read_text())
    told = problem(suite.folder / BASIC, API_CLIENT_ID=key["clientId"])
    assert "the API has the method Private Key JWT, which takes no secret: use api-jwt" in told


def wrong_key(suite: Suite, into: Path) -> Path:
    file = into / "api-key-file.json"
    key = json.loads((suite.folder / "api-jwt/api-key-file.json").read_text())
    file.write_text(json.dumps(key | {"key": pem(RSA_KEY)}))
    return file


def test_a_key_that_zitadel_rejects(suite: Suite, tmp_path: Path) -> None:
    told = problem(suite.folder / "api-jwt", API_PRIVATE_KEY_FILE=str(wrong_key(suite, tmp_path)))
    assert told == (
        "ZITADEL rejects the API's key (unauthorized_client). Possible causes, the most likely "
        "first: the key was removed or has expired: create a new one for API_PRIVATE_KEY_FILE; "
        f"{RESTARTED}the API (the application in ZITADEL's console), its project or its "
        "organization was deactivated: reactivate that, since new credentials don't help; it was "
        "deleted; or it belongs to another ZITADEL."
    )


@pytest.mark.parametrize("error", ["unauthorized_client", "access_denied"])
def test_an_api_or_project_that_was_deactivated(
    error: str, scripted: tuple[Upstream, Path]
) -> None:
    scripted[0].answer({"error": error}, 400)
    told = problem(scripted[1], token="abc")
    assert f"client id and secret ({error}). Possible causes" in told
    assert "was deactivated: reactivate that, since new credentials don't help" in told


# Clocks


@pytest.mark.parametrize(("ahead", "direction"), [(300, "ahead of"), (-1000, "behind")])
def test_a_clock_that_is_wrong(ahead: int, direction: str, suite: Suite, tmp_path: Path) -> None:
    told = problems(diagnose(suite.folder / "api-jwt", ahead=ahead))
    assert f"s {direction} ZITADEL's. Set it: ZITADEL rejects assertions" in told[0]
    (other,) = told[1:]
    assert "The clock alone causes that" in other
    key = {"API_PRIVATE_KEY_FILE": str(wrong_key(suite, tmp_path))}
    told = problems(diagnose(suite.folder / "api-jwt", ahead=-700, status=1, **key))
    assert "the key was removed" in told[1] and "The clock alone" not in told[1]
    lines = diagnose(suite.folder / BASIC, ahead=ahead, status=0)
    assert "clients on this machine that sign assertions may get no token" in str(lines)


@pytest.mark.parametrize("ahead", [50, -300])
def test_a_clock_that_is_a_little_wrong(ahead: int, suite: Suite) -> None:
    lines = diagnose(suite.folder / "api-jwt", ahead=ahead, status=0)
    assert "ZITADEL's, which is tolerated." in str(lines) and ACCEPTED in lines


def test_a_wrong_clock_here_does_not_make_a_token_expired(
    scripted: tuple[Upstream, Path],
) -> None:
    upstream, folder = scripted
    upstream.answer({"active": False}, headers={"Date": formatdate(usegmt=True)})
    token = signed({"iss": upstream.base_url, "exp": time.time() + 60, "jti": "1"})
    assert "expired" not in problem(folder, token=token, ahead=3600)
    token = signed({"iss": upstream.base_url, "exp": time.time() - 60, "jti": "1"})
    assert "It expired at" in problem(folder, token=token, ahead=-3600)


@pytest.mark.local_zitadel
@pytest.mark.parametrize("ahead", [300, -90000])
def test_a_client_whose_clock_is_wrong_prints_no_token(ahead: int, suite: Suite) -> None:
    command = ("-c", WRONG_CLOCK, str(ahead), SCRIPTS[JWT_USER], "--token-only")
    token = run(suite.folder / JWT_USER, *command).stdout
    (line,) = diagnose(suite.folder / "api-jwt", token=token, status=2)
    assert "the command before the pipe printed no token" in line


# Addresses


@pytest.mark.local_zitadel
def test_a_domain_that_is_not_zitadels(suite: Suite, upstream: Upstream) -> None:
    issuer, folder = suite.zitadel.issuer, suite.folder / "api-jwt"
    upstream.paths[DISCOVERY] = {"issuer": issuer}
    for domain, told in (
        (f"http://localhost:{free_port()}", "can't be reached"),
        (issuer.replace("localhost", "127.0.0.1"), "but not under its own domain"),
        (issuer.replace("http", "https"), "check the address in ZITADEL_DOMAIN"),
        (upstream.base_url, f"calls itself {issuer}: set ZITADEL_DOMAIN to that."),
    ):
        shown = problem(folder, ZITADEL_DOMAIN=domain)
        assert (
            shown.startswith("The API can't use the address in ZITADEL_DOMAIN. ") and told in shown
        )
    for path, setting in ((DISCOVERY, "ZITADEL_DOMAIN"), ("", "ZITADEL_DOMAIN")):
        upstream.paths.clear()
        upstream.answer(b"", 302, headers={"Location": f"https://a.b{path}"})
        shown = problem(folder, ZITADEL_DOMAIN=upstream.base_url)
        assert f"redirects to https://a.b{path}: set {setting} to where ZITADEL itself" in shown
    upstream.answer({"message": "hello"})
    shown = problem(folder, ZITADEL_DOMAIN=upstream.base_url)
    assert "doesn't answer as ZITADEL does (status 200)" in shown


def test_a_scheme_that_zitadel_does_not_give_itself(
    scripted: tuple[Upstream, Path], tmp_path: Path
) -> None:
    upstream, folder = scripted
    https = upstream.base_url.replace("http", "https")
    upstream.paths[DISCOVERY] = {"issuer": https}
    assert "turn its setting ExternalSecure off" in problem(folder, token="abc")
    context, file = tls(tmp_path)
    secure = Upstream(context)
    plain = secure.base_url.replace("https", "http")
    secure.paths[DISCOVERY] = {"issuer": plain}
    variables = {"ZITADEL_DOMAIN": secure.base_url, "REQUESTS_CA_BUNDLE": str(file)}
    told = problem(folder, token="abc", **variables)
    secure.stop()
    assert f"This ZITADEL calls itself {plain}, since its setting ExternalSecure is off" in told
    assert f"set ZITADEL_DOMAIN to {plain}" not in told


@pytest.mark.parametrize(
    ("host", "days", "bundle", "told"),
    [
        ("127.0.0.1", (-1, 1), "", "(self-signed certificate): set REQUESTS_CA_BUNDLE to a file"),
        ("127.0.0.1", (-3, -1), "certificate.pem", "(certificate has expired): renew it"),
        ("127.0.0.2", (-1, 1), "certificate.pem", "use a name that it contains"),
    ],
)
def test_certificates(
    host: str,
    days: tuple[int, int],
    bundle: str,
    told: str,
    scripted: tuple[Upstream, Path],
    tmp_path: Path,
) -> None:
    context, _ = tls(tmp_path, host, days)
    secure = Upstream(context)
    file = {"REQUESTS_CA_BUNDLE": str(tmp_path / bundle) if bundle else ""}
    shown = problem(scripted[1], token="abc", ZITADEL_DOMAIN=secure.base_url, **file)
    secure.stop()
    assert told in shown


@pytest.mark.local_zitadel
def test_an_introspection_url_that_is_wrong(suite: Suite, upstream: Upstream) -> None:
    issuer = suite.zitadel.issuer
    right = f"Remove ZITADEL_INTROSPECTION_URL, or correct it: it usually is {issuer}/oauth/v2/int"
    for url, told in (
        (f"{issuer}/x", right),
        (f"{issuer}/oauth/v2/token", right),
        (f"{issuer}/oauth/v2/keys", right),
        (upstream.url, "isn't answered"),
        (
            f"http://localhost:{free_port()}",
            "The API can't use the address in ZITADEL_INTROSPECTION_URL. ",
        ),
    ):
        if url == upstream.url:
            upstream.answer(b"", 301, headers={"Location": "https://a.b"})
            told = "set ZITADEL_INTROSPECTION_URL to where ZITADEL itself answers"
        for api in APIS:
            shown = problem(suite.folder / api, ZITADEL_INTROSPECTION_URL=url)
            assert told in shown, shown
    upstream.answer(b"<html>", 200)
    shown = problem(suite.folder / BASIC, ZITADEL_INTROSPECTION_URL=upstream.url)
    assert "doesn't answer as ZITADEL's introspection endpoint does (status 200)" in shown
    upstream.answer(b"", 503)
    shown = problem(suite.folder / BASIC, ZITADEL_INTROSPECTION_URL=upstream.url)
    assert "can't answer now (status 503): try again" in shown


def test_an_instance_that_is_not_found_at_the_introspection_url(
    scripted: tuple[Upstream, Path],
) -> None:
    upstream, folder = scripted
    upstream.answer(b"ID=QUERY-1kIjX Message=Instance not found.", 404)
    told = problem(folder, token="abc")
    assert "doesn't know the Host header that reaches it (sent: 127.0.0.1:" in told
    assert "ZITADEL_DOMAIN must be" in told and "proxy_set_header Host $http_host" in told


@pytest.mark.local_zitadel
def test_an_internal_address_is_enough(suite: Suite) -> None:
    """ZITADEL's own domain needn't be reachable from here."""
    issuer = suite.zitadel.issuer
    url = issuer.replace("localhost", "127.0.0.1") + "/oauth/v2/introspect"
    lines = diagnose(suite.folder / "api-jwt", ZITADEL_INTROSPECTION_URL=url, status=0)
    assert ACCEPTED in lines


def test_a_domain_that_is_not_reachable_from_here(scripted: tuple[Upstream, Path]) -> None:
    upstream, folder = scripted
    domain = f"http://localhost:{free_port()}"
    upstream.paths[DISCOVERY] = {"issuer": domain}
    variables = {"ZITADEL_DOMAIN": domain, "ZITADEL_INTROSPECTION_URL": upstream.url}
    lines = diagnose(folder, token="abc", status=0, ahead=0, **variables)
    assert f"ok       ZITADEL answers at {upstream.base_url} and calls itself {domain}." in lines


@pytest.mark.local_zitadel
def test_an_api_base_url_of_another_api_is_pointed_to(suite: Suite) -> None:
    lines = diagnose(suite.folder / "api-jwt", status=0)
    assert lines[-1] == "If yours doesn't, restart it, and check that API_BASE_URL is its address."


# The command line and the files


def test_mistakes_of_the_command_line(suite: Suite) -> None:
    token, folder = "a-token-not-to-be-shown", suite.folder
    for options, told in (
        ((folder / PAT_USER,), "Name api-jwt or api-basic-authentication"),
        ((folder / token,), "Name api-jwt or api-basic-authentication"),
        ((folder / "api-jwt", token), "the token is read from standard input"),
        ((folder / "api-jwt", "--token", token), "the token is read from standard input"),
        ((folder / "api-jwt", "--project-id", token), "digits only"),
    ):
        place, *others = options
        (line,) = diagnose(Path(place), *map(str, others), status=2)
        assert told in line and token not in line


def test_mistakes_of_the_settings(suite: Suite) -> None:
    for variables, told in (
        ({"ZITADEL_DOMAIN": "<YOUR_DOMAIN>"}, "ZITADEL_DOMAIN is still a placeholder"),
        ({"API_PRIVATE_KEY_FILE": "no.json"}, "API_PRIVATE_KEY_FILE is not the path of a"),
    ):
        (line,) = diagnose(suite.folder / "api-jwt", status=4, ahead=0, **variables)
        assert told in line


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
@pytest.mark.parametrize("name", [BASIC, *SCRIPTS])
def test_an_env_file_that_is_not_utf_8(
    name: str, encoding: str, scripted: tuple[Upstream, Path]
) -> None:
    env_file = scripted[1].parent / name / ".env"
    env_file.parent.mkdir(exist_ok=True)
    env_file.write_bytes("# \u00fc\nPROJECT_ID=1\n".encode(encoding))
    (line,) = diagnose(scripted[1], token="abc", status=4)
    assert line.startswith(str(env_file)) and "it must be a UTF-8 text file" in line


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_token_that_is_not_utf_8(encoding: str, scripted: tuple[Upstream, Path]) -> None:
    (line,) = diagnose(scripted[1], token="abc\u00fc".encode(encoding), status=4)
    assert line == "Standard input isn't UTF-8 text: save the file of the token as UTF-8."


def test_an_api_with_a_secret_needs_no_pyjwt() -> None:
    without = "import sys; sys.modules['jwt'] = None; import diagnose"
    ended = run(ROOT, "-c", without)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_app_of_ones_own_is_pointed_to_an_api_folder(tmp_path: Path) -> None:
    for file in ("server.py", "client_authentication.py"):
        (tmp_path / file).write_text("raise SystemExit('it was run')")
    told = diagnose(tmp_path, token="abc", status=2)
    assert told[0].startswith("Name api-jwt or api-basic-authentication, also for an app")


# Where the settings come from


def test_where_each_setting_comes_from(suite: Suite) -> None:
    secret = str(dotenv_values(suite.folder / BASIC / ".env")["API_CLIENT_SECRET"])
    lines = diagnose(suite.folder / BASIC, status=0, API_CLIENT_SECRET=secret)
    place = suite.folder / BASIC / ".env"
    assert f"ok       ZITADEL_DOMAIN, API_CLIENT_ID come from {place}." in lines
    assert "ok       API_CLIENT_SECRET comes from the environment." in lines


def test_an_app_of_ones_own_gets_no_notes_about_the_samples_folders(
    suite: Suite, tmp_path: Path
) -> None:
    variables = dotenv_values(suite.folder / BASIC / ".env")
    for name in (BASIC, *SCRIPTS):
        copy_folder(name, tmp_path)
    (tmp_path / JWT_USER / ".env").write_text("PROJECT_ID=7\n")
    (tmp_path / PAT_USER / ".env").write_text("PERSONAL_ACCESS_TOKEN=the-samples-own\n")
    own: dict[str, Any] = dict(variables)

    lines = diagnose(tmp_path / BASIC, token="wrong", **own)

    assert "PROJECT_ID in" not in " ".join(lines) and PAT_USER not in " ".join(lines)
    assert "set PERSONAL_ACCESS_TOKEN" in str(diagnose(tmp_path / BASIC, status=2, **own))


def test_a_gateways_answer_is_not_taken_for_zitadels(scripted: tuple[Upstream, Path]) -> None:
    upstream, folder = scripted
    upstream.answer(b"<html>Forbidden</html>", 403, headers={"Content-Type": "text/html"})
    told = problem(folder, token="abc")
    assert "not as ZITADEL does (text/html): a proxy, gateway or firewall" in told
    assert "credentials" not in told and "deactivated" not in told
