"""provision.py where ZITADEL rejects a call, can't answer, or is too old."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from instance import PROJECTS, new_name
from provisioning import ORGANIZATION, TOKEN, Setup
from servers import Upstream


def test_a_wrong_administrator_token_is_reported(setup: Setup, tmp_path: Path) -> None:
    setup.token_file = tmp_path / "wrong.pat"
    setup.token_file.write_text("wrong-token-wrong-token\n")

    assert "doesn't accept the administrator's token" in setup.run(status=2)


def test_a_token_without_the_right_role_is_reported_and_claims_no_project(
    setup: Setup, tmp_path: Path
) -> None:
    setup.run()
    weak = tmp_path / "weak.pat"
    weak.write_text(str(setup.env("service-user-pat")["PERSONAL_ACCESS_TOKEN"]))
    wanted = new_name()
    elsewhere = Setup(setup.domain, weak, tmp_path / "elsewhere", wanted)
    assert "Org Owner" in elsewhere.run(status=2)
    Setup(setup.domain, setup.token_file, tmp_path / "first", wanted).run()
    elsewhere.token_file = setup.token_file
    assert "--use-existing-project" in elsewhere.run(status=2)


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (401, {"code": "unauthenticated"}, "doesn't accept the administrator's token"),
        (403, {"code": "permission_denied", "message": "No matching permissions"}, "Org Owner"),
        (500, {"code": "internal", "message": "boom"}, "with status 500: boom"),
        (400, {"code": 3, "message": f"\x1b]0;x\x07 {TOKEN}"}, r"with status 400: \x1b]0;x\x07 …"),
        (503, b"", "can't answer now (status 503)"),
        (429, b"", "can't answer now (status 429)"),
        (200, {}, "lacks 'org'"),
        (200, b"<html>", "answered with status 200, but not as ZITADEL does"),
        (401, b"<html>Sign in</html>", "with status 401, but not as ZITADEL does"),
        (403, b"<html>Forbidden</html>", "with status 403, but not as ZITADEL does"),
        (403, {"message": "Forbidden"}, "with status 403, but not as ZITADEL does"),
        (404, b"<html>Not found</html>", "with status 404, but not as ZITADEL does"),
        (421, b"<html>Misdirected</html>", "with status 421, but not as ZITADEL does"),
    ],
)
def test_each_rejection_by_zitadel_is_explained(
    status: int, content: object, told: str, offline: Setup, scripted_zitadel: Upstream
) -> None:
    scripted_zitadel.answer(content, status)
    output = offline.run(status=2)
    assert told in output
    assert output.endswith("\nNothing was changed.\n")
    if "not as ZITADEL does" in told:
        assert not re.search(r"Org Owner|personal access token|4\.6", output)


@pytest.mark.parametrize("content", [b"404 page not found", {"code": 5, "message": "Not Found"}])
def test_a_zitadel_older_than_4_6_is_reported(
    offline: Setup, scripted_zitadel: Upstream, content: object
) -> None:
    scripted_zitadel.paths[ORGANIZATION] = {"org": {"id": "1"}}
    scripted_zitadel.answer(content, 404)
    output = offline.run(status=2)
    assert "doesn't know ListProjects: provision.py requires ZITADEL 4.6 or newer" in output
    assert "works with 2.71 and newer" in output and "the folders' READMEs" in output


def test_a_rejection_midway_says_what_was_created(
    offline: Setup, scripted_zitadel: Upstream
) -> None:
    scripted_zitadel.paths |= {
        ORGANIZATION: {"org": {"id": "1"}},
        f"{PROJECTS}/ListProjects": {},
        f"{PROJECTS}/CreateProject": {"projectId": "2"},
    }
    scripted_zitadel.answer({"code": "permission_denied"}, 403)
    output = offline.run(status=2)
    written = "written service-user-jwt/.gitignore; written service-user-jwt/.env"
    assert f"Done so far: created project Quotes; {written}." in output
    assert "You can safely run it again." in output
