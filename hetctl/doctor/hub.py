"""Where models come from: the Hugging Face hub, or this machine alone."""

import urllib.error
import urllib.request
from urllib.parse import urlsplit

from hetctl.doctor.check import Check, Surroundings
from hetctl.doctor.diagnosis import Outcome, failed, passed, warned
from hetctl.redact import redact

_DEFAULT = "https://huggingface.co"
_TIMEOUT_S = 1.5
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TRUE = {"1", "ON", "YES", "TRUE"}
_HELP = (
    "Use model folders, set HF_HUB_OFFLINE=1 for models that were fetched before, or name a mirror "
    "in HF_ENDPOINT or a proxy in HTTPS_PROXY."
)


def access(surroundings: Surroundings) -> Outcome:
    environment = surroundings.environment
    offline = [name for name in _OFFLINE if environment.get(name, "").upper() in _TRUE]
    if offline:
        return passed(f"offline by {offline[0]}: folders, and models that were fetched before")
    endpoint = environment.get("HF_ENDPOINT") or _DEFAULT
    if urlsplit(endpoint).scheme not in ("http", "https"):
        return failed(
            f"HF_ENDPOINT={redact(endpoint)} is no address",
            "Write it as https://HOST, or unset it.",
        )
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
            pass
    except urllib.error.HTTPError:
        # Any answer at all means that it can be reached.
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return warned(f"{redact(endpoint)} cannot be reached: {redact(str(reason))}", _HELP)
    token = "a token" if environment.get("HF_TOKEN") else "no HF_TOKEN"
    return passed(f"{redact(endpoint)} answers; {token}")


CHECKS = (
    Check(
        "models",
        "hub",
        access,
        waits_for="the Hugging Face hub",
        timeout_s=_TIMEOUT_S + 0.3,
        late=warned("the hub's name was not resolved in time", _HELP),
    ),
)
