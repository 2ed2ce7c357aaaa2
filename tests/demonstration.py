"""Start demo.py for a test, and read the table that it prints."""

from __future__ import annotations

import subprocess
import sys
from itertools import takewhile
from pathlib import Path

from programs import environment, eventually

ALL_RIGHT = [
    ["service-user-jwt", "200", "200", "200"],
    ["service-user-client-credentials", "200", "200", "200"],
    ["service-user-pat", "200", "200", "200"],
    ["service account without the role", "200", "200", "403"],
    ["no token", "200", "401", "401"],
    ["a wrong token", "200", "401", "401"],
]


def start(copied: Path, marker: str, *options: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "demo.py", *options],
        cwd=copied,
        env=environment(MARKER=marker, **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def processes(marker: str) -> list[str]:
    """Return the numbers of the running processes that inherited the marker."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARKER={marker}".encode() in (folder / "environ").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found


def left(marker: str) -> list[str]:
    """Return what still runs after a while: a script being started at the signal ends by itself."""
    return eventually(lambda: processes(marker), lambda found: not found)


def rows(output: str, api: str) -> list[list[str]]:
    """Return the table's rows of an API, cell by cell."""
    _, _, table = output.partition(f"\n{api} ")
    lines = takewhile(lambda line: line.startswith("  "), table.splitlines()[1:])
    return [[line.rsplit(maxsplit=3)[0].strip(), *line.split()[-3:]] for line in lines]
