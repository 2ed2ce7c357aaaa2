"""What must hold of the files themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from programs import APIS, PAGES, ROOT, SCRIPTS, clone, git_files
from tools.files import GITIGNORE

DOCS = [file.relative_to(ROOT) for file in sorted((ROOT / "docs").glob("*.md"))]
IDENTICAL = {
    "validator.py": APIS,
    "introspection.py": APIS,
    "key_file.py": ("api-jwt", "service-user-jwt"),
    "settings.py": (*APIS, *SCRIPTS),
    "flask_environment.py": APIS,
    "call_api.py": tuple(SCRIPTS),
    "connection.py": (*SCRIPTS, "tools"),
    "access_token.py": ("service-user-jwt", "service-user-client-credentials"),
}


@pytest.mark.parametrize(("name", "folders"), IDENTICAL.items())
def test_shared_files_are_identical(name: str, folders: tuple[str, ...]) -> None:
    contents = {(ROOT / folder / name).read_bytes() for folder in folders}
    assert len(contents) == 1, f"The copies of {name} differ: run .ci/copy."


def test_introspection_and_access_token_find_the_cause_of_an_error_in_the_same_way() -> None:
    files = ("api-jwt/introspection.py", "service-user-jwt/access_token.py")
    one, other = [(ROOT / file).read_text().partition("def _cause(") for file in files]
    assert one[1:] == other[1:] and one[1]


COPIED = [
    "api-jwt/validator.py",
    "api-jwt/introspection.py",
    "api-jwt/introspection_cache.py",
    "api-jwt/introspection_coalescing.py",
    "api-jwt/client_authentication.py",
    "api-basic-authentication/client_authentication.py",
    "service-user-jwt/access_token.py",
    "service-user-jwt/jwt_profile.py",
    "service-user-client-credentials/client_credentials.py",
    "service-user-pat/personal_access_token.py",
]


@pytest.mark.parametrize("file", COPIED)
def test_a_copied_file_names_its_origin_and_version(file: str) -> None:
    version = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version
    folder = file.partition("/")[0]
    origin = f"# ZITADEL access tokens in Flask {version[1]}, {folder}\n"
    assert (ROOT / file).read_text().startswith(origin)


@pytest.mark.parametrize("file", COPIED)
def test_a_copied_file_is_independent_of_the_examples_wiring(file: str) -> None:
    text = (ROOT / file).read_text()
    assert not re.search(
        r"import (settings|key_file|call_api|connection)|from (settings|key_file|connection)", text
    )
    example = (ROOT / ".env.example").read_text()
    for variable in re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE):
        assert variable not in text


def test_the_script_that_copies_makes_them_identical(tmp_path: Path) -> None:
    copied = clone(tmp_path)
    for name, folders in IDENTICAL.items():
        for folder in folders:
            (copied / folder / name).write_text(f"# of {folder}")
    subprocess.run([".ci/copy"], cwd=copied, check=True)
    for name, folders in IDENTICAL.items():
        assert len({(copied / folder / name).read_text() for folder in folders}) == 1


def test_the_apis_differ_only_in_how_they_authenticate() -> None:
    jwt, basic = ({file.name for file in git_files() if file.parts[0] == api} for api in APIS)
    assert jwt - basic == {"key_file.py", "introspection_cache.py", "introspection_coalescing.py"}
    assert basic - jwt == set()

    routes, others = (
        (ROOT / api / "server.py").read_text().partition("app = Flask(__name__)")[2] for api in APIS
    )
    assert routes == others != ""


def test_every_file_with_the_same_name_in_two_folders_is_known_to_be_shared() -> None:
    folders = {*APIS, *SCRIPTS}
    modules = [file for file in git_files() if file.suffix == ".py" and file.parts[0] in folders]
    names = [file.name for file in modules]
    shared = {name for name in names if names.count(name) > 1}
    assert shared == {*IDENTICAL, "client_authentication.py", "server.py"}


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "api-jwt/.env",
        "api-jwt/.env.old",
        "service-user-jwt/.env.local",
        "api-jwt/api-key-file.json",
        "api-jwt/api-key-file.json.old",
        "service-user-jwt/client-key-file.json",
        "service-user-jwt/client-key-file (1).json",
        "local-zitadel/admin.pat",
        "admin.pat",
        "api-jwt/.provision-abc",
        "api-jwt/.env~",
        "api-jwt/#.env#",
        "api-jwt/.env-backup",
        "api-jwt/.envrc",
        "admin.pat~",
        "token.txt",
        "api-jwt/server.key",
        "service-user-jwt/345678901234567890.json",
    ],
)
def test_git_ignores_secrets(path: str, tmp_path: Path) -> None:
    command = ["git", "check-ignore", "--no-index", path]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    # Also where the folder was copied into a repository of its own.
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copy(ROOT / "api-jwt/.gitignore", tmp_path)
    command[-1] = Path(path).name
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0


@pytest.mark.parametrize("folder", [*APIS, *SCRIPTS])
def test_provision_writes_the_folders_gitignore(folder: str) -> None:
    assert (ROOT / folder / ".gitignore").read_text() == GITIGNORE


def test_the_roots_gitignore_contains_the_folders() -> None:
    assert GITIGNORE in (ROOT / ".gitignore").read_text()


def test_env_example_names_exactly_the_variables_that_are_read() -> None:
    example = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE))
    read = set()
    for folder in (*APIS, *SCRIPTS):
        for file in (ROOT / folder).glob("*.py"):
            calls = (
                r"(?:required|url|domain|project_id|read)\((?:settings, |values, )?\"([A-Z_]+)\""
            )
            read |= set(re.findall(calls, file.read_text()))
    assert named == read


def test_every_placeholder_in_env_example_is_recognized() -> None:
    values = re.findall(r"<[^>]*>", (ROOT / ".env.example").read_text())
    assert values
    assert all(value.startswith("<YOUR_") for value in values)


WRITTEN = {
    ".env",
    ".env.old",
    ".venv",
    ".venv/bin",
    "api-key-file.json",
    "client-key-file.json",
    "admin.pat",
}


def anchors(page: Path) -> set[str]:
    """Return what a link to a heading of the page must end with, as a forge makes it."""
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *DOCS], ids=str)
def test_every_link_on_a_page_has_a_target(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            linked = page.parent / file if file else page
            assert (ROOT / linked).exists(), target
            assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    names = {file.name for file in git_files()} | {str(file) for file in git_files()} | WRITTEN
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    named = re.findall(r"`([\w./-]+\.(?:py|json|txt|md|toml|env|old|pat))`|`(\.[\w/.]+)`", text)
    for name in filter(None, (first or second for first, second in named)):
        assert name in names, name
