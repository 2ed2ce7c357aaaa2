"""provision.py --delete removes what it created, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from instance import PROJECTS
from provisioning import ORGANIZATION, Setup, lines, provision
from servers import Upstream


def test_delete_removes_everything_and_a_new_run_recreates_it(shared_setup: Setup) -> None:
    shared_setup.run()

    assert "--yes" in shared_setup.run("--delete", status=2)
    output = shared_setup.run("--delete", "--yes")
    assert len(lines(output, "deleted")) == 4
    assert "Nothing to delete" in shared_setup.run("--delete", "--yes")

    output = shared_setup.run()
    assert f"created  project {shared_setup.project}\n" in output
    assert len(lines(output, "proved")) == 5


def test_delete_keeps_a_project_that_was_not_created_from_here(
    setup: Setup, tmp_path: Path
) -> None:
    setup.run()
    elsewhere = Setup(setup.domain, setup.token_file, tmp_path / "elsewhere", setup.project)

    assert "--use-existing-project" in elsewhere.run("--delete", "--yes", status=2)

    assert len(lines(setup.run(), "kept")) == 5


def test_control_characters_in_listed_names_are_escaped(
    offline: Setup, scripted_zitadel: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = {"projectId": "\x1b[2J", "name": "Quotes", "organizationId": "1"}
    scripted_zitadel.paths |= {
        ORGANIZATION: {"org": {"id": "1"}},
        f"{PROJECTS}/ListProjects": {"projects": [project]},
        f"{PROJECTS}/DeleteProject": {},
        "/zitadel.user.v2.UserService/ListUsers": {},
    }
    monkeypatch.setattr(provision, "LAG_SECONDS", 0)
    output = offline.run("--delete", "--yes", "--use-existing-project")
    assert "\x1b" not in output
    assert output.count(r"project Quotes (\x1b[2J)") == 2
