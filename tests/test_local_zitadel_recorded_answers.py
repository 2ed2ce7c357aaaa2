"""A ZITADEL, local or your own, answers every recorded request as recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contract import Contract
from instance import Instance
from recorded import BY_ID


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with each recorded case."""
    if "case" in metafunc.fixturenames:
        domain = metafunc.config.getoption("--zitadel-domain") or ""
        chosen = list(BY_ID.values())
        if domain.startswith("https:"):
            # A proxy that terminates TLS may answer another host's name by itself.
            chosen.remove(BY_ID["wrong-host"])
        metafunc.parametrize("case", chosen, ids=[case["id"] for case in chosen])


@pytest.fixture(scope="module")
def contract(instance: Instance) -> Iterator[Contract]:
    """Provide one run through the cases, in their order."""
    contract = Contract(instance.issuer, instance.admin_pat, wait=instance.lags)
    yield contract
    contract.clean_up()


def test_the_answer_is_as_recorded(contract: Contract, case: dict[str, Any]) -> None:
    contract.run(case)


def test_no_recorded_case_is_missing() -> None:
    assert len(BY_ID) == 193
    assert sum(case["local"] for case in BY_ID.values()) == 181
