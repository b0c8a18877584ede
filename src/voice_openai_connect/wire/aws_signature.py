"""Signature Version 4 of AWS, for a service that takes every request as `POST` with a JSON body.

The rules are AWS's: IAM User Guide, "Create a signed AWS API request".
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

_METHOD: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Whose request it is. Temporary keys have a token."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs what goes to one service in one region. `host` and `path` are those of its address."""

    host: str
    region: str
    service: str
    path: str = "/"

    def signed(self, headers: Mapping[str, str], body: bytes, keys: SigningKeys, stamp: str) -> dict[str, str]:
        """These headers, names in lower case, and all that AWS wants beside them.

        `stamp` is the present second of UTC, as in `20270115T080000Z`: AWS refuses what was signed more than five
        minutes ago, or by a clock that is as wrong as that.
        """
        every = {**headers, "host": self.host, "x-amz-date": stamp}
        if keys.session_token:
            every["x-amz-security-token"] = keys.session_token
        names = sorted(every)
        signed = ";".join(names)
        lines = "".join(f"{name}:{every[name]}\n" for name in names)
        request = f"POST\n{self.path}\n\n{lines}\n{signed}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        what = f"{_METHOD}\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        day = _key_of_day(keys.secret_access_key, stamp[:8], self.region, self.service)
        signature = hmac.digest(day, what.encode(), "sha256").hex()
        who = f"Credential={keys.access_key_id}/{scope}"
        every["authorization"] = f"{_METHOD} {who}, SignedHeaders={signed}, Signature={signature}"
        return every


@lru_cache(maxsize=8)
def _key_of_day(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
