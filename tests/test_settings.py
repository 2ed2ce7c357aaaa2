"""Where the folders' settings come from, and what becomes of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import settings
from programs import FLASK, copy_folder, free_port, run, run_here, running_api
from servers import TOKEN, Upstream, active, send
from test_scripts import API_KEY, KEY_CONTENT, USER_KEY, assert_one_sentence, prepare, start

BASIC = {"ZITADEL_DOMAIN": "http://localhost:9", "API_CLIENT_ID": "id", "API_CLIENT_SECRET": "sec"}
SHOW = "import settings; print(settings.load().get('CLIENT_SECRET'))\n"


def shown(folder: Path, **variables: str) -> str:
    """Return the value of CLIENT_SECRET as the folder's programs get it."""
    (folder / "show.py").write_text(SHOW)
    ended = run_here(folder, "show.py", **variables)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("environment", "own", "above", "expected"),
    [
        ("environment", "own", "above", "environment"),
        (None, "own", "above", "own"),
        ("", "own", "above", "own"),
        (" \n", "own", "above", "own"),
        ('""', "own", "above", "own"),
        (None, "", "above", "above"),
        (None, None, "above", "above"),
        (None, None, None, ""),
        ('"quoted by docker"', None, None, "quoted by docker"),
        ("'quoted by docker'", None, None, "quoted by docker"),
        ("a Kubernetes secret\n", None, None, "a Kubernetes secret"),
        ('"', None, None, '"'),
        ("it's", None, None, "it's"),
        (None, "${HOME}-$HOME", None, "${HOME}-$HOME"),
        (None, '"${HOME}"', None, "${HOME}"),
    ],
)
def test_the_first_source_with_a_value_takes_precedence(
    environment: str | None, own: str | None, above: str | None, expected: str, tmp_path: Path
) -> None:
    folder = copy_folder("service-user-client-credentials", tmp_path)
    for directory, value in ((folder, own), (tmp_path, above)):
        if value is not None:
            (directory / ".env").write_text(f"CLIENT_SECRET={value}\n")
    assert shown(folder, **({} if environment is None else {"CLIENT_SECRET": environment})) == (
        expected
    )


@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_message_names_the_source_of_the_value(source: str, tmp_path: Path) -> None:
    wrong = {"ZITADEL_DOMAIN": "ftp://example.com"}
    folder = prepare("api-basic-authentication", tmp_path, **wrong if source == "file" else {})
    ended = start(folder, **wrong if source == "environment" else {})
    where = "the environment" if source == "environment" else str(folder / ".env")
    assert_one_sentence(ended, "ZITADEL_DOMAIN is not an address", f"correct it in {where}.")


def test_an_empty_variable_does_not_hide_the_value_in_the_file(tmp_path: Path) -> None:
    folder = prepare("api-basic-authentication", tmp_path)
    ended = start(folder, API_CLIENT_SECRET="", ZITADEL_DOMAIN="")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize(
    ("mode", "is_read"), [(0o600, True), (0o644, True), (0o664, False), (0o646, False)]
)
def test_the_file_above_counts_only_if_nobody_else_can_write_to_it(
    mode: int, is_read: bool, tmp_path: Path
) -> None:
    folder = copy_folder("service-user-client-credentials", tmp_path)
    above = tmp_path / ".env"
    above.write_text("CLIENT_SECRET=above\n")
    above.chmod(mode)
    assert shown(folder) == ("above" if is_read else "")
    if not is_read:
        ended = start(folder)
        assert_one_sentence(ended, f"({above} is ignored: other users can change it)")


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("kind", ["file", "link"])
def test_another_users_file_above_is_ignored(kind: str, tmp_path: Path) -> None:
    folder = copy_folder("service-user-client-credentials", tmp_path)
    above = tmp_path / ".env"
    if kind == "file":
        above.write_text("CLIENT_SECRET=planted\n")
    else:
        (tmp_path / "mine").write_text("CLIENT_SECRET=planted\n")
        above.symlink_to("mine")
    os.chown(above, 12345, 12345, follow_symlinks=False)
    assert shown(folder) == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize("tail", ["", "${ZITADEL_INTROSPECTION_URL}", "${HOME}"])
@pytest.mark.parametrize("name", [".env", ".flaskenv"])
def test_flask_run_obeys_no_planted_file(
    name: str, tail: str, tmp_path: Path, upstream: Upstream
) -> None:
    """The flask command reads such files above into the environment before our code runs."""
    folder = copy_folder("api-basic-authentication", tmp_path)
    planted = f"ZITADEL_INTROSPECTION_URL={upstream.url}{tail}\nFLASK_DEBUG=1\n"
    (tmp_path / name).write_text(planted)
    (tmp_path / name).chmod(0o666)
    upstream.answer(active("read:messages"))
    settings = BASIC | {"ZITADEL_DOMAIN": "http://127.0.0.1:9"}
    with running_api(folder, FLASK, **settings) as base_url:
        assert send(base_url, "/api/private-scoped", TOKEN)[0] == 503
    assert upstream.forms == []
    assert "Debug mode: off" in (folder / "log.txt").read_text()


@pytest.mark.parametrize("words", ["a stray line", "s3cret-of-two-lines"])
def test_a_line_without_a_value_is_no_traceback(words: str, tmp_path: Path) -> None:
    folder = prepare("api-basic-authentication", tmp_path, API_CLIENT_SECRET="")
    with (folder / ".env").open("a") as file:
        file.write(f"{words}\n")
    ended = run(folder, *FLASK, str(free_port()))
    assert ended.returncode == 4  # dotenv may complain of the line, by its number
    assert ended.stderr.splitlines()[-1].startswith("API_CLIENT_SECRET is not set")
    assert "Traceback" not in ended.stderr and words not in ended.stderr


def test_flasks_own_variables_in_an_own_file_stay(tmp_path: Path) -> None:
    folder = prepare("api-basic-authentication", tmp_path)
    with (folder / ".env").open("a") as file:
        file.write("FLASK_DEBUG=1\n")
    with running_api(folder, FLASK):
        pass
    assert "Debug mode: on" in (folder / "log.txt").read_text()


def test_flask_run_expands_nothing_and_keeps_secrets_out_of_the_environment(
    tmp_path: Path, upstream: Upstream
) -> None:
    folder = prepare("api-basic-authentication", tmp_path, API_CLIENT_SECRET="${HOME}")
    with (folder / "server.py").open("a") as server:
        server.write(
            '\nimport os\napp.add_url_rule("/environment", view_func=lambda: dict(os.environ))\n'
        )
    upstream.answer(active())
    with running_api(folder, FLASK, ZITADEL_INTROSPECTION_URL=upstream.url) as base_url:
        assert send(base_url, "/api/private", TOKEN)[0] == 200
        assert "API_CLIENT_SECRET" not in send(base_url, "/environment")[2]
    assert upstream.authorizations == ["Basic aWQ6JTI0JTdCSE9NRSU3RA=="]  # id:${HOME}


@pytest.mark.parametrize("name", ["api-jwt", "service-user-jwt"])
@pytest.mark.parametrize("spaced", [False, True], ids=["as it is", "with line breaks"])
def test_a_key_variable_may_contain_the_key_itself(
    name: str, spaced: bool, tmp_path: Path, upstream: Upstream
) -> None:
    variable = [*(API_KEY if name == "api-jwt" else USER_KEY)][-1]
    folder = prepare(name, tmp_path)
    next(folder.glob("*-key-file.json")).unlink()
    value = json.dumps(KEY_CONTENT[name], indent=2 if spaced else None)
    upstream.answer({"access_token": "t", "expires_in": 60})
    value = value.replace("\\n", "\n") if spaced else value
    options = ("--token-only",) if name == "service-user-jwt" else ()
    ended = start(folder, *options, **{variable: value}, ZITADEL_TOKEN_URL=upstream.url)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", ["api-jwt", "service-user-jwt"])
@pytest.mark.parametrize("kind", ["base64", "pem", "token", "the other kind", "cut off", "long"])
@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_secret_in_the_place_of_a_path_is_never_shown(
    name: str, kind: str, source: str, tmp_path: Path
) -> None:
    other = next(content for folder, content in KEY_CONTENT.items() if folder != name)
    value = {
        "base64": "eyJ0eXBlIjoiYXBwbGljYXRpb24iLCJrZXlJZCI6InMzY3JldCJ9",
        "pem": KEY_CONTENT[name]["key"],
        "token": "s3cret-token",
        "the other kind": json.dumps(other),
        "cut off": json.dumps(KEY_CONTENT[name])[:300],
        "long": "s3cret" * 2000,
    }[kind]
    variable = [*(API_KEY if name == "api-jwt" else USER_KEY)][-1]
    folder = prepare(name, tmp_path)
    if source == "file":
        text = (folder / ".env").read_text().replace(f'{variable}="', "# ")
        (folder / ".env").write_text(f"{text}\n{variable}='{value}'\n")
    variables = {variable: value} if source == "environment" else {}
    ended = start(folder, **variables)
    assert_one_sentence(ended, variable)
    for secret in (value, value[:20], value[-20:], "eyJ0", "BEGIN"):
        assert secret not in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    ("domain", "ascii_form"),
    [
        ("https://zürich.example", "https://xn--zrich-kva.example"),
        ("https://例え.jp:8443", "https://xn--r8jz45g.jp:8443"),
        ("https://Example.COM/", "https://example.com"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_international_domain_has_one_form_everywhere(domain: str, ascii_form: str) -> None:
    values = settings.Settings({"the environment": {"ZITADEL_DOMAIN": domain}}, ".env")
    assert values.domain("ZITADEL_DOMAIN") == ascii_form
    assert values.url("ZITADEL_TOKEN_URL", f"{ascii_form}/t") == f"{ascii_form}/t"


@pytest.mark.parametrize("value", ["abc", "12a", "Quotes", "-1"])
def test_a_project_id_has_only_digits(value: str) -> None:
    values = settings.Settings({"the environment": {"PROJECT_ID": value}}, ".env")
    with pytest.raises(settings.ConfigurationError, match="isn't a project's resource id"):
        values.project_id("PROJECT_ID")


def test_a_named_pipe_above_is_named_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    folder = tmp_path / "folder"
    folder.mkdir()
    values = settings.load(folder, {})
    assert "it isn't a regular file" in values.source("ZITADEL_DOMAIN")


@pytest.mark.skipif(not hasattr(os, "chown") or os.getuid() != 0, reason="needs root")
def test_a_file_above_of_another_user_is_named_and_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ZITADEL_DOMAIN=https://attacker.test\n")
    os.chown(tmp_path / ".env", 12345, 12345)
    folder = tmp_path / "folder"
    folder.mkdir()
    values = settings.load(folder, {})
    assert values.get("ZITADEL_DOMAIN") == ""
    assert "it belongs to another user" in values.source("ZITADEL_DOMAIN")


def test_a_value_that_isnt_utf_8_is_told(tmp_path: Path) -> None:
    values = settings.load(tmp_path, {"ZITADEL_DOMAIN": "https://\udcff.test"})
    with pytest.raises(settings.ConfigurationError, match="isn't UTF-8 text"):
        values.domain("ZITADEL_DOMAIN")


def test_a_file_named_env_txt_is_pointed_to(tmp_path: Path) -> None:
    (tmp_path / ".env.txt").write_text("ZITADEL_DOMAIN=https://example.com\n")
    assert "rename .env.txt" in settings.load(tmp_path, {}).source("ZITADEL_DOMAIN")
