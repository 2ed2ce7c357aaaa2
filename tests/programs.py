"""Run the suite's programs as a user does: copied folders, own processes, own environment."""

from __future__ import annotations

import io
import os
import runpy
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TypeVar

import requests

ROOT = Path(__file__).resolve().parent.parent
APIS = ("api-jwt", "api-basic-authentication")
SCRIPTS = {
    "service-user-jwt": "jwt-profile-token-generator.py",
    "service-user-client-credentials": "client-credentials-token-generator.py",
    "service-user-pat": "call-api-with-pat.py",
}
PAGES = [
    page.relative_to(ROOT)
    for folder in (".", *APIS, *SCRIPTS)
    for page in sorted((ROOT / folder).glob("*.md"))
]
FLASK = ("-m", "flask", "--app", "server", "run", "--port")
GUNICORN = ("-m", "gunicorn", "server:app", "--bind")
LAG_SECONDS = 15
T = TypeVar("T")
FOR_A_ZITADEL_ELSEWHERE = ("HTTPS_PROXY", "REQUESTS_CA_BUNDLE")
INHERITED = (
    *("PATH", "HOME", "LANG", "SYSTEMROOT", "COVERAGE_PROCESS_CONFIG"),
    *FOR_A_ZITADEL_ELSEWHERE,
)

# Runs a script on a machine whose clock is wrong by so many seconds.
WRONG_CLOCK = """
import runpy, sys, time

ahead, right = float(sys.argv.pop(1)), time.time
time.time = lambda: right() + ahead
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def environment(**variables: str) -> dict[str, str]:
    """Return an environment that contains nothing of ours but `variables`."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {"NO_PROXY": "localhost,127.0.0.1"} | variables


def copy_folder(name: str, into: Path) -> Path:
    """Copy one of the suite's folders, as git has it, into `into` and return the copy."""
    ignore = shutil.ignore_patterns(".env*", "*key-file.json*", "*.pat", "__pycache__", ".*_cache")
    return Path(shutil.copytree(ROOT / name, into / name, ignore=ignore))


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program in `folder` to its end."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )


def run_here(
    folder: Path, script: str, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a Python program as `run` does, but within this process: that is many times faster.

    `server.py` is only imported, as a server does it.
    """
    names = {file.stem for file in folder.glob("*.py")}
    ours = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    before, path, argv = dict(os.environ), sys.path[:], sys.argv
    place, output, errors = Path.cwd(), io.StringIO(), io.StringIO()
    status: object = 0
    try:
        os.environ.clear()
        os.environ.update(environment(**variables))
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        sys.argv = [script, *arguments]
        with redirect_stdout(output), redirect_stderr(errors):
            name = "server" if script == "server.py" else "__main__"
            runpy.run_path(str(folder / script), run_name=name)
    except SystemExit as end:
        status = end.code or 0
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.chdir(place)
        sys.path[:], sys.argv = path, argv
        for name in names & sys.modules.keys():
            del sys.modules[name]
        sys.modules.update(ours)
    assert isinstance(status, int), status
    return subprocess.CompletedProcess(sys.argv, status, output.getvalue(), errors.getvalue())


def eventually(attempt: Callable[[], T], is_right: Callable[[T], bool]) -> T:
    """Repeat until what comes is right, and return the last: a real ZITADEL lags a few seconds."""
    end = time.monotonic() + LAG_SECONDS
    while not is_right(result := attempt()) and time.monotonic() < end:
        time.sleep(0.5)
    return result


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_api(folder: Path, command: tuple[str, ...] = FLASK, **variables: str) -> Iterator[str]:
    """Run the API in `folder` on a free port and yield its address."""
    port = free_port()
    address = f"127.0.0.1:{port}" if "gunicorn" in command else str(port)
    log_file = folder / "log.txt"
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command, address],
            cwd=folder,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        base_url = f"http://localhost:{port}"
        end = time.monotonic() + 20
        while True:
            try:
                requests.get(f"{base_url}/api/public", timeout=5)
                break
            except requests.ConnectionError:
                assert process.poll() is None and time.monotonic() < end, log_file.read_text()
                time.sleep(0.05)
        yield base_url
    finally:
        process.terminate()
        process.wait(10)


def git_files() -> list[Path]:
    """Return the files that git has, or would add, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines()]


def clone(into: Path) -> Path:
    """Copy what git has of the whole suite into `into`, as a clone would, and return it."""
    for file in git_files():
        (into / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, into / file)
    return into
