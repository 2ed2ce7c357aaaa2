"""The .env and key files in the five folders, as provision.py writes and reads them."""

import io
import os
import re
import tempfile
from datetime import date
from pathlib import Path

from dotenv import dotenv_values

from tools.suite import CLIENTS, Folder
from tools.zitadel import Json, json_object

GITIGNORE = """\
# Secrets: never commit them.
*.env*
!.env.example
*key-file*.json*
[0-9]*.json*
*.key*
*.pem*
*.pat
*.pat[.~#]*
token*.txt*
.provision-*
"""
MARKER = "# Written by provision.py "
API_BASE_URL = "http://localhost:5000"


class Files:
    """What one of the folders contains for the ZITADEL at `domain`.

    Values for another ZITADEL, and files that can't be used, count as missing.
    """

    def __init__(self, folder: Folder, directory: Path, domain: str) -> None:
        self.folder = folder
        self.domain = domain
        self.path = directory / folder.name
        self.env_file = self.path / ".env"
        self.key_file = self.path / folder.key_file
        self.all = [self.env_file] + ([self.key_file] if folder.key_file else [])
        self._note = self.path / ".provision-secret"
        self.read()

    def read(self) -> None:
        """Read the .env, and the key file that it names."""
        text = read_text(self.env_file)
        self.written_here = text.startswith(MARKER)
        values = dotenv_values(stream=io.StringIO(text), interpolate=False)
        self.values = {name: value or "" for name, value in values.items()}
        if self.get("ZITADEL_DOMAIN").rstrip("/") != self.domain:
            self.values = {}

        named = self.get(self.folder.variable)
        is_path = self.folder.key_file and named
        self.key: Json = json_object(read_text(self.path / named)) if is_path else {}

    def get(self, name: str) -> str:
        """Return the .env's value of `name`, "" if it has none."""
        return self.values.get(name, "")

    @property
    def secret(self) -> str:
        """The secret or access token, "" if there is none."""
        return "" if self.folder.key_file else self.get(self.folder.variable)

    @property
    def is_foreign(self) -> bool:
        """Whether there is a file that provision.py didn't write."""
        return not self.written_here and any(os.path.lexists(file) for file in self.all)

    @property
    def can_be_written(self) -> bool:
        """Whether the folder, or that in which it would be created, can be written to."""
        existing = next(place for place in (self.path, *self.path.parents) if place.exists())
        return existing.is_dir() and os.access(existing, os.W_OK)

    def write(self, values: dict[str, str], key: str = "") -> list[tuple[str, str]]:
        """Write what isn't there yet: the .env first, since it shows whose key file it is.

        Older files are kept under another name. Returns what was done to which file.
        """
        done: list[tuple[str, str]] = []
        if not os.path.lexists(self.path / ".gitignore"):
            done += write(self.path / ".gitignore", GITIGNORE)
        kept = self.values if self.written_here else {}  # lines may have been added by hand
        values = {"ZITADEL_DOMAIN": self.domain, **kept, **values}
        if self.folder in CLIENTS:
            values.setdefault("API_BASE_URL", API_BASE_URL)
        if self.folder.key_file and (key or self.folder.variable not in values):
            values[self.folder.variable] = self.folder.key_file

        is_current = all(self.get(name) == value for name, value in values.items())
        if not self.written_here or not is_current:
            lines = [f"{MARKER}on {date.today()} for {self.domain}"]
            lines += [f"{name}={quoted(value)}" for name, value in values.items()]
            done += write(self.env_file, "\n".join(lines) + "\n")
        if key:
            done += write(self.key_file, key)
        self.read()
        return done

    def note_secret(self, owner: str) -> None:
        """Note that a secret of `owner` is about to be created, and will be in the .env."""
        replace(self._note, owner)

    def notes_secret(self, owner: str) -> bool:
        """Tell whether a run ended before it could write the secret that it created."""
        return read_text(self._note) == owner

    def forget_secret(self) -> None:
        """Remove the note."""
        self._note.unlink(missing_ok=True)


class Ownership:
    """Which project in the ZITADEL at `domain` was created from here.

    The .env files written here name it. Until then the claim does, a file that is written before
    the project is created: a run that was killed in between still knows the project as its own.
    """

    def __init__(self, folders: dict[str, Files], domain: str, project_name: str) -> None:
        written = [files for files in folders.values() if files.written_here]
        self._known = {files.get("PROJECT_ID") for files in written} - {""}
        self._claim_file = folders[CLIENTS[0].name].path / ".provision-project"
        self._claim = f"{domain} {project_name}"

    @property
    def is_claimed(self) -> bool:
        """Whether the claim names this project."""
        return read_text(self._claim_file) == self._claim

    def includes(self, project_id: str) -> bool:
        """Tell whether the project was created from here."""
        return self.is_claimed or project_id in self._known

    def claim(self) -> None:
        """Write the claim."""
        replace(self._claim_file, self._claim)

    def release(self) -> None:
        """Remove the claim: a .env names the project, or there is none."""
        self._claim_file.unlink(missing_ok=True)


def read_text(file: Path) -> str:
    """Return the file's text, "" if it isn't there."""
    return file.read_text(encoding="utf-8-sig", errors="replace") if file.is_file() else ""


def replace(file: Path, text: str, aside: Path | None = None) -> None:
    """Write the file whole or not at all, for its owner only; rename an older one to `aside`."""
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=".provision-")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        if aside:
            os.rename(file, aside)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def write(file: Path, text: str) -> list[tuple[str, str]]:
    """Write the file, keep an older one under another name, and return what was done."""
    shown = f"{file.parent.name}/{file.name}"
    if not os.path.lexists(file):
        replace(file, text)
        return [("written", shown)]

    aside, number = file.with_name(f"{file.name}.old"), 2
    while os.path.lexists(aside):
        aside, number = file.with_name(f"{file.name}.old.{number}"), number + 1
    replace(file, text, aside)
    return [("moved", f"{shown} to {aside.name}"), ("written", shown)]


def quoted(value: str) -> str:
    """Return a .env's value, in quotes only if necessary: docker's --env-file would keep them."""
    if re.fullmatch(r"[\w@%+=:,./~-]+", value, re.ASCII):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
