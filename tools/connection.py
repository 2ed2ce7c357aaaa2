"""What a failed connection means, in sentences with the remedy.

The scripts and the programs in the root share this file. It isn't meant for copying:
the files that are report what happened, and leave the explanation to this one.
"""

import os
import re
import ssl
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
from requests.utils import select_proxy

LOOPBACK = re.compile(r"(.+\.)?localhost\.?|127(\.\d+){1,3}|::1")


def is_loopback(url: str) -> bool:
    """Tell whether `url` is an address of this machine."""
    return bool(LOOPBACK.fullmatch(urlsplit(url).hostname or ""))


def session_for(url: str) -> requests.Session:
    """Return a session with the environment's certificates and proxy for `url`.

    There is no proxy for this machine's own addresses, and no password is taken from
    ~/.netrc.
    """
    session = requests.Session()
    environment = session.merge_environment_settings(
        url, proxies={}, stream=None, verify=None, cert=None
    )
    session.verify = environment["verify"]
    session.proxies = {} if is_loopback(url) else environment["proxies"]
    session.trust_env = False
    return session


def through_proxy(url: str) -> str:
    """Return " through the proxy …" without its password, "" if there is none."""
    proxy = select_proxy(url, session_for(url).proxies)
    return f" through the proxy {proxy.rpartition('@')[2]}" if proxy else ""


def printable(text: object) -> str:
    """Return what others sent with control characters escaped: terminals obey them."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in str(text)
    )


def seconds_ahead(answer: requests.Response) -> float | None:
    """Return by how many seconds this clock is ahead of the answer's Date, if any."""
    try:
        date = parsedate_to_datetime(answer.headers["Date"])
        return time.time() - date.timestamp()
    except (KeyError, ValueError, OverflowError):
        return None


def explanation(error: Exception, url: str, setting: str) -> str:
    """Return why `url` didn't answer, and what to do, in sentences.

    Args:
        error: what requests raised, or an error that wraps it.
        url: the address that was called.
        setting: where the address comes from, such as a variable and its file.
    """
    via, cause = through_proxy(url), _cause(error)
    words = type(cause).__name__
    if isinstance(cause, OSError):  # others may quote what was sent
        words = getattr(cause, "reason", "") or cause.strerror or str(cause) or words

    problem = f"{url} can't be reached{via} ({words})"
    proxy = " and the proxy" if via else ""
    fix = f"check whether the server is running{proxy}, and the address in {setting}"

    is_no_file = type(cause) is OSError and "invalid path" in words
    if is_no_file or getattr(cause, "library", "") == "X509":
        variable = _certificate_variable() or "REQUESTS_CA_BUNDLE"
        problem = f"{variable} doesn't name a file with certificates"
        fix = "correct or remove this variable"
    elif isinstance(cause, ssl.SSLError):
        problem, fix = _tls_problem(cause, words, url, via, setting)
    elif getattr(cause, "filename", None) == os.getenv("SSLKEYLOGFILE", ""):
        problem = f"SSLKEYLOGFILE names a file that can't be written ({words})"
        fix = "correct or remove this variable"
    elif "SOCKS support" in str(cause):
        problem = f"{url} is to be reached{via}, which requires PySocks"
        fix = "run `pip install 'requests[socks]'`, or remove the variable of the proxy"
    elif tunnel := re.match(r"Tunnel connection failed: (.*)", str(cause)):
        problem = f"{url} can't be reached{via}, which answered {tunnel[1]}"
        fix = "check the proxy, and its user and password, in HTTPS_PROXY"
    elif isinstance(cause, TimeoutError) or isinstance(error, requests.Timeout):
        problem = f"{url} didn't answer in time{via}"
        fix = f"check {setting}, or try again"

    return f"{problem}: {fix}."


def _cause(error: BaseException) -> BaseException:
    """Return what the operating system or OpenSSL raised, and requests wraps."""
    # Not `__context__`, which leads on to what the caller itself may be handling.
    for inner in (*error.args, getattr(error, "reason", None), error.__cause__):
        if isinstance(inner, BaseException):
            return _cause(inner)
    return error


def _tls_problem(
    error: ssl.SSLError, words: str, url: str, via: str, setting: str
) -> tuple[str, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        problem = f"The certificate of {url}{via} is rejected ({reason})"
        return problem, _certificate_fix(error.verify_code)

    # OpenSSL's words for an answer that isn't TLS; "HTTP/1.1 400" looks like a version.
    if words in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        fix = "write http://" if is_loopback(url) else "check the address and its port"
        return f"{url} doesn't speak https{via} ({words})", f"{fix} in {setting}"

    # For an end without notice, OpenSSL 3.5 and newer has only this reason.
    ends = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    if isinstance(error, ends) or words == "UNEXPECTED_EOF_WHILE_READING":
        problem = f"{url} ended the connection{via} instead of answering ({words})"
        return problem, f"try again, and check the address in {setting}"

    problem = f"{url} and this machine can't agree on an encrypted connection{via}"
    return f"{problem} ({words})", "ask whoever runs that server"


def _certificate_fix(code: int) -> str:
    if code in (9, 10):  # not valid yet, expired
        now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        return f"renew it, or set this machine's clock if it isn't {now}"
    if code in (62, 64):  # another host, another address
        return "use a name that it contains, or have it issued for this one"
    if code not in (18, 19, 20, 21):  # all but an unknown authority
        return "have it, or its authority's certificate, issued anew without this fault"

    if variable := _certificate_variable():
        return f"add its authority's certificate to the file that {variable} names"
    return "set REQUESTS_CA_BUNDLE to a file with its authority's certificate"


def _certificate_variable() -> str:
    return next(filter(os.environ.get, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")), "")
