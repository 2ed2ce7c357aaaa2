"""Use the credentials in the folders, as their programs do, to see whether ZITADEL accepts them."""

import base64
import time
from urllib.parse import quote_plus

import requests

from tools.files import Files
from tools.suite import KEY
from tools.zitadel import Json, UnavailableError, Zitadel, intermediary_problem, json_object

ROLES_CLAIM = "urn:zitadel:iam:org:project:roles"
PROJECT_SCOPE = "urn:zitadel:iam:org:project:id:{}:aud"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ClientIds = list[tuple[Files, str]]  # APIs' folders, and their client ids
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# RFC 6749, sections 4.1.2.1 and 5.2: what is neither of these isn't ZITADEL's verdict.
ERRORS = (
    "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type "
    "invalid_scope access_denied server_error"
).split()


def basic(client_id: str, secret: str) -> str:
    """Return the Authorization header, both form-url-encoded first (RFC 6749, section 2.3.1)."""
    credentials = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def assertion(files: Files, identity: str) -> str:
    """Return a JWT signed with the folder's key, "" if that can't be used."""
    import jwt  # here, since diagnose.py works without it for an API with a secret

    key = files.key
    now = int(time.time())
    try:
        name = key[identity]
        claims = {"iss": name, "sub": name, "aud": files.domain, "iat": now - 60, "exp": now + 900}
        return jwt.encode(claims, key["key"], "RS256", headers={"kid": key["keyId"]})
    except (KeyError, TypeError, ValueError, jwt.PyJWTError):
        return ""


def introspect(zitadel: Zitadel, api: Files, client_id: str, token: str) -> Json | None:
    """Return what ZITADEL tells the API about the token, None if it rejects the API itself.

    Raises UnavailableError if it isn't ZITADEL that answers.
    """
    form = {"token": token}
    authorization = ""
    if api.folder.credential == KEY:
        signed = assertion(api, "clientId")
        if not signed or api.key.get("clientId") != client_id:
            return None  # no key, or that of another API
        form |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
    elif api.secret:
        authorization = basic(client_id, api.secret)
    else:
        return None
    return _answer(zitadel, "/oauth/v2/introspect", authorization, form, "active")


def access_token(zitadel: Zitadel, client: Files, account: Json, project_id: str) -> str:
    """Return a token for the service account, "" if ZITADEL gives none.

    `account` is as ZITADEL lists it. Raises UnavailableError if it isn't ZITADEL that answers.
    """
    if not client.folder.key_file and not client.folder.id_variable:
        return client.secret  # a personal access token

    form = {"scope": f"openid {PROJECT_SCOPE.format(project_id)}"}
    authorization = ""
    if client.folder.credential == KEY:
        signed = assertion(client, "userId")
        if not signed or client.key.get("userId") != account["userId"]:
            return ""  # no key, or that of another service account
        form |= {"grant_type": GRANT_TYPE, "assertion": signed}
    elif client.secret:
        form |= {"grant_type": "client_credentials"}
        authorization = basic(account["preferredLoginName"], client.secret)
    else:
        return ""
    answer = _answer(zitadel, "/oauth/v2/token", authorization, form, "access_token")
    return str(answer["access_token"]) if answer else ""


def api_works(zitadel: Zitadel, api: Files, client_id: str) -> bool:
    """Tell whether ZITADEL lets the API introspect with what is in its folder."""
    return introspect(zitadel, api, client_id, "x") is not None


def client_works(
    zitadel: Zitadel, client: Files, account: Json, project_id: str, apis: ClientIds
) -> bool:
    """Tell whether what is in the folder is the service account's, and ZITADEL accepts it.

    `apis` are the APIs that can be asked about its token, and their client ids.
    """
    token = access_token(zitadel, client, account, project_id)
    if token and client.folder.id_variable + client.folder.key_file:
        return True  # ZITADEL just issued it
    return bool(token) and any(
        (introspect(zitadel, api, client_id, token) or {}).get("sub") == account["userId"]
        for api, client_id in apis
    )


def missing_proof(
    zitadel: Zitadel,
    client: Files,
    account: Json,
    project_id: str,
    apis: ClientIds,
    roles: list[str],
) -> str:
    """Return what a token of the service account still lacks at the APIs, "" if nothing."""
    token = access_token(zitadel, client, account, project_id)
    if not token:
        return "ZITADEL gives it no token"
    answers = [introspect(zitadel, api, client_id, token) for api, client_id in apis]
    if any((answer or {}).get("sub") != account["userId"] for answer in answers):
        return "its token isn't active for both APIs"
    held = [(answer or {}).get(ROLES_CLAIM, {}) for answer in answers]
    missing = [role for role in roles if any(role not in claim for claim in held)]
    return f"its token is without the role {', '.join(missing)}" if missing else ""


def _answer(
    zitadel: Zitadel, path: str, authorization: str, form: dict[str, str], wanted: str
) -> Json | None:
    """Return an answer that contains the field `wanted`, None if it is ZITADEL's rejection."""
    answer = zitadel.send(path, authorization, form=form)
    content = json_object(answer.content)
    if answer.status_code == 200 and wanted in content:
        return content
    if is_rejection(answer):
        return None
    raise UnavailableError(intermediary_problem(answer, f"{zitadel.domain}{path}"))


def is_rejection(answer: requests.Response) -> bool:
    """Tell whether ZITADEL itself rejects a request at an OAuth endpoint."""
    error = json_object(answer.content).get("error")
    return 400 <= answer.status_code <= 500 and error in ERRORS
