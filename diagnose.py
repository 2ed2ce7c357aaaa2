"""Find out why an API rejects a token; ZITADEL itself says only that it isn't active.

    python diagnose.py api-jwt < token.txt
    python service-user-jwt/jwt-profile-token-generator.py --token-only | python diagnose.py api-jwt

It checks, in this order: ZITADEL's address, the clocks, the API's own credentials, and the token.
Without a token on standard input it uses the personal access token of the variable
PERSONAL_ACCESS_TOKEN or of service-user-pat/.env. It prints no token and no secret.

For an app of your own, set that app's variables in the environment and name the folder that
authenticates as it does: ZITADEL_DOMAIN, and API_CLIENT_ID and API_CLIENT_SECRET for
api-basic-authentication, or API_PRIVATE_KEY_FILE for api-jwt. Then the sample's own files don't
count, and PROJECT_ID and --role are those of your app.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - for those who have an older one
    sys.exit("diagnose.py requires Python 3.10 or newer, but this is " + sys.version.split()[0])

import argparse
import os
import re
import stat
from pathlib import Path
from typing import Any, NoReturn

from tools.api_checks import check_clock, check_credentials, check_sources, find_zitadel
from tools.report import Api, Report
from tools.suite import APIS, CLIENTS, DEFAULT_ROLE
from tools.terminal import complain, prepare, say
from tools.token_checks import check_form, check_token
from tools.zitadel import json_object

ENVIRONMENT = "the environment"  # as settings.py calls it
INTROSPECTION_URL = "ZITADEL_INTROSPECTION_URL"
PAT = CLIENTS[-1]


def main() -> int:
    """Check everything; return 0 if all is well, 1 if there is a problem."""
    prepare()
    try:
        options = parse()
        api = load(options.folder.resolve(), options.project_id)
        token = read_token(api)
        report = Report(token)
        is_accepted = check(report, api, token, options.role)
    except KeyboardInterrupt:
        complain("diagnose.py: interrupted.")
        return 130

    if report.problems == 0:
        say("An API with these settings accepts this token.")
        say("If yours doesn't, restart it, and check that API_BASE_URL is its address.")
    elif not is_accepted:
        say("Fix this first: the token itself couldn't be checked.")
    elif report.problems > 1:
        say("Fix the first problem first; the others may be consequences.")
    return 1 if report.problems else 0


def check(report: Report, api: Api, token: str, role: str) -> bool:
    """Check one thing after the other; return whether ZITADEL lets the API ask about tokens."""
    check_sources(report, api)

    discovery = find_zitadel(report, api)
    if discovery is None:
        return False
    check_clock(report, api, discovery)
    is_accepted = check_credentials(report, api, json_object(discovery.content))

    has_form = check_form(report, token)
    if is_accepted and has_form:
        check_token(report, api, token, role)
    return is_accepted


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="diagnose.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = " or ".join(api.name for api in APIS)
    parser.add_argument("folder", type=Path, help=f"the API's: {names}")
    parser.add_argument("--role", default=DEFAULT_ROLE, help=f"default: {DEFAULT_ROLE}")
    parser.add_argument("--project-id", default="", help="the id of the API's project")
    options, others = parser.parse_known_args()
    if others:  # perhaps the token, which must not be shown
        stop(2, "Name one folder: the token is read from standard input. See --help.")
    if not all((options.folder / name).is_file() for name in ("settings.py", "server.py")):
        stop(
            2,
            f"Name {names}, also for an app of your own: set that app's credentials as environment "
            "variables. See --help.",
        )
    if not re.fullmatch("[0-9]*", options.project_id):
        stop(2, "--project-id is the id of a project in ZITADEL's console: digits only.")
    return options


def load(folder: Path, project: str) -> Api:
    """Return what the API's folder and those of the clients beside it contain.

    Whatever is wrong with the settings ends the program with one sentence and status 4.
    """
    sys.path.insert(0, str(folder))
    import client_authentication
    import server
    import settings

    try:
        introspection = server.create_introspection()
        values = settings.load(folder)
        domain = values.domain("ZITADEL_DOMAIN")
        clients = [settings.load(folder.parent / client.name) for client in CLIENTS]
    except settings.ConfigurationError as error:
        settings.stop(error)

    has_key = hasattr(client_authentication, "PrivateKeyJWT")
    sample = APIS[0] if has_key else APIS[1]
    names = ["ZITADEL_DOMAIN", INTROSPECTION_URL, sample.id_variable, sample.variable]
    sources: dict[str, list[str]] = {}
    for name in filter(values.get, names):
        sources.setdefault(values.source(name), []).append(name)

    # The clients' folders are those of the sample, which don't count for another app.
    is_own_app = list(sources) == [ENVIRONMENT]
    found = [client.find("PROJECT_ID") for client in clients]
    projects = {
        f"PROJECT_ID in {source}": value
        for value, source in found
        if value and (source == ENVIRONMENT or not is_own_app)
    }
    if project:
        projects["--project-id"] = project
    pat, pat_place = clients[-1].find(PAT.variable)
    if is_own_app and pat_place != ENVIRONMENT:
        pat = ""

    authentication: Any = introspection.client_authentication
    return Api(
        domain=domain,
        url=introspection.url,
        setting=INTROSPECTION_URL if values.get(INTROSPECTION_URL) else "ZITADEL_DOMAIN",
        headers=introspection.headers,
        authentication=authentication,
        client_id=authentication.client_id,
        has_key=has_key,
        project=project,
        pat=pat,
        pat_place=pat_place,
        projects=projects,
        sources=sources,
    )


def read_token(api: Api) -> str:
    """Return the token from standard input, or else the personal access token."""
    content = b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read()
    try:
        token = content.decode("utf-8-sig").strip()
    except ValueError:
        token = "\0"
    if "\0" in token:  # as UTF-16 has
        stop(4, "Standard input isn't UTF-8 text: save the file of the token as UTF-8.")
    if token:
        say("Using the token from standard input.")
        return token

    if sys.stdin and stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        stop(2, "Standard input is empty: the command before the pipe printed no token.")
    if not api.pat:
        stop(2, f"There is no token: pipe one to standard input, or set {PAT.variable}.")
    say(f"Using the personal access token of {api.pat_place}.")
    return api.pat


def stop(status: int, problem: str) -> NoReturn:
    """Print a sentence and exit."""
    complain(problem)
    sys.exit(status)


if __name__ == "__main__":
    sys.exit(main())
