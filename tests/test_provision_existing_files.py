"""provision.py where files exist already: a person's own are never lost."""

from __future__ import annotations

import pytest

from provisioning import Setup, lines


@pytest.mark.parametrize("address", ["http://localhost:5001", "http://x/'${HOME}\\' #\n\t"])
def test_an_edited_api_address_is_kept(setup: Setup, address: str) -> None:
    setup.run()
    escaped = address.replace("\\", "\\\\").replace("'", "\\'")
    setup.replace("service-user-pat/.env", "http://localhost:5000", f"'{escaped}'")
    setup.replace("service-user-pat/.env", "ACCESS_TOKEN=", "ACCESS_TOKEN=0")

    setup.run()

    assert setup.env("service-user-pat")["API_BASE_URL"] == address


@pytest.mark.parametrize("file", ["service-user-pat/.env", "api-jwt/api-key-file.json"])
def test_a_handwritten_file_is_replaced_only_with_force(setup: Setup, file: str) -> None:
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


def test_a_handwritten_file_that_works_is_kept(setup: Setup) -> None:
    setup.run()
    for folder in ("service-user-pat", "service-user-jwt"):
        setup.replace(f"{folder}/.env", "# Written by", "# Copied after")
    claim = setup.directory / "service-user-jwt/.provision-project"
    claim.write_text(f"{setup.domain} Another project, whose run was killed")
    before = setup.contents()

    setup.run()

    assert setup.contents() == before


def test_a_byte_order_mark_does_not_make_a_file_handwritten(setup: Setup) -> None:
    setup.run()
    for file in setup.directory.rglob(".env"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(lines(setup.run(), "kept")) == 5


def test_an_existing_gitignore_is_kept(setup: Setup) -> None:
    file = setup.directory / "api-jwt/.gitignore"
    file.parent.mkdir(parents=True)
    file.write_text("mine\n")
    setup.run()
    assert file.read_text() == "mine\n"


@pytest.mark.parametrize("name", ["service-user-jwt/.provision-project", "service-user-pat/.env"])
def test_a_symbolic_link_is_replaced_not_followed(setup: Setup, name: str) -> None:
    victim = setup.directory.with_name("victim")
    victim.write_text("mine")
    link = setup.directory / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    setup.run("--force")
    assert victim.read_text() == "mine"
    assert not link.is_symlink()
