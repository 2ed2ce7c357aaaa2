"""What a person can do after a run of provision.py."""

import os
import shlex
from pathlib import Path

from tools.files import Files
from tools.suite import APIS, CLIENTS, DEFAULT_ROLE, ROOT
from tools.terminal import say


def show_next_steps(
    directory: Path, folders: dict[str, Files], written: set[str], roles: list[str]
) -> None:
    """Print the commands that start an API and call it, and what keeps them from working.

    `written` are the names of the folders whose files are new, and `roles` what a client has.
    """
    say("\nEverything works.")
    if DEFAULT_ROLE not in roles:
        say(f"/api/private-scoped will answer 403: it requires {DEFAULT_ROLE}, see --role.")
    values = [item for files in folders.values() for item in files.values.items()]
    if overriding := {k for k, value in values if os.environ.get(k, value) not in ("", value)}:
        say(f"First, unset {', '.join(sorted(overriding))}: the environment overrides .env.")

    shown = [api for api in APIS if api.name in written] or [APIS[0]]
    missing = [
        folder.name
        for folder in (*shown, CLIENTS[-1])
        if not (directory / folder.name / folder.program).exists()
    ]
    if missing:
        say("First, copy the programs to their settings (likewise those of other folders):")
    for name in missing:
        target = shlex.quote(str(directory / name))
        say(f"  cp {shlex.quote(str(ROOT / name))}/*.py {target}")
    say(f"Next, each in a terminal of its own, in {directory}:")
    for port, api in enumerate(shown, 5000):
        option = f" --port {port}" if port > 5000 else ""
        say(f"  cd {api.name} && flask --app server run{option}  # restart it if it runs")
    say(f"  cd {CLIENTS[-1].name} && python {CLIENTS[-1].program}")
