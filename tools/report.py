"""What diagnose.py knows about an API, and the report of what it finds."""

import textwrap
from dataclasses import dataclass
from datetime import datetime, timezone

import requests
from requests.auth import AuthBase

from tools.connection import is_loopback, session_for
from tools.terminal import say
from tools.zitadel import AHEAD_SECONDS, BEHIND_SECONDS, send


class Report:
    """Print the result of each check, without `token`, and count the problems."""

    def __init__(self, token: str) -> None:
        self.problems = 0
        self._token = token

    def ok(self, text: str) -> None:
        """Print what is as expected."""
        self._print("ok", text)

    def note(self, text: str) -> None:
        """Print what is worth knowing."""
        self._print("note", text)

    def problem(self, text: str, *remedies: str) -> None:
        """Print what is wrong and what to do."""
        self.problems += 1
        self._print("PROBLEM", text)
        for remedy in remedies:
            self._print("", remedy)

    def _print(self, word: str, text: str) -> None:
        if len(self._token) > 8:  # as an answer may contain it
            text = text.replace(self._token, "…")
        lines = textwrap.wrap(text, 91, break_long_words=False, break_on_hyphens=False)
        say(f"{word:<9}" + f"\n{'':9}".join(lines))


@dataclass
class Api:
    """How the API asks ZITADEL, and what the folders of the clients beside it contain."""

    domain: str
    url: str
    setting: str  # the variable that `url` comes from
    headers: dict[str, str]
    authentication: AuthBase
    client_id: str
    has_key: bool
    project: str  # its id, "" if unknown
    pat: str
    pat_place: str
    projects: dict[str, str]  # what was set as its id, by place
    sources: dict[str, list[str]]  # variables, by where they come from
    ahead: float = 0  # seconds by which this clock is ahead of ZITADEL's

    @property
    def clock_is_right(self) -> bool:
        """Whether ZITADEL accepts the times in assertions made here."""
        return -BEHIND_SECONDS < self.ahead < AHEAD_SECONDS

    @property
    def wrong_places(self) -> list[str]:
        """Where another project than the API's was set."""
        return [place for place, value in self.projects.items() if value != self.project]

    def introspect(self, token: str) -> requests.Response:
        """Send the API's own request; raise UnavailableError."""
        return send(
            session_for(self.url),
            "POST",
            self.url,
            setting=self.setting,
            headers=self.headers,
            auth=self.authentication,
            data={"token": token},
        )

    @property
    def restarted(self) -> str:
        """A cause that only a local ZITADEL has, "" for others."""
        restarted = "local-zitadel was restarted, which forgets everything: run provision.py again"
        return f"{restarted}; " if is_loopback(self.domain) else ""


def moment(seconds: float) -> str:
    """Return a time as people read it."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds}"
