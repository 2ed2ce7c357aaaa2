"""The API that is measured: one route for each way to check the access token."""

import os
import resource
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import requests
from cachelib import SimpleCache
from flask import Flask, Response, abort, jsonify, request
from requests.auth import HTTPBasicAuth

from client_authentication import PrivateKeyJWT
from introspection import TokenIntrospection
from introspection_cache import CachedIntrospection
from introspection_coalescing import CoalescedIntrospection
from validator import ROLES_CLAIM, Introspection, ZitadelIntrospectTokenValidator

ROOT = Path(__file__).resolve().parent.parent
ROLE = "read:messages"
ISSUER = "https://zitadel.localhost"
URLS = {"HTTP": os.environ["HTTP_URL"], "HTTPS": os.environ["HTTPS_URL"]}
PRIVATE_KEY = Path(os.environ["PRIVATE_KEY_FILE"]).read_text()

# Not imported: api-jwt's module, imported above, has the same name.
basic_module = runpy.run_path(str(ROOT / "api-basic-authentication" / "client_authentication.py"))

app = Flask(__name__)
signatures = 0
encode = jwt.encode


def counting_encode(*arguments: Any, **options: Any) -> str:
    """Sign, and count it."""
    global signatures
    signatures += 1
    return encode(*arguments, **options)


jwt.encode = counting_encode


@app.get("/process")
def process() -> Response:
    """Return what this process has used so far: CPU seconds, peak memory in MB, signatures."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit  # VmHWM of Linux's /proc
    return jsonify(cpu=time.process_time(), peak=peak, signatures=signatures)


@app.get("/unprotected")
def view() -> Response:
    """Answer what every measured route answers once the token is checked."""
    return jsonify(message="The answer.")


def add_route(path: str, introspection: Introspection) -> None:
    """Add a route that the project's own decorator protects."""
    app.add_url_rule(path, path, ZitadelIntrospectTokenValidator(introspection)(ROLE)(view))


for name, url in URLS.items():
    basic = basic_module["ClientSecretBasic"]("client", "secret")
    add_route(f"/{name}/basic", TokenIntrospection(url, basic))
    add_route(f"/{name}/coalesced", CoalescedIntrospection(TokenIntrospection(url, basic)))
    add_route(f"/{name}/limited", TokenIntrospection(url, basic, max_concurrent=4))
    private_key_jwt = PrivateKeyJWT("client", "key", PRIVATE_KEY, ISSUER)
    add_route(f"/{name}/jwt", TokenIntrospection(url, private_key_jwt))
    cached = TokenIntrospection(url, PrivateKeyJWT("client", "key", PRIVATE_KEY, ISSUER))
    add_route(f"/{name}/cached", CachedIntrospection(cached, SimpleCache()))


@app.get("/<transport>/sample-basic")
def sample_basic(transport: str) -> Response:
    """Check the token the sample's way: a new connection for each request."""
    auth = HTTPBasicAuth("client", "secret")
    return judge(requests.post(URLS[transport], data={"token": bearer_token()}, auth=auth))


@app.get("/<transport>/sample-jwt")
def sample_jwt(transport: str) -> Response:
    """Check the token the sample's way: also the key parsed and a signature for each request."""
    now = int(time.time())
    claims = {"iss": "client", "sub": "client", "aud": ISSUER, "iat": now, "exp": now + 3600}
    form = {
        "token": bearer_token(),
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(
            claims, PRIVATE_KEY, algorithm="RS256", headers={"kid": "key"}
        ),
    }
    return judge(requests.post(URLS[transport], data=form))


def bearer_token() -> str:
    """Return the request's access token."""
    return request.headers["Authorization"].removeprefix("Bearer ")


def judge(introspected: requests.Response) -> Response:
    """Answer as `view` if the token is active and its user has the role."""
    introspected.raise_for_status()
    claims = introspected.json()
    if not claims["active"] or claims["exp"] < time.time() or ROLE not in claims[ROLES_CLAIM]:
        abort(401)
    return view()
