"""Create everything the five folders need in a ZITADEL, and write their .env and key files.

    python provision.py --domain https://example.zitadel.cloud --token-file admin.pat

The token file contains a personal access token of a service account that is an Org Owner (or IAM
Owner). In the organization of that service account it creates:

    project             Quotes, with the role read:messages (see --project-name and --role)
    APIs in it          api-jwt, with a key, and api-basic-authentication, with a client secret
    service accounts    service-user-jwt, with a key; service-user-client-credentials, with a
                        client secret; service-user-pat, with a personal access token
    role assignments    the role in the project for each of the three

The project's id is appended to the service accounts' names: service-user-pat-336392597046755331.

It looks at all of this first, and changes nothing if a person must act. You can safely run it
again: what works is kept, and only what is missing or rejected is created. An existing secret is
never replaced unasked, since a new one invalidates it wherever else it is used.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - for those who have an older one
    sys.exit("provision.py requires Python 3.10 or newer, but this is " + sys.version.split()[0])

import argparse
import base64
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from tools import credentials
from tools.arguments import UsageError, administrator_token, domain, parse
from tools.connection import seconds_ahead
from tools.next_steps import show_next_steps
from tools.objects import ACCOUNT_CREDENTIALS, API_CREDENTIALS, Organization, roles_of
from tools.situation import Situation
from tools.suite import (
    APIS,
    CLIENTS,
    DEFAULT_ROLE,
    KEY,
    SECRET,
    Folder,
)
from tools.terminal import Log, ProgramError, complain, prepare, say
from tools.zitadel import (
    AHEAD_SECONDS,
    BEHIND_SECONDS,
    DISCOVERY,
    LAG_SECONDS,
    PROJECTS,
    USERS,
    Json,
    RejectedError,
    Zitadel,
    address_problem,
    wait,
)

PROOF_SECONDS = 20  # how long a new credential may stay unknown


class Run:
    """One run: what it was asked for, what it found, and what it changed."""

    def __init__(self, zitadel: Zitadel, options: argparse.Namespace, log: Log) -> None:
        self.zitadel = zitadel
        self.options = options
        self.log = log
        self.roles = list(dict.fromkeys(options.role or [DEFAULT_ROLE]))
        self.organization = Organization(zitadel, log)
        self.situation = Situation(zitadel, options, self.organization)
        self.found, self.files = self.situation.found, self.situation.files
        self.written: set[str] = set()  # names of folders
        self.may_replace_secrets: bool = options.replace_secrets

    # Changing

    def provide_everything(self) -> None:
        """Create what is missing, write the files, and prove that they work."""
        for name, files in self.files.items():
            files.path.mkdir(parents=True, exist_ok=True)
            for file in self.situation.files_to_rename(name):
                self.log.say("note", f"{name}/{file.name} will be renamed: it isn't from here")
        project_id = self.provide_project()
        for role in self.roles:
            self.organization.create_role(project_id, role)
        for api in APIS:
            self.provide_api(project_id, api)
        for client in CLIENTS:
            self.provide_account(project_id, client)
            self.prove(project_id, client)

    def provide_project(self) -> str:
        """Make sure that the project exists and that a .env names it; return its id."""
        name = self.options.project_name
        if self.found.project:
            self.log.say("exists", f"project {name}")
            project_id = str(self.found.project["projectId"])
        else:
            self.situation.ownership.claim()
            try:
                project_id = self.organization.create_project(name)
            except RejectedError:
                self.situation.ownership.release()
                raise
            self.found.project = {"projectId": project_id, "name": name}
        if self.situation.ownership.is_claimed:
            self.write(CLIENTS[0])
            self.situation.ownership.release()
        return project_id

    def provide_api(self, project_id: str, api: Folder) -> None:
        """Make sure that the API exists and that its folder contains credentials that work."""
        secret = ""
        application = self.found.applications.get(api.name)
        if application:
            self.log.say("exists", f"API {api.name}")
        else:
            if api.credential == SECRET:
                self.files[api.name].note_secret(self.situation.owner(api.name))
            application = self.organization.create_application(project_id, api)
            secret = application["apiConfiguration"].get("clientSecret", "")
            self.found.applications[api.name] = application
        if secret:
            self.write(api, {api.variable: secret})
        elif self.situation.works(api.name):
            self.keep(api)
        else:
            owner = {"projectId": project_id, "applicationId": application["applicationId"]}
            self.renew(api, *API_CREDENTIALS[api.credential], owner)
        self.wait_for(api, lambda: "" if self.situation.works(api.name) else "ZITADEL rejects it")
        self.log.say("proved", f"{api.name}: it may introspect tokens")

    def provide_account(self, project_id: str, client: Folder) -> None:
        """Make sure that the service account exists, has the roles, and that its files work."""
        account = self.found.accounts.get(client.name)
        if account:
            self.log.say("exists", f"service account {account['username']}")
        else:
            account = self.organization.create_account(project_id, client)
            self.found.accounts[client.name] = account
        assignment = self.found.assignments.get(client.name)
        self.organization.assign(account, project_id, self.roles, assignment)
        if self.situation.works(client.name):
            self.keep(client)
        else:
            owner = {"userId": account["userId"]}
            self.renew(client, *ACCOUNT_CREDENTIALS[client.credential], owner)

    def prove(self, project_id: str, client: Folder) -> None:
        """Wait until the service account's token works at both APIs, and say so."""
        files, account = self.files[client.name], self.found.accounts[client.name]
        self.wait_for(
            client,
            lambda: credentials.missing_proof(
                self.zitadel, files, account, project_id, self.situation.apis(), self.roles
            ),
        )
        proof = f"its token is active for both APIs, with {' and '.join(self.roles)}"
        self.log.say("proved", f"{client.name}: {proof}")

    def keep(self, folder: Folder) -> None:
        """Keep the credential in the folder, and correct the other values beside it."""
        self.log.say("kept", f"{folder.name}: its credentials work")
        if not self.files[folder.name].is_foreign:
            self.write(folder)

    def renew(self, folder: Folder, path: str, field: str, owner: Json) -> None:
        """Create a credential of the API or service account, and write the folder's files."""
        if folder.credential == SECRET:
            if self.situation.has_unknown_secret(folder.name) and not self.may_replace_secrets:
                raise ProgramError(f"{folder.name} was created just now elsewhere: run this again.")
            self.files[folder.name].note_secret(self.situation.owner(folder.name))
        else:
            end = datetime.now(timezone.utc) + timedelta(days=self.options.expires_in_days)
            owner = {**owner, "expirationDate": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
        content = self.organization.create(f"{folder.credential} for {folder.name}", path, owner)
        if folder.credential == KEY:
            self.write(folder, key=base64.b64decode(content[field]).decode())
        else:
            self.write(folder, {folder.variable: content[field]})

    def write(
        self, folder: Folder, credential: dict[str, str] | None = None, key: str = ""
    ) -> None:
        """Write the folder's files, and say which."""
        files = self.files[folder.name]
        values = {**self.situation.values(folder.name), **(credential or {})}
        for word, what in files.write(values, key):
            self.log.changed(word, what)
            self.written.add(folder.name)
        if files.secret:
            files.forget_secret()

    def wait_for(self, folder: Folder, problem: Callable[[], str]) -> None:
        """Wait until there is no problem any more; raise ProgramError if it stays."""
        deadline = time.monotonic() + PROOF_SECONDS
        text = problem()
        while text:
            if time.monotonic() > deadline:
                raise ProgramError(
                    f"{folder.name} didn't work within {PROOF_SECONDS} seconds: {text}."
                )
            time.sleep(0.5)
            text = problem()

    # Deleting

    def delete(self) -> None:
        """Show what is to be removed from ZITADEL, ask, and remove it."""
        project = self.found.project
        if not project:
            say(f"Nothing to delete: {self.zitadel.domain} has no such project.")
            return
        if not self.situation.is_ours(project):
            raise UsageError(
                f"The project {project['name']} wasn't created from here: pass "
                "--use-existing-project to delete it nevertheless."
            )
        calls = []
        for name, account in self.found.accounts.items():
            what = f"service account {account['username']} ({account['userId']})"
            if name in self.found.elsewhere:
                say(f"{what} stays: it has a role in {self.found.elsewhere[name][0]} too.")
            else:
                calls.append((what, f"{USERS}/DeleteUser", {"userId": account["userId"]}))
        # Last, since it tells a run after an interruption that this is ours.
        body = {"projectId": project["projectId"]}
        what = f"project {project['name']} ({project['projectId']})"
        calls.append((what, f"{PROJECTS}/DeleteProject", body))

        say(f"This removes from {self.zitadel.domain}:")
        for what, _, _ in calls:
            say(f"  {what}")
        for application in self.organization.list_applications(project["projectId"]):
            say(f"    with its application {application['name']} ({application['applicationId']})")
        if not self.options.yes:
            confirm("Remove all of this?", "--yes")
        for what, path, body in calls:
            self.zitadel.call(path, body)
            self.log.changed("deleted", what)
        # Until the lists show it too: otherwise a new run would find deleted objects.
        find = self.organization.find_project
        wait(lambda: not find(self.options.project_name), LAG_SECONDS)
        say("The .env and key files in the folders remain, but no longer work.")


def confirm(question: str, option: str) -> None:
    """Ask; raise UsageError unless the answer is yes."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to ask at: confirm with {option}.")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise UsageError("Not confirmed.")


def connect(options: argparse.Namespace) -> Zitadel:
    """Return the ZITADEL at --domain: under its own address, and with a clock like this one."""
    token = administrator_token(options.token_file)
    zitadel = Zitadel(domain(options.domain), token)
    answer = zitadel.send(DISCOVERY)  # before the administrator's token is sent there
    problem = address_problem(answer, zitadel.domain, "--domain")
    if problem:
        raise ProgramError(problem)
    ahead = seconds_ahead(answer) or 0
    if not -BEHIND_SECONDS < ahead < AHEAD_SECONDS:
        way = "ahead of" if ahead > 0 else "behind"
        raise ProgramError(
            f"This machine's clock is {abs(ahead):.0f} s {way} ZITADEL's, which rejects assertions "
            "with such times: set it, and run this again."
        )
    return zitadel


def provision(run: Run) -> None:
    """Look, decide, and only then change anything."""
    problems = run.situation.problems(run.roles)
    if problems:
        raise ProgramError("\n".join(problems))
    names = run.situation.secrets_to_replace()
    if names and not run.may_replace_secrets:
        say(
            f"ZITADEL has a secret for {' and '.join(names)} that isn't in the files here. A new "
            "one invalidates it wherever else it is used, such as in another checkout: rather "
            "copy the .env from there, if there is one."
        )
        confirm("Replace it?", "--replace-secrets")
        run.may_replace_secrets = True
    run.provide_everything()
    held = run.roles + roles_of(run.found.assignments.get(CLIENTS[-1].name))
    show_next_steps(run.options.directory, run.files, run.written, held)


def main(arguments: list[str] | None = None) -> int:
    """Run; return the exit status."""
    prepare()
    log = Log()
    try:
        options = parse(arguments, __doc__)
        run = Run(connect(options), options, log)
        if options.delete:
            run.delete()
        else:
            provision(run)
        return 0
    except UsageError as error:
        complain(f"provision.py: {error}")
        return 2
    except ProgramError as error:
        problem, status = str(error), 2
    except OSError as error:
        exists = error.filename and os.path.exists(error.filename)
        problem, status = f"{error.filename if exists else '--directory'}: {error.strerror}.", 2
    except KeyError as error:
        problem, status = f"ZITADEL's answer lacks {error}: this version may not be supported.", 2
    except (KeyboardInterrupt, EOFError):  # EOFError: Ctrl-D at the question
        problem, status = "interrupted.", 130
    complain(f"provision.py: {problem}")
    if log.changes:
        complain(f"Done so far: {'; '.join(log.changes)}. You can safely run it again.")
    else:
        complain("Nothing was changed.")
    return status


if __name__ == "__main__":
    sys.exit(main())
