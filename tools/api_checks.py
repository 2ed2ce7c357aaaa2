"""diagnose.py's checks of ZITADEL's address, the clocks, and the API's own credentials."""

from urllib.parse import urlsplit

import requests

from tools.connection import seconds_ahead, session_for
from tools.credentials import is_rejection
from tools.report import Api, Report
from tools.zitadel import (
    AHEAD_SECONDS,
    DISCOVERY,
    Json,
    UnavailableError,
    address_problem,
    failure,
    intermediary_problem,
    json_object,
    send,
    status_problem,
)

LIFETIME_SECONDS = 900  # of a client assertion when it is new


def check_sources(report: Report, api: Api) -> None:
    """Say where each setting comes from."""
    for source, names in api.sources.items():
        verb = "comes" if len(names) == 1 else "come"
        report.ok(f"{', '.join(names)} {verb} from {source}.")


def find_zitadel(report: Report, api: Api) -> requests.Response | None:
    """Return ZITADEL's discovery document if it answers under its own domain."""
    addresses = {api.domain: ("ZITADEL_DOMAIN", dict[str, str]())}
    if api.headers:  # an internal address, the only one that this machine may reach
        internal = urlsplit(api.url)._replace(path="").geturl()
        addresses[internal] = (api.setting, api.headers)
    problems = []
    for address, (name, headers) in addresses.items():
        try:
            session = session_for(address)
            answer = send(session, "GET", address, DISCOVERY, setting=name, headers=headers)
        except UnavailableError as error:
            problems.append(str(error))
            continue
        problem = address_problem(answer, api.domain, "ZITADEL_DOMAIN")
        if not problem:
            report.ok(f"ZITADEL answers at {address} and calls itself {api.domain}.")
            return answer
        problems.append(problem)
    settings = " or ".join(name for name, _ in addresses.values())
    report.problem(f"The API can't use the address in {settings}.", *problems)
    return None


def check_clock(report: Report, api: Api, answer: requests.Response) -> None:
    """Compare this machine's clock with the Date of ZITADEL's answer."""
    ahead = seconds_ahead(answer)
    if ahead is None:
        report.note("ZITADEL's answer has no Date: the clocks can't be compared.")
        return
    api.ahead = ahead
    distance = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} ZITADEL's"
    if abs(ahead) < 2:
        report.ok("The clocks agree.")
    elif api.clock_is_right:
        report.note(f"This machine's clock is {distance}, which is tolerated.")
    elif api.has_key:
        report.problem(
            f"This machine's clock is {distance}.",
            "Set it: ZITADEL rejects assertions with such times, so this API's requests too.",
        )
    else:
        report.note(
            f"This machine's clock is {distance}: set it. This API compares only a token's expiry "
            "with it, but clients on this machine that sign assertions may get no token."
        )


def check_credentials(report: Report, api: Api, discovery: Json) -> bool:
    """Return whether ZITADEL lets the API introspect."""
    try:
        answer = api.introspect("x")
    except UnavailableError as error:
        report.problem(f"The API can't use the address in {api.setting}.", str(error))
        return False
    content = json_object(answer.content)
    if answer.status_code == 200 and isinstance(content.get("active"), bool):
        report.ok("ZITADEL accepts the API's own credentials.")
        return True
    path = urlsplit(str(discovery.get("introspection_endpoint", "/oauth/v2/introspect"))).path
    if "Instance not found" in answer.text and "<html" not in answer.text.lower():
        report.problem(
            f"A ZITADEL answers at {api.url}, but doesn't know the Host header that reaches it "
            f"(sent: {api.headers.get('Host', urlsplit(api.url).netloc)}).",
            "ZITADEL_DOMAIN must be that ZITADEL's own domain, with its port, and a proxy in "
            "front of it must pass the Host header on (for nginx: proxy_set_header Host "
            "$http_host).",
        )
    elif problem := status_problem(answer, api.url, api.setting):
        report.problem("The API's request is not answered.", problem)
    elif answer.status_code >= 500:
        report.problem("The API's request is not answered.", failure(answer, api.url))
    elif urlsplit(api.url).path == path and is_rejection(answer):
        report.problem(*rejected_credentials(api, content["error"]))
    else:
        report.problem(
            f"{api.url} doesn't answer as ZITADEL's introspection endpoint does (status "
            f"{answer.status_code}).",
            f"Remove ZITADEL_INTROSPECTION_URL, or correct it: it usually is {api.domain}{path}."
            if api.setting != "ZITADEL_DOMAIN"
            else intermediary_problem(answer, api.url),
        )
    return False


def rejected_credentials(api: Api, error: str) -> list[str]:
    """Return what is wrong with the API's credentials, and the possible causes."""
    if api.has_key and not -LIFETIME_SECONDS - 2 < api.ahead < AHEAD_SECONDS + 3:
        return [f"ZITADEL rejects the API's key ({error}).", "The clock alone causes that."]
    others = (
        f"{api.restarted}the API (the application in ZITADEL's console), its project or its "
        "organization was deactivated: reactivate that, since new credentials don't help; it was "
        "deleted; or it belongs to another ZITADEL."
    )
    first = "Possible causes, the most likely first:"
    if api.has_key:
        return [
            f"ZITADEL rejects the API's key ({error}).",
            f"{first} the key was removed or has expired: create a new one for "
            f"API_PRIVATE_KEY_FILE; {others}",
        ]
    return [
        f"ZITADEL rejects the API's client id and secret ({error}).",
        f"{first} API_CLIENT_ID isn't this API's client id, or API_CLIENT_SECRET isn't its latest "
        "secret: a new one invalidates the previous one; the API has the method Private Key JWT, "
        f"which takes no secret: use api-jwt, or an API with the method Basic; {others}",
    ]
