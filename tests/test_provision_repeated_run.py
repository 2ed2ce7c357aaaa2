"""provision.py run again: it keeps what works, and repairs what doesn't."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from local_zitadel import local_zitadel
from provisioning import Setup, lines


def test_a_second_run_changes_nothing(provisioned: Setup) -> None:
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
def test_only_an_invalid_credential_is_replaced(
    provisioned: Setup, file: str, variable: str
) -> None:
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


def test_one_run_repairs_everything_after_local_zitadel_was_restarted(tmp_path: Path) -> None:
    folders = tmp_path / "folders"
    with local_zitadel() as first:
        Setup(first.issuer, first.token_file, folders).run()

    with local_zitadel("--port", first.issuer.rsplit(":", 1)[1]) as second:
        output = Setup(second.issuer, second.token_file, folders).run()

    assert second.issuer == first.issuer
    assert len(lines(output, "proved")) == 5
    assert len(lines(output, "kept")) == 0
    assert (folders / "api-jwt/api-key-file.json.old").exists()


def test_a_project_created_elsewhere_is_used_only_with_an_option(
    setup: Setup, tmp_path: Path
) -> None:
    setup.run()
    elsewhere = Setup(setup.domain, setup.token_file, tmp_path / "elsewhere", setup.project)

    output = elsewhere.run(status=2)
    assert "--use-existing-project" in output
    assert elsewhere.contents() == {}

    output = elsewhere.run("--use-existing-project", "--replace-secrets")
    assert f"exists   project {setup.project}\n" in output
    assert len(lines(output, "proved")) == 5
