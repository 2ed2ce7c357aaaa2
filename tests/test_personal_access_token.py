"""The personal access token, and what is rejected as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from folders import assert_one_sentence, prepare, start


@pytest.mark.parametrize("token", ["s3cret s3cret", "s3cret\\ns3cret", "s3cret\u00e4"])
def test_a_personal_access_token_with_invalid_characters_is_rejected(
    token: str, tmp_path: Path
) -> None:
    folder = prepare("service-user-pat", tmp_path, PERSONAL_ACCESS_TOKEN=token)
    assert_one_sentence(start(folder), "PERSONAL_ACCESS_TOKEN", str(folder / ".env"))
