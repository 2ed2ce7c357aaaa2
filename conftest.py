"""Options for running the tests against your own ZITADEL.

    pytest --zitadel-domain https://example.zitadel.cloud --zitadel-token-file admin.pat

pytest must know them before it looks for tests, and it looks beside the token file first. If that
is outside this folder, write `--zitadel-token-file=/path/to/admin.pat`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("zitadel", "the ZITADEL that the tests run on")
    group.addoption(
        "--zitadel-domain",
        metavar="https://…",
        help="run the tests that use a ZITADEL on this one; they delete what they create",
    )
    group.addoption(
        "--zitadel-token-file",
        metavar="FILE",
        type=Path,
        help="file with a personal access token of an Org Owner there, or for all recorded cases "
        "of an IAM Owner; without it $ZITADEL_ADMIN_TOKEN is used",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options."""
    domain, file = config.option.zitadel_domain, config.option.zitadel_token_file
    if domain is None:
        if file:
            raise pytest.UsageError("--zitadel-token-file requires --zitadel-domain.")
        return
    if not re.fullmatch(r"https?://[^/?#\s]+/?", domain):
        raise pytest.UsageError("--zitadel-domain must be like https://example.zitadel.cloud.")
    token = os.environ.get("ZITADEL_ADMIN_TOKEN", "").strip()
    if file:
        try:
            token = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise pytest.UsageError(f"--zitadel-token-file {file} can't be read.") from None
    elif not token:
        raise pytest.UsageError(
            "--zitadel-domain requires --zitadel-token-file, or the token in ZITADEL_ADMIN_TOKEN."
        )
    if not re.fullmatch(r"[!-~]+", token):
        source = f"--zitadel-token-file {file}" if file else "ZITADEL_ADMIN_TOKEN"
        raise pytest.UsageError(f"{source} must contain only a personal access token, on one line.")
    config.option.zitadel_admin_token = token
