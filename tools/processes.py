"""Run the suite's programs as processes, which end with the program that runs them."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.terminal import ProgramError, complain

RUN_SECONDS = 60

Environment = dict[str, str]


class DemoError(ProgramError):
    """A part of the suite didn't start or failed; the message says which and why."""


@contextmanager
def running(
    name: str, command: list[str], folder: Path, environment: Environment
) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program alongside this one; show its log if something fails, and end it."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=clean_environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield process
        except DemoError:
            log.seek(0)
            complain(f"--- log of {name}\n{log.read()}---")
            raise
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()


def run(
    command: list[str], folder: Path, environment: Environment
) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=clean_environment() | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )


def clean_environment() -> Environment:
    """Return this process's environment without variables that could mislead Flask or requests."""
    bad = ("FLASK_", "WERKZEUG_", "PYTHONSAFEPATH", "PYTHONINSPECT", "PYTHONIOENCODING")
    environment = {k: value for k, value in os.environ.items() if not k.startswith(bad)}
    loopback = "localhost,127.0.0.1,::1"
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, [environment.get(name), loopback]))
    return environment


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
