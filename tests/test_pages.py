"""Every command on every page, run in a copy of the suite exactly as the page has it.

A block of commands is run to its end, unless a comment above it says otherwise:
`<!-- keeps running -->`, `<!-- needs curl -->`, `<!-- not run: the reason -->`, or a name by which
another test runs it. Without curl the test is skipped in the end, though never in CI.
If a block of text follows, that is what the commands must print; … stands for anything. Python
snippets have names, too; those on the clients' pages are whole programs and are run here.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from dotenv import dotenv_values

from local_zitadel import local_zitadel
from pages import ALL_PAGES, DOCS, Block, blocks
from programs import APIS, ROOT, SCRIPTS, clone, environment, free_port, run

RUN_ELSEWHERE = ("demo", "tests")
PORTS = ("5000", "5001", "8080")


class Terminal:
    """A copy of the suite, and a shell in which the commands of a page are run."""

    def __init__(self, root: Path) -> None:
        self.root = clone(root)
        (root / ".venv").symlink_to(sys.prefix)
        self.ports = {port: str(free_port()) for port in PORTS}
        self.environment = environment(
            PATH=f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ['PATH']}",
            API_BASE_URL=f"http://localhost:{self.ports['5000']}",
            FLASK_RUN_PORT=self.ports["5000"],
        )

    def with_free_ports(self, code: str) -> str:
        """Return the code with other ports, since these may be taken on this machine."""
        for port, free in self.ports.items():
            code = re.sub(rf"(?<=[: ]){port}\b", free, code)
        return code

    def run(self, code: str, folder: str) -> str:
        """Run commands to their end, check that they succeed, and return what they print.

        A terminal stays in the folder that the commands before went to.
        """
        place = self.root / "place.txt"
        code = f"{self.with_free_ports(code)}\npwd > {place}"
        ended = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", code],
            cwd=place.read_text().strip() if place.exists() else self.root / folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 0, f"{code}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    @contextmanager
    def running(self, code: str, folder: str) -> Iterator[None]:
        """Run a command that doesn't end by itself, from the moment that it listens."""
        taken = self.listening()
        with (self.root / "log.txt").open("a") as log:
            process = subprocess.Popen(
                ["bash", "-e", "-c", self.with_free_ports(code)],
                cwd=self.root / folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            end = time.monotonic() + 20
            while self.listening() == taken:
                log_text = (self.root / "log.txt").read_text()
                assert process.poll() is None and time.monotonic() < end, f"{code}\n{log_text}"
                time.sleep(0.05)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)

    def listening(self) -> set[str]:
        """Return which of the ports somebody listens on."""
        found = set()
        for port in self.ports.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                    found.add(port)
        return found


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "suite")


@pytest.mark.parametrize("page", ALL_PAGES, ids=str)
def test_every_command_of_a_page_works(page: Path, terminal: Terminal) -> None:
    folder = "." if page in DOCS else page.parent.as_posix()
    lacks_curl = not shutil.which("curl")
    skipped = False
    with ExitStack() as background:
        if page in DOCS or folder in (*APIS, *SCRIPTS):
            zitadel = background.enter_context(local_zitadel())
            options = ("--domain", zitadel.issuer, "--token-file", str(zitadel.token_file))
            ended = run(terminal.root, "provision.py", *options)
            assert ended.returncode == 0, ended.stderr
        if folder in SCRIPTS:
            background.enter_context(terminal.running("flask --app server run", APIS[0]))
        for block, following in pairwise([*blocks(page), Block("", "", "")]):
            if block.language == "python" and folder in SCRIPTS:
                assert run_program(terminal, block.code, folder).startswith("Private, scoped route")
            if block.language != "sh" or block.mark.startswith("not run: "):
                continue
            if block.mark in RUN_ELSEWHERE:
                continue
            assert block.mark in ("", "keeps running", "needs curl"), block.mark
            if block.mark == "needs curl" and lacks_curl:
                assert not os.environ.get("CI"), "needs curl: `apt-get install curl`"
                skipped = True
                continue
            if block.mark == "keeps running":
                background.enter_context(terminal.running(block.code, folder))
                continue
            printed = terminal.run(block.code, folder)
            if following.language == "text":
                expected = terminal.with_free_ports(following.code)
                pattern = re.escape(expected).replace("…", ".*")
                assert re.fullmatch(pattern, printed.rstrip()), f"{expected}\n\n{printed}"
    if skipped:
        pytest.skip("needs curl: the other commands of the page work")


@pytest.mark.parametrize("page", ALL_PAGES, ids=str)
def test_every_command_that_calls_curl_is_marked(page: Path) -> None:
    for block in blocks(page):
        if block.language == "sh" and not block.mark.startswith("not run: "):
            assert bool(re.search(r"\bcurl ", block.code)) == (block.mark == "needs curl")


def run_program(terminal: Terminal, code: str, folder: str) -> str:
    """Run a client program with the folder's variables in its environment; return its output."""
    place = terminal.root / folder
    (place / "program.py").write_text(code)
    variables = {name: value or "" for name, value in dotenv_values(place / ".env").items()}
    variables["API_BASE_URL"] = terminal.environment["API_BASE_URL"]
    ended = run(place, "program.py", **variables)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_every_snippet_is_run_by_a_test() -> None:
    tests = [ROOT / "tests" / f"test_{name}.py" for name in ("readme", "recipes")]
    run_there = re.findall(r"snippet\([\"']([\w ]+)", "".join(map(Path.read_text, tests)))
    for page in ALL_PAGES:
        for block in blocks(page):
            if block.language == "python" and page.parent.name not in SCRIPTS:
                assert block.mark in run_there, f"{page}: {block.code}"


def test_every_variable_on_a_page_is_one_that_the_suite_reads() -> None:
    named = set(
        re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    )
    for page in ALL_PAGES:
        for block in blocks(page):
            if block.language in ("ini", "yaml"):
                variables = re.findall(r"^([A-Z_]+)=|- name: ([A-Z_]+)$", block.code, re.MULTILINE)
                assert variables and {first or second for first, second in variables} <= named


@pytest.mark.parametrize("folder", [*APIS, *SCRIPTS])
def test_each_symptom_on_a_page_is_one_that_the_programs_show(folder: str) -> None:
    page = (ROOT / folder / "README.md").read_text("utf-8")
    table = page.partition("## What can go wrong")[2].partition("\n## ")[0]
    symptoms = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert len(symptoms) > 3 and symptoms[0] == "symptom"
    files = [*(ROOT / folder).glob("*.py"), *(ROOT / APIS[0]).glob("*.py")]
    # As they are printed: adjacent literals are one sentence.
    source = "".join(re.sub(r'"\s*f?"', "", file.read_text("utf-8")) for file in files)
    for symptom in symptoms[1:]:
        for part in re.split(r"…|`|, the log: | for a fresh token| on (?=/)|\b[45]\d\d\b", symptom):
            assert part.strip() in source, symptom
