"""provision.py's options and the administrator's token: a mistake is one sentence, without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioning import FOLDERS, TOKEN, Setup, in_process
from servers import Upstream
from tools import arguments


def test_the_help_names_everything_that_it_creates(offline: Setup) -> None:
    status, output = in_process("--help")
    assert status == 0
    for name in ("Quotes", "read:messages", *FOLDERS):
        assert name in output


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
def test_an_invalid_domain_is_rejected(offline: Setup, domain: str, sentence: str) -> None:
    assert sentence in offline.run(status=2, domain=domain)


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many", "99999999"])
def test_an_invalid_number_of_days_is_rejected(offline: Setup, number: str) -> None:
    assert "whole number" in offline.run(f"--expires-in-days={number}", status=2)


def test_a_directory_that_cannot_be_created_is_reported(offline: Setup, setup: Setup) -> None:
    setup.directory = offline.token_file / "folders"
    output = setup.run(status=2)
    assert "can't be written to: see --directory." in output


@pytest.mark.parametrize("content", [b"", b"two words", b"a\nb", TOKEN.encode("utf-16")])
def test_a_token_file_without_a_token_is_rejected(offline: Setup, content: bytes) -> None:
    offline.token_file = offline.token_file.with_name("empty.pat")
    offline.token_file.write_bytes(content)
    _, output = in_process(*offline.options())
    assert f"{offline.token_file} must contain a personal access token alone" in output


@pytest.mark.parametrize("content", [TOKEN, "missing.pat", "x" * 300])
def test_a_token_in_place_of_its_file_is_not_printed(offline: Setup, content: str) -> None:
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
def test_a_token_elsewhere_on_the_command_line_is_not_printed(
    offline: Setup, arguments: list[str], told: str
) -> None:
    status, output = in_process("--token-file", str(offline.token_file), *arguments)
    assert status == 2
    assert told in output
    assert TOKEN not in output and TOKEN.lower() not in output


def test_the_token_can_come_from_an_environment_variable(
    offline: Setup, scripted_zitadel: Upstream
) -> None:
    options = ("--domain", offline.domain, "--directory", str(offline.directory))
    assert "--token-file admin.pat" in in_process(*options)[1]
    in_process(*options, ZITADEL_ADMIN_TOKEN=TOKEN)
    assert scripted_zitadel.authorizations == [None, f"Bearer {TOKEN}"]


def test_a_password_in_netrc_is_never_sent(
    offline: Setup, scripted_zitadel: Upstream, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password s3cret\n")
    offline.run(status=2, NETRC=str(netrc))
    assert scripted_zitadel.authorizations == [None, f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    ("domain", "issuer"),
    [
        ("https://Zürich.example/", "https://xn--zrich-kva.example"),
        ("straße.example", "https://xn--strae-oqa.example"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_domain_has_the_form_of_the_issuer(domain: str, issuer: str) -> None:
    assert arguments.domain(domain) == issuer
