"""What there is before a run, in ZITADEL and in the folders, and what a person must do about it."""

import argparse
import os
from pathlib import Path

from tools import credentials
from tools.files import Files, Ownership
from tools.objects import Organization, inactive, roles_of, unsuitable
from tools.suite import CLIENTS, FOLDERS, SECRET
from tools.zitadel import Json, Zitadel


class Situation:
    """What there is for one project. Looking at it changes nothing."""

    def __init__(
        self, zitadel: Zitadel, options: argparse.Namespace, organization: Organization
    ) -> None:
        self._zitadel = zitadel
        self._organization = organization
        self._project_name: str = options.project_name
        self._force: bool = options.force
        self._use_existing: bool = options.use_existing_project
        self.files = {
            folder.name: Files(folder, options.directory, zitadel.domain) for folder in FOLDERS
        }
        self.ownership = Ownership(self.files, zitadel.domain, options.project_name)
        self.found = organization.look(options.project_name)
        # Where a run ended before it could write the secret that it created.
        self.unfinished = {
            name for name, files in self.files.items() if files.notes_secret(self.owner(name))
        }

    def problems(self, roles: list[str]) -> list[str]:
        """Return, in sentences, what a person must do before anything can be changed."""
        problems = inactive(self._organization, self.found)
        project = self.found.project
        if project and not self.is_ours(project):
            return [
                f"ZITADEL already has a project {project['name']}, and no .env here shows that "
                "provision.py created it. Choose another --project-name, or pass "
                "--use-existing-project: then keys and a personal access token are added to it, "
                "and its secrets are replaced if you confirm that, which invalidates those in use."
            ]
        read_only = [files.path for files in self.files.values() if not files.can_be_written]
        if read_only:
            problems.append(f"{read_only[0]} can't be written to: see --directory.")
        problems += unsuitable(self.found)
        if problems:
            return problems  # while something is deactivated, credentials can't be judged

        for name, files in self.files.items():
            if self.files_to_rename(name) and not self._force:
                problems.append(
                    f"{files.path} contains {' or '.join(file.name for file in files.all)} not "
                    "written by provision.py and not for this project. Move it away, or use "
                    "--force to rename it."
                )
        for name, others in self.found.elsewhere.items():
            held = roles_of(self.found.assignments.get(name))
            if not self.works(name) or not set(roles) <= set(held):
                problems.append(
                    f"The service account {self.found.accounts[name]['username']} also has a role "
                    f"in the project {others[0]}, so it isn't changed: remove that role."
                )
        return problems

    def is_ours(self, project: Json) -> bool:
        """Tell whether the project was created from here, or may be used anyway."""
        owned = self.ownership.includes(project["projectId"])
        return owned or self._use_existing

    def works(self, name: str) -> bool:
        """Tell whether ZITADEL accepts what is in the folder, for this project."""
        files, found = self.files[name], self.found
        if name in found.applications:
            client_id = found.applications[name]["apiConfiguration"]["clientId"]
            return credentials.api_works(self._zitadel, files, client_id)
        if name not in found.accounts or not found.project:
            return False
        account, project_id = found.accounts[name], found.project["projectId"]
        return credentials.client_works(self._zitadel, files, account, project_id, self.apis())

    def files_to_rename(self, name: str) -> list[Path]:
        """Return the folder's files that provision.py didn't write and that don't work."""
        files = self.files[name]
        if not files.is_foreign or self.fits(name):
            return []
        return [file for file in files.all if os.path.lexists(file)]

    def fits(self, name: str) -> bool:
        """Tell whether the folder's programs work with what is there, as it is."""
        wanted = self.values(name)
        is_current = all(self.files[name].get(key) == value for key, value in wanted.items())
        return is_current and self.works(name)

    def values(self, name: str) -> dict[str, str]:
        """Return what the folder's .env must contain besides the credential."""
        folder, found = self.files[name].folder, self.found
        values = {}
        if folder in CLIENTS and found.project:
            values["PROJECT_ID"] = str(found.project["projectId"])
        if folder.id_variable and name in found.applications:
            values[folder.id_variable] = found.applications[name]["apiConfiguration"]["clientId"]
        if folder.id_variable and name in found.accounts:
            # Not the username: an organization may append its domain to that.
            values[folder.id_variable] = found.accounts[name]["preferredLoginName"]
        return values

    def apis(self) -> credentials.ClientIds:
        """Return the APIs' folders, each with the client id."""
        return [
            (self.files[name], application["apiConfiguration"]["clientId"])
            for name, application in self.found.applications.items()
        ]

    def has_unknown_secret(self, name: str) -> bool:
        """Tell whether a new secret would invalidate one that may be in use elsewhere."""
        account = self.found.accounts.get(name, {})
        has_secret = name in self.found.applications or account.get("machine", {}).get("hasSecret")
        is_secret = self.files[name].folder.credential == SECRET
        return bool(is_secret and has_secret and name not in self.unfinished)

    def secrets_to_replace(self) -> list[str]:
        """Return the folders whose API or service account has a secret that isn't there."""
        return [
            name for name in self.files if self.has_unknown_secret(name) and not self.works(name)
        ]

    def owner(self, name: str) -> str:
        """Return by which the folder's object is known, as noted beside an unfinished secret."""
        return f"{self._zitadel.domain} {self._project_name} {name}"
