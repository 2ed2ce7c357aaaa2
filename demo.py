"""Run the whole suite on this machine: two APIs, three service accounts, six combinations.

Starts local-zitadel, creates everything in it, starts both APIs, calls them as each service account
and prints a table of what the routes answered. It works on a copy of the folders: their own `.env`
files are neither read nor changed, unless --use-env is given; then the ZITADEL they name is used.
With --explain it shows and explains each kind of exchange between client, API and ZITADEL.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - for those who have an older one
    sys.exit("demo.py requires Python 3.10 or newer, but this is " + sys.version.split()[0])

import argparse
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import requests
from dotenv import dotenv_values

from tools.connection import session_for
from tools.processes import (
    RUN_SECONDS,
    DemoError,
    Environment,
    free_port,
    run,
    running,
)
from tools.suite import APIS, CLIENTS, FOLDERS, ROOT, ROUTES, Folder
from tools.terminal import complain, prepare, say
from tools.zitadel import ORGANIZATION, USERS, Zitadel

PAT = CLIENTS[-1]
WITHOUT_ROLE = "service account without the role"
START_SECONDS = 20


class Row(NamedTuple):
    """What one caller got from one API: a status for each route, and what it should have been."""

    api: str
    caller: str
    statuses: list[int]
    expected: list[int]


def main() -> int:
    """Run the suite; return 0 if every status is as expected, 1 if one isn't, 2 on failure."""
    prepare()
    parser = argparse.ArgumentParser(description="Run all six combinations and show a table.")
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--use-env",
        action="store_true",
        help="use the ZITADEL and the credentials in the folders' own .env files",
    )
    way.add_argument(
        "--explain", action="store_true", help="show what is sent over the network, and say why"
    )
    arguments = parser.parse_args()
    use_env = arguments.use_env
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), lambda number, frame: sys.exit(128 + number))
    started_at = time.monotonic()
    say("Starting everything and calling each API as each service account ...")
    try:
        with ExitStack() as stack:
            root, environments = ROOT, {}
            if not use_env:
                root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
                environments = stack.enter_context(local_zitadel(root))
            proxy = None
            if arguments.explain:
                from tools.explain import lecture

                proxy = stack.enter_context(lecture(environments))
            rows: list[Row] = []
            for api in APIS:
                environment = environments.get(api.name, {})
                base_url = stack.enter_context(running_api(root / api.name, environment))
                if proxy:
                    proxy.api, base_url = base_url, proxy.url
                rows += call_as_everyone(root, api.name, base_url, environments)
            if proxy:
                proxy.lecture.end()
    except DemoError as error:
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        complain("Interrupted; everything has been stopped.")
        return 130
    except BrokenPipeError:  # the pager was left before the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    print_table(rows)
    right = all(row.statuses == row.expected for row in rows)
    verdict = "Every status is as expected" if right else "A status is NOT as expected"
    say(f"\n{verdict}. {time.monotonic() - started_at:.1f} s")
    if use_env:
        say("Not tried with --use-env: a service account without the role read:messages.")
    return 0 if right else 1


@contextmanager
def local_zitadel(directory: Path) -> Iterator[dict[str, Environment]]:
    """Run local-zitadel with everything created in it; give each folder's variables by its name.

    The name "service account without the role" has those of one that lacks read:messages. The
    folders are copied into `directory`.
    """
    token_file = directory / "admin.pat"
    command = ["local-zitadel/server.py", "--port", "0", "--token-file", str(token_file)]
    with running("local-zitadel", command, ROOT, {}) as process:
        assert process.stdout
        issuer = process.stdout.readline().split()[-1:]
        if not issuer or not issuer[0].startswith("http://"):
            raise DemoError("local-zitadel didn't start.")
        for folder in FOLDERS:
            (directory / folder.name).mkdir()
            for file in (ROOT / folder.name).glob("*.py"):
                shutil.copy(file, directory / folder.name)
        yield provision(issuer[0], token_file, directory)


def provision(issuer: str, token_file: Path, directory: Path) -> dict[str, Environment]:
    """Create everything in the ZITADEL at `issuer` and return each folder's variables."""
    command = ["provision.py", "--domain", issuer, "--token-file", str(token_file)]
    ended = run([*command, "--directory", str(directory)], ROOT, {})
    if ended.returncode != 0:
        raise DemoError(f"provision.py failed:\n{ended.stdout}{ended.stderr}")
    optional = {
        "ZITADEL_INTROSPECTION_URL": f"{issuer}/oauth/v2/introspect",
        "ZITADEL_TOKEN_URL": f"{issuer}/oauth/v2/token",
        "FLASK_SKIP_DOTENV": "1",
    }
    environments = {}
    for folder in FOLDERS:
        place = directory / folder.name
        values = dotenv_values(place / ".env", interpolate=False)
        if folder.key_file:
            values[folder.variable] = str(place / folder.key_file)
        environments[folder.name] = optional | {name: value or "" for name, value in values.items()}
    environments[WITHOUT_ROLE] = environments[PAT.name] | {
        PAT.variable: token_without_role(issuer, token_file.read_text().strip())
    }
    return environments


def token_without_role(issuer: str, admin_token: str) -> str:
    """Create a service account without a role and return one of its personal access tokens."""
    zitadel = Zitadel(issuer, admin_token)
    organization = zitadel.call(ORGANIZATION)["org"]["id"]
    name = "without-role"
    user = {"organizationId": organization, "username": name, "machine": {"name": name}}
    user_id = zitadel.call(f"{USERS}/CreateUser", user)["id"]
    token = {"userId": user_id, "expirationDate": "2090-01-01T00:00:00Z"}
    return str(zitadel.call(f"{USERS}/AddPersonalAccessToken", token)["token"])


@contextmanager
def running_api(folder: Path, environment: Environment) -> Iterator[str]:
    """Run an API as its README says, on a free port, and give its address."""
    port = free_port()
    command = ["-m", "flask", "--app", "server", "run", "--port", str(port)]
    base_url = f"http://localhost:{port}"
    with running(folder.name, command, folder, environment) as process:
        session = session_for(base_url)
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                session.get(f"{base_url}/api/public", timeout=5)
                break
            except requests.RequestException:
                if process.poll() is not None or time.monotonic() > end:
                    raise DemoError(f"{folder.name} didn't start.") from None
                time.sleep(0.05)
        yield base_url


def call_as_everyone(
    root: Path, api: str, base_url: str, environments: dict[str, Environment]
) -> Iterator[Row]:
    """Call every route of an API as each service account, without a token, and with a wrong one."""
    for client in CLIENTS:
        statuses = call_with_script(root, client, base_url, environments.get(client.name, {}))
        yield Row(api, client.name, statuses, [200, 200, 200])
    if WITHOUT_ROLE in environments:
        statuses = call_with_script(root, PAT, base_url, environments[WITHOUT_ROLE])
        yield Row(api, WITHOUT_ROLE, statuses, [200, 200, 403])
    yield Row(api, "no token", call_directly(base_url, {}), [200, 401, 401])
    wrong = {"Authorization": "Bearer wrong"}
    yield Row(api, "a wrong token", call_directly(base_url, wrong), [200, 401, 401])


def call_with_script(
    root: Path, client: Folder, base_url: str, environment: Environment
) -> list[int]:
    """Run a service account's script in its folder and return the statuses that it printed."""
    ended = run([client.program], root / client.name, {**environment, "API_BASE_URL": base_url})
    answers = dict(line.split()[:2] for line in ended.stdout.splitlines() if line.startswith("/"))
    if tuple(answers) != ROUTES:
        where = f"{client.name}/{client.program}"
        raise DemoError(f"{where} failed:\n{ended.stdout}{ended.stderr}")
    return [int(answers[route]) for route in ROUTES]


def call_directly(base_url: str, headers: dict[str, str]) -> list[int]:
    """Call the routes with these headers and return the statuses."""
    with session_for(base_url) as session:
        return [
            session.get(f"{base_url}{route}", headers=headers, timeout=RUN_SECONDS).status_code
            for route in ROUTES
        ]


def print_table(rows: list[Row]) -> None:
    """Print a line for each row, below its API, and beside a wrong status the right one."""
    width = max(len(row.caller) for row in rows)
    api = ""
    for row in rows:
        if row.api != api:
            api = row.api
            say(f"{api:<{width + 2}}" + "".join(f"{route:>20}" for route in ROUTES))
        cells = [
            str(status) if status == right else f"{status}, not {right}"
            for status, right in zip(row.statuses, row.expected, strict=True)
        ]
        say(f"  {row.caller:<{width}}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
