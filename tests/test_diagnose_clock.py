"""diagnose.py where the clock of this machine or of a client's is wrong."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from diagnosing import ACCEPTED, BASIC, JWT_USER, diagnose, problem, problems, signed, wrong_key
from instance import Suite
from programs import SCRIPTS, WRONG_CLOCK, run
from servers import Upstream


@pytest.mark.parametrize(("ahead", "direction"), [(300, "ahead of"), (-1000, "behind")])
def test_a_wrong_clock_is_reported(
    ahead: int, direction: str, suite: Suite, tmp_path: Path
) -> None:
    told = problems(diagnose(suite.folder / "api-jwt", ahead=ahead))
    assert f"s {direction} ZITADEL's. Set it: ZITADEL rejects assertions" in told[0]
    (other,) = told[1:]
    assert "The clock alone causes that" in other
    key = {"API_PRIVATE_KEY_FILE": str(wrong_key(suite, tmp_path))}
    told = problems(diagnose(suite.folder / "api-jwt", ahead=-700, status=1, **key))
    assert "the key was removed" in told[1] and "The clock alone" not in told[1]
    lines = diagnose(suite.folder / BASIC, ahead=ahead, status=0)
    assert "clients on this machine that sign assertions may get no token" in str(lines)


@pytest.mark.parametrize("ahead", [50, -300])
def test_a_slightly_wrong_clock_is_tolerated(ahead: int, suite: Suite) -> None:
    lines = diagnose(suite.folder / "api-jwt", ahead=ahead, status=0)
    assert "ZITADEL's, which is tolerated." in str(lines) and ACCEPTED in lines


def test_expiry_is_judged_by_zitadels_clock(
    scripted_api: tuple[Upstream, Path],
) -> None:
    upstream, folder = scripted_api
    upstream.answer({"active": False}, headers={"Date": formatdate(usegmt=True)})
    token = signed({"iss": upstream.base_url, "exp": time.time() + 60, "jti": "1"})
    assert "expired" not in problem(folder, token=token, ahead=3600)
    token = signed({"iss": upstream.base_url, "exp": time.time() - 60, "jti": "1"})
    assert "It expired at" in problem(folder, token=token, ahead=-3600)


@pytest.mark.local_zitadel
@pytest.mark.parametrize("ahead", [300, -90000])
def test_a_client_with_a_wrong_clock_prints_no_token(ahead: int, suite: Suite) -> None:
    command = ("-c", WRONG_CLOCK, str(ahead), SCRIPTS[JWT_USER], "--token-only")
    token = run(suite.folder / JWT_USER, *command).stdout
    (line,) = diagnose(suite.folder / "api-jwt", token=token, status=2)
    assert "the command before the pipe printed no token" in line
