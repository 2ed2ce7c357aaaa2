"""diagnose.py's checks of a token: its form, whether it is active, its roles and its expiry."""

import base64
import re
import time
from contextlib import suppress

from tools.credentials import PROJECT_SCOPE, ROLES_CLAIM
from tools.report import Api, Report, moment
from tools.zitadel import Json, UnavailableError, json_object, status_problem

B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
ROLE_SCOPE = "urn:zitadel:iam:org:project:role:"
NEVER = 253402300799  # the `exp` of a personal access token without an expiration date
MAX_BYTES = 1_000_000  # of an answer that the API reads


def check_form(report: Report, token: str) -> bool:
    """Return whether the token has only characters that tokens have."""
    if B64TOKEN.fullmatch(token):
        return True
    begins = "It begins with the word Bearer." if token.lower().startswith("bearer") else ""
    report.problem(
        f"The token contains characters that no token can contain. {begins}",
        "Give the token alone, without quotes, spaces or line breaks.",
    )
    return False


def jwt_claims(token: str) -> Json:
    """Return the claims of a JWT, unverified; empty if the token isn't one."""
    parts = token.split(".")
    try:
        header, claims = (
            json_object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            for part in parts[:2]
        )
    except ValueError:
        return {}
    return claims if len(parts) == 3 and header else {}


def api_project(claims: Json, client_id: str) -> str:
    """Return the API's project, "" if the answer isn't about an active personal access token.

    Its audience is the client id and the project of the API that asks.
    """
    audience = audience_of(claims)
    others = [str(one) for one in audience if one != client_id]
    is_personal = "client_id" not in claims and len(audience) == 2
    return others[0] if is_personal and len(others) == 1 else ""


def check_token(report: Report, api: Api, token: str, role: str) -> None:
    """Introspect the token as the API does, and tell what the answer means."""
    try:
        answer = api.introspect(token)
    except UnavailableError as error:
        report.problem("ZITADEL didn't answer about the token.", str(error))
        return
    claims = json_object(answer.content)
    if len(answer.content) > MAX_BYTES:
        report.problem(
            "ZITADEL's answer about the token is larger than the API reads.",
            "Request it with fewer scopes: ZITADEL repeats them in its answer.",
        )
        return
    if answer.status_code != 200 or not claims:
        problem = status_problem(answer, api.url, api.setting) or "Try again, and see its log."
        report.problem(f"ZITADEL can't tell (status {answer.status_code}).", problem)
        return
    if claims.get("active") is not True:
        report.problem(
            "ZITADEL says that the token isn't active for this API.",
            *inactive_causes(api, token),
        )
        return
    kind = "" if "client_id" in claims else ", and it is a personal access token"
    report.ok(f"ZITADEL says that the token is active{kind}; its user is {claims.get('sub')}.")
    if project := api_project(claims, api.client_id):
        report.ok(f"The API belongs to the project {project}.")
        api.project = project
        for place in api.wrong_places:
            report.note(f"{place} isn't that project: tokens for it aren't active for this API.")
    check_roles(report, claims, role, api.project)
    check_expiry(report, claims)


def inactive_causes(api: Api, token: str) -> list[str]:
    """Return, in sentences, what is known about the cause, or else what it may be."""
    gone = (
        f"{api.restarted}its user was deleted, or deactivated or locked, after which tokens stay "
        "dead even if that is undone: get a new one; or another ZITADEL issued it."
    )
    first = "the most likely cause first"
    personal = f"{first}: it has expired or was removed; it wasn't copied whole; {gone}"
    if token == api.pat:
        return [f"As a personal access token, {personal}", "Create one for PERSONAL_ACCESS_TOKEN."]
    if len(token) > 8 and token in api.pat:
        return [
            f"It is only a part of the PERSONAL_ACCESS_TOKEN in {api.pat_place}: copy it whole."
        ]
    if api.pat:  # a probe: the answer about an active one tells the API's project
        with suppress(UnavailableError):
            claims = json_object(api.introspect(api.pat).content)
            api.project = api_project(claims, api.client_id) or api.project
    scope = f"it was requested without the scope {PROJECT_SCOPE.format(api.project or 'PROJECT')}"
    hints = [f"{place} isn't that project." for place in api.wrong_places]
    if not api.project:
        hints = [
            "Which project this API belongs to isn't known here: see ZITADEL's console, compare "
            "PROJECT_ID with it, and pass it as --project-id."
        ]
    if claims := jwt_claims(token):
        audience = audience_of(claims)
        if known := jwt_problems(api, claims):
            return known
        changed = (
            "it was revoked; its user was deleted, or deactivated or locked, after which tokens "
            "stay dead even if that is undone; or it was changed, or isn't signed by this ZITADEL."
        )
        if api.project or api.client_id in audience:
            return [f"As a JWT, {first}: {changed}"]
        return [f"As a JWT, {first}: {scope}; {changed}", f"Its audience is {audience}.", *hints]
    wrong = hints if api.project else []
    return [
        *wrong,
        f"If it is an access token, {first}: {scope} with the id of the API's project; it has "
        f"expired; it wasn't copied whole; it was revoked; {gone}",
        *(hints if not wrong else []),
        f"If it is a personal access token, {personal}",
    ]


def audience_of(claims: Json) -> list[object]:
    """Return the audience, which may be one or several."""
    audience = claims.get("aud")
    return audience if isinstance(audience, list) else [audience]


def jwt_problems(api: Api, claims: Json) -> list[str]:
    """Return, in sentences, why the API can't accept a JWT that says this of itself."""
    audience, expiry = audience_of(claims), claims.get("exp")
    if api.domain in audience:
        return [
            "It is an assertion: send it to ZITADEL's token endpoint, and the access token from "
            "there to the API."
        ]
    known = []
    if claims.get("iss") != api.domain:
        known.append(
            f"{claims.get('iss')} issued it, not {api.domain}: check the client's ZITADEL_DOMAIN "
            "and ZITADEL_TOKEN_URL."
        )
    if "jti" not in claims:
        known.append("It looks like an id_token: send the access_token of the same answer.")
    if isinstance(expiry, (int, float)) and expiry <= time.time() - api.ahead:
        known.append(f"It expired at {moment(expiry)}: get a new one.")
    if api.project and not {api.client_id, api.project} & {str(one) for one in audience}:
        known.append(
            f"Its audience {audience} contains neither this API nor its project {api.project}: "
            f"request the scope {PROJECT_SCOPE.format(api.project)} (see PROJECT_ID)."
        )
    return known


def check_roles(report: Report, claims: Json, role: str, project: str) -> None:
    """Check that the role is among those that the token's user has in the API's project."""
    claim = claims.get(ROLES_CLAIM)
    held = claim if isinstance(claim, dict) else {}
    shown = "; ".join(
        f"{name} through organization {', '.join(held[name])}"
        if isinstance(held[name], dict)
        else name
        for name in sorted(held)
    )
    every = f"all of its roles here: {shown or 'none'}"
    if role in held:
        report.ok(f"Its user has the role {role} ({every}).")
        return
    # The scope of a personal access token lists roles that its user may not have.
    scopes = str(claims.get("scope")).split() if "client_id" in claims else []
    asked = [scope for scope in scopes if scope.startswith(ROLE_SCOPE)]
    remedies = [
        f"Assign it in ZITADEL's console, in the project{f' {project}' if project else ''} under "
        "Role Assignments (until 4.9: Authorizations); it takes effect immediately."
    ]
    if asked and f"{ROLE_SCOPE}{role}" not in asked:
        remedies[0] = f"If its user doesn't have it: {remedies[0][0].lower()}{remedies[0][1:]}"
        remedies.insert(
            0,
            f"The token was requested with {', '.join(asked)}, which hides all other roles: "
            "request it without role scopes.",
        )
    report.problem(f"The token is without the role {role} ({every}).", *remedies)


def check_expiry(report: Report, claims: Json) -> None:
    """Check the expiry of an active token as the API does, by this machine's clock."""
    expiry = claims.get("exp", NEVER)
    if not isinstance(expiry, (int, float)):
        report.problem("Its expiry (exp) is not a number.", "The API rejects it: get another one.")
    elif expiry <= time.time():
        report.problem(
            f"By this machine's clock it expired at {moment(expiry)}, but ZITADEL accepts it.",
            "Set the clock: until then, the API rejects it.",
        )
    elif "exp" not in claims:
        report.note("ZITADEL doesn't say when it expires; the API accepts that.")
    else:
        report.ok("It never expires." if expiry >= NEVER else f"It expires at {moment(expiry)}.")
