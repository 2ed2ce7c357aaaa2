"""The options for tests on a ZITADEL of one's own.

    pytest --zitadel-domain https://example.zitadel.cloud --zitadel-token-file admin.pat

They must be known before pytest looks for tests, and it looks beside the token file first. For one
that lies outside of this folder write `--zitadel-token-file=/path/to/admin.pat`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a ZITADEL be given."""
    group = parser.getgroup("zitadel", "the ZITADEL that the tests run on")
    group.addoption(
        "--zitadel-domain",
        metavar="https://…",
        help="run the tests that use a ZITADEL on this one; what they make there they delete",
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
            raise pytest.UsageError("--zitadel-token-file needs --zitadel-domain with it.")
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
            "--zitadel-domain needs --zitadel-token-file, or the token in ZITADEL_ADMIN_TOKEN."
        )
    if not re.fullmatch(r"[!-~]+", token):
        source = f"--zitadel-token-file {file}" if file else "ZITADEL_ADMIN_TOKEN"
        raise pytest.UsageError(f"{source} must hold a personal access token alone, on one line.")
    config.option.zitadel_admin_token = token
