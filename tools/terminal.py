"""What the programs print, and how they end."""

import io
import os
import sys
from typing import TextIO

from tools.connection import printable


class ProgramError(Exception):
    """What went wrong, in sentences for the person who started the program."""


def prepare() -> None:
    """Let a terminal that lacks a character show its code instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str, stream: TextIO | None = None) -> None:
    """Print the text; control characters in it, which may come from anywhere, are escaped.

    If nobody reads any more, as after `| head -1`, the program goes on in silence.
    """
    stream = stream or sys.stdout
    try:
        print("\n".join(map(printable, text.split("\n"))), file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def complain(text: str) -> None:
    """Print the text to standard error."""
    say(text, sys.stderr)


class Log:
    """What a run changed so far: each change is printed and remembered."""

    def __init__(self) -> None:
        self.changes: list[str] = []

    def say(self, word: str, what: str) -> None:
        """Print one line: what happened to what."""
        say(f"{word:<9}{what}")

    def changed(self, word: str, what: str) -> None:
        """Print one line about a change, and remember it."""
        self.say(word, what)
        self.changes.append(f"{word} {what}")
