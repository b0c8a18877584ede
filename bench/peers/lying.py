"""A bridge that lies now and then, so that the bench can be seen to notice. `LIE` says how."""
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# picows leaves some of its arguments untyped.

import os
from typing import Final

import uvloop
from picows import WSListener, WSUpgradeRequest, ws_create_server

from bench.peers.bare_picows import Caller
from bench.peers.edge import PATH, PORT

LIE: Final = os.environ.get("LIE", "")
EVERY: Final = 20
callers: list["Liar"] = []


class Liar(Caller):
    """Passes most frames on as they are."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        callers.append(self)

    def on_payload(self, payload: str) -> None:
        """One frame in so many is changed, given to another call, or lost."""
        self._count += 1
        if self._count % EVERY:
            super().on_payload(payload)
        elif LIE == "changed":
            super().on_payload(payload[:100] + ("8" if payload[100] == "9" else "9") + payload[101:])
        elif LIE == "crossed":
            Caller.on_payload(callers[callers.index(self) - 1], payload)


def admit(request: WSUpgradeRequest) -> WSListener | None:
    """One path, for everybody."""
    return Liar() if request.path.decode() == PATH else None


async def main() -> None:
    """Until it is stopped."""
    server = await ws_create_server(admit, "127.0.0.1", PORT)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
