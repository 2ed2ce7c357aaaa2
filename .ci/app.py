"""A user's app, as mypy and pyright check it next to copies of the API's files."""

from cachelib import SimpleCache
from flask import Flask
from flask.typing import ResponseReturnValue

from client_authentication import PrivateKeyJWT
from introspection import TokenIntrospection
from introspection_cache import CachedIntrospection
from validator import ZitadelIntrospectTokenValidator, current_token

introspection = TokenIntrospection(
    "https://example.zitadel.cloud/oauth/v2/introspect",
    PrivateKeyJWT("client id", "key id", "private key", "https://example.zitadel.cloud"),
)
require_auth = ZitadelIntrospectTokenValidator(CachedIntrospection(introspection, SimpleCache()))
app = Flask(__name__)


@app.get("/name")
@require_auth("read:messages")
def name() -> ResponseReturnValue:
    """Return a claim, and all of them."""
    claims = current_token()
    return {"name": claims["name"], "claims": claims}


@app.get("/later")
@require_auth
async def later() -> str:
    """Use the decorator without parentheses, on an async view."""
    return str(current_token().get("sub", ""))


@app.before_request
def check() -> None:
    """Check as a call."""
    require_auth.check(["editor", "admin"])
