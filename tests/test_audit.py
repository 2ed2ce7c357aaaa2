""".ci/audit, with a pip-audit that answers what the test wants."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from programs import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it is a bash script")
CLEAN = "echo No known vulnerabilities found >&2"
SKIPPED = f"{CLEAN}\necho 'Name Skip Reason'"
FOUND = "echo 'Name Version ID Fix Versions'; exit 1"
SILENT = "echo No connection >&2; exit 1"
# pip-audit is called for the lowest versions first, and what can't be had is asked for twice.
ONLY_THE_LOWEST = f"case $* in *lowest*) {CLEAN};; *) {SILENT};; esac"


@pytest.mark.parametrize(
    ("pip_audit", "status", "said"),
    [
        pytest.param(CLEAN, 0, "Audited: no known vulnerability, says osv.", id="none"),
        pytest.param(FOUND, 1, "VULNERABLE, says osv.", id="one"),
        pytest.param(SILENT, 3, "NOT AUDITED", id="no advisory data"),
        pytest.param(SKIPPED, 3, "NOT AUDITED", id="packages that it could not look up"),
        pytest.param(ONLY_THE_LOWEST, 3, "NOT AUDITED", id="no advisory data for the newest"),
    ],
)
def test_an_audit_without_data_is_not_a_passed_one(
    tmp_path: Path, pip_audit: str, status: int, said: str
) -> None:
    for name, script in {"pip-audit": pip_audit, "uv": "exit 0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        [".ci/audit"], cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert said in ended.stdout
    assert ("Write today's date there" in ended.stdout) == (status == 0)
