"""Start a local-zitadel for a test, and stop it afterwards."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from instance import Instance
from programs import ROOT

SERVER = "local-zitadel/server.py"


@dataclass
class LocalZitadel(Instance):
    """A running local-zitadel."""

    lags: ClassVar[bool] = False
    log_file: Path
    process: subprocess.Popen[str]

    def log(self) -> str:
        """Return what it has logged so far."""
        return self.log_file.read_text(encoding="utf-8")


@contextmanager
def local_zitadel(*arguments: str) -> Iterator[LocalZitadel]:
    """Run local-zitadel as a process of its own, at a free port unless `arguments` name one."""
    with tempfile.TemporaryDirectory() as directory:
        token_file, log_file = Path(directory, "admin.pat"), Path(directory, "log.txt")
        command = [sys.executable, SERVER, "--port", "0", "--token-file", str(token_file)]
        with log_file.open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # so that a terminal's Ctrl-C leaves it to the clean-up
            )
        assert process.stdout
        try:
            first, second = process.stdout.readline(), process.stdout.readline()
            if not first.startswith("local-zitadel runs at ") or not second:
                problem = log_file.read_text(encoding="utf-8")
                raise AssertionError(f"local-zitadel didn't start: {first}{problem}")
            issuer, admin_pat = first.split()[-1], token_file.read_text().strip()
            yield LocalZitadel(issuer, admin_pat, token_file, log_file, process)
        finally:
            process.terminate()
            process.wait(timeout=10)
            process.stdout.close()
