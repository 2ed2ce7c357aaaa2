"""How an API's server ends if its settings are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from folders import prepare
from programs import APIS, GUNICORN, free_port, run


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("options", [(), ("--preload",), ("--workers", "2")])
def test_gunicorn_prints_the_sentence_and_exits(
    name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    folder = prepare(name, tmp_path, ZITADEL_DOMAIN="(absent)")
    ended = run(folder, *GUNICORN, f"127.0.0.1:{free_port()}", *options)
    # With several workers gunicorn may stumble over the second one's end, and say so: status 1.
    assert ended.returncode in (4, 1) if "--workers" in options else ended.returncode == 4
    assert ended.stderr.count("ZITADEL_DOMAIN is not set") <= 2
    assert "ZITADEL_DOMAIN is not set" in ended.stderr
    assert "settings.py" not in ended.stderr
