""".ci/machine, where it can't make a machine: it says so, and runs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from programs import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it makes a Debian")


def machine(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run .ci/machine with the programs in `path` only."""
    command = [sys.executable, ".ci/machine", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={"PATH": str(path)}, capture_output=True, text=True, timeout=60
    )


def test_a_machine_that_cannot_be_made_is_reported_with_a_status_of_its_own(tmp_path: Path) -> None:
    ended = machine(tmp_path, "trixie", "3.13", "demo", "--folder", str(tmp_path / "kept"))
    assert (ended.returncode, ended.stderr) == (77, "")
    assert ended.stdout.startswith("Not run on a bare trixie with Python 3.13: ")
    assert not (tmp_path / "kept").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    kept, programs = tmp_path / "kept", tmp_path / "programs"
    programs.mkdir()
    for name in ("unshare", "debootstrap"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    kept.mkdir()
    kept.chmod(0o777)
    ended = machine(programs, "trixie", "3.13", "demo", "--folder", str(kept))
    assert ended.returncode == 77
    assert f"others can write to {kept}." in ended.stdout
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("arguments", [("../etc", "3.13"), ("trixie", "3.13/../..")])
def test_an_invalid_suite_or_version_is_rejected(
    arguments: tuple[str, str], tmp_path: Path
) -> None:
    ended = machine(tmp_path, *arguments, "demo")
    assert ended.returncode == 2 and "such as trixie" in ended.stderr
