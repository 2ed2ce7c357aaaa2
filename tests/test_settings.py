"""Where the folders' settings come from, and what becomes of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import settings
from folders import SETTINGS, assert_one_sentence, prepare, start
from programs import APIS, FLASK, SCRIPTS, copy_folder, free_port, run, run_here, running_api
from servers import TOKEN, Upstream, active, send

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
        ('"quoted in Kubernetes"\n', None, None, "quoted in Kubernetes"),
        ("' padded '", None, None, "padded"),
        ("'half\"", None, None, "'half\""),
        ("'two\nlines'", None, None, "two\nlines"),
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
def test_the_env_file_above_is_read_only_if_nobody_else_can_write_to_it(
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


def test_an_env_file_above_that_appears_after_the_look_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_folder("service-user-client-credentials", tmp_path)
    (tmp_path / ".env").write_text("CLIENT_SECRET=planted\n")

    def look_too_early(file: Path) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "lstat", look_too_early)
    loaded = settings.load(folder, {})
    assert loaded.get("CLIENT_SECRET") == ""
    assert loaded.source("CLIENT_SECRET") == str(folder / ".env")


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("kind", ["file", "link", "what a link names"])
def test_another_users_env_file_above_is_ignored(kind: str, tmp_path: Path) -> None:
    folder = copy_folder("service-user-client-credentials", tmp_path)
    above = tmp_path / ".env"
    if kind == "file":
        above.write_text("CLIENT_SECRET=planted\n")
    else:
        (tmp_path / "mine").write_text("CLIENT_SECRET=planted\n")
        above.symlink_to("mine")
    os.chown(above, 12345, 12345, follow_symlinks=kind == "what a link names")
    assert shown(folder) == ""


def test_an_unreadable_env_file_above_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_folder("service-user-client-credentials", tmp_path)
    (tmp_path / ".env").write_text("CLIENT_SECRET=above\n")
    monkeypatch.setattr(os, "access", lambda *arguments: False)  # root may read any file
    loaded = settings.load(folder)
    assert loaded.get("CLIENT_SECRET") == ""
    assert "you have no permission to read it" in loaded.source("CLIENT_SECRET")


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize("tail", ["", "${ZITADEL_INTROSPECTION_URL}", "${HOME}"])
@pytest.mark.parametrize("name", [".env", ".flaskenv"])
def test_flask_run_ignores_a_planted_file(
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


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_without_flask_run_a_planted_file_hides_no_variable(tmp_path: Path) -> None:
    folder = copy_folder("api-basic-authentication", tmp_path)
    (tmp_path / ".env").write_text("API_CLIENT_SECRET=sec\n")
    (tmp_path / ".env").chmod(0o666)
    ended = start(folder, **BASIC)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("words", ["a stray line", "s3cret-of-two-lines"])
def test_a_line_without_a_value_causes_no_traceback(words: str, tmp_path: Path) -> None:
    folder = prepare("api-basic-authentication", tmp_path, API_CLIENT_SECRET="")
    with (folder / ".env").open("a") as file:
        file.write(f"{words}\n")
    ended = run(folder, *FLASK, str(free_port()))
    assert ended.returncode == 4  # dotenv may complain of the line, by its number
    assert ended.stderr.splitlines()[-1].startswith("API_CLIENT_SECRET is not set")
    assert "Traceback" not in ended.stderr and words not in ended.stderr


def test_flasks_own_variables_in_the_folders_env_file_are_kept(tmp_path: Path) -> None:
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


def test_a_value_that_isnt_utf_8_is_reported(tmp_path: Path) -> None:
    values = settings.load(tmp_path, {"ZITADEL_DOMAIN": "https://\udcff.test"})
    with pytest.raises(settings.ConfigurationError, match="isn't UTF-8 text"):
        values.domain("ZITADEL_DOMAIN")


def test_an_env_file_that_windows_marked_as_utf_8_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROJECT_ID=1\n", encoding="utf-8-sig")
    assert settings.load(tmp_path, {}).get("PROJECT_ID") == "1"


def test_a_file_named_env_txt_is_pointed_to(tmp_path: Path) -> None:
    (tmp_path / ".env.txt").write_text("ZITADEL_DOMAIN=https://example.com\n")
    assert "rename .env.txt" in settings.load(tmp_path, {}).source("ZITADEL_DOMAIN")
    (tmp_path / ".env").touch()
    assert settings.load(tmp_path, {}).source("ZITADEL_DOMAIN") == str(tmp_path / ".env")


REQUIRED = [(folder, name) for folder, settings in SETTINGS.items() for name in settings]


@pytest.mark.parametrize("value", ["(absent)", "", "   ", "<YOUR_VALUE>", "YOUR_VALUE"])
@pytest.mark.parametrize(("name", "variable"), REQUIRED)
def test_a_missing_value_or_a_placeholder_is_reported(
    name: str, variable: str, value: str, tmp_path: Path
) -> None:
    folder = prepare(name, tmp_path, **{variable: value})
    assert_one_sentence(start(folder), variable, str(folder / ".env"))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_missing_value_is_reported_by_the_real_command(name: str, tmp_path: Path) -> None:
    folder = prepare(name, tmp_path, **{next(iter(SETTINGS[name])): ""})
    command = (*FLASK, str(free_port())) if name in APIS else (SCRIPTS[name],)
    assert_one_sentence(run(folder, *command), "is not set", str(folder / ".env"))


def test_the_env_file_above_is_named_if_it_is_the_only_one(tmp_path: Path) -> None:
    folder = copy_folder("service-user-pat", tmp_path)
    (tmp_path / ".env").write_text('PERSONAL_ACCESS_TOKEN="<YOUR_PERSONAL_ACCESS_TOKEN>"')
    assert_one_sentence(start(folder), "placeholder", f" {tmp_path / '.env'}.")
    (tmp_path / ".env").write_text("")
    assert_one_sentence(start(folder), "is not set", f" {tmp_path / '.env'}.")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("https://example.com/ui/console", "path"),
        ("https://", "address"),
        ("ftp://example.com", "address"),
        ("https://exam ple.com", "address"),
        ("https://example.com:0", "address"),
        ("https://example.com:99999", "address"),
        ("https://user@example.com", "address"),
        ("https://[", "address"),
        ("[example.com]", "address"),
        ("https://my..example.com", "address"),
        ("https://" + "a" * 64 + ".example.com", "address"),
        ("https://:s3cret@example.com", "address"),
        ("https://example.com?", "address"),
        ("https://example.com#", "address"),
        ("s3cret-without-a-dot", "address"),
        ("s3cret:8080", "address"),
    ],
)
@pytest.mark.parametrize("name", ["api-jwt", "service-user-client-credentials"])
def test_an_invalid_domain_is_rejected(name: str, value: str, part: str, tmp_path: Path) -> None:
    folder = prepare(name, tmp_path, ZITADEL_DOMAIN=value)
    assert_one_sentence(start(folder), "ZITADEL_DOMAIN", part, str(folder / ".env"))


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("api-basic-authentication", "ZITADEL_INTROSPECTION_URL"),
        ("service-user-jwt", "ZITADEL_TOKEN_URL"),
    ],
)
def test_an_optional_address_that_is_a_placeholder_is_reported(
    name: str, variable: str, tmp_path: Path
) -> None:
    folder = prepare(name, tmp_path, **{variable: "<YOUR_ZITADEL_DOMAIN>/x"})
    assert_one_sentence(start(folder), variable, "is still a placeholder", str(folder / ".env"))


@pytest.mark.parametrize("value", ["<the secret>", "YOUR_SECRET"])
def test_a_placeholder_is_no_value(value: str) -> None:
    values = settings.Settings({"the environment": {"CLIENT_SECRET": value}}, ".env")
    with pytest.raises(settings.ConfigurationError, match="is still a placeholder: replace it"):
        values.required("CLIENT_SECRET")


def test_an_address_with_a_space_is_rejected() -> None:
    values = settings.Settings({"the environment": {"API_BASE_URL": "https://a.test/b c"}}, ".env")
    with pytest.raises(settings.ConfigurationError, match="is not an address"):
        values.url("API_BASE_URL", "http://localhost:5000")


def test_http_to_this_machine_logs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    settings.Settings({}, ".env").url("API_BASE_URL", "http://localhost:5000")
    assert caplog.records == []


def test_the_host_header_is_that_of_zitadels_own_domain() -> None:
    own = "https://auth.example.com:8443"
    assert (
        settings.host_header("http://zitadel:8080/oauth/v2/token", own) == "auth.example.com:8443"
    )
    assert settings.host_header(f"{own}/oauth/v2/token", own) is None


@pytest.mark.parametrize("name", SETTINGS)
def test_an_env_file_that_isnt_text_is_reported(name: str, tmp_path: Path) -> None:
    folder = prepare(name, tmp_path)
    (folder / ".env").write_bytes(b"\xff\xfe\x00")
    ended = start(folder)
    assert_one_sentence(ended, str(folder / ".env"))


def test_http_to_another_host_logs_a_warning(tmp_path: Path) -> None:
    folder = prepare("api-basic-authentication", tmp_path, ZITADEL_DOMAIN="HTTP://Example.com")
    ended = run(folder, "-c", "import server")  # pytest takes what is logged
    assert ended.returncode == 0
    assert len(ended.stderr.splitlines()) == 1
    assert "http://example.com" in ended.stderr and "not encrypted" in ended.stderr
