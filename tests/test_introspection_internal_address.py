"""A ZITADEL that is reached under another address than its own, as in Docker and Kubernetes."""

from __future__ import annotations

import pytest

from instance import Suite
from programs import APIS, SCRIPTS, run, running_api

pytestmark = pytest.mark.local_zitadel


def internal(suite: Suite) -> str:
    """Return ZITADEL's address by a name that is not its own."""
    return suite.zitadel.issuer.replace("localhost", "127.0.0.1")


@pytest.mark.parametrize("name", APIS)
def test_an_api_sends_zitadels_own_host_to_an_internal_address(name: str, suite: Suite) -> None:
    url = f"{internal(suite)}/oauth/v2/introspect"
    folder = suite.folder / "service-user-pat"
    with running_api(suite.folder / name, ZITADEL_INTROSPECTION_URL=url) as base_url:
        ended = run(folder, SCRIPTS[folder.name], API_BASE_URL=base_url)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", ["service-user-jwt", "service-user-client-credentials"])
def test_a_client_sends_zitadels_own_host_to_an_internal_address(name: str, suite: Suite) -> None:
    url = f"{internal(suite)}/oauth/v2/token"
    ended = run(suite.folder / name, SCRIPTS[name], "--token-only", ZITADEL_TOKEN_URL=url)
    assert (ended.returncode, ended.stderr) == (0, "")
