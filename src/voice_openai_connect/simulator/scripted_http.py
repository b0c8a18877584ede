"""An HTTP server that says what it was told to say, for trouble that no faithful simulation would make."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from voice_openai_connect.simulator.serving import serving

METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. With `hangs` it waits for `go_on`; with `drips`, its body comes a byte at a time and has no end."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    hangs: bool = False
    drips: bool = False


HANGS: Final = Answer(hangs=True)
DRIPS: Final = Answer(drips=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedHttp:
    """Gives `answers` one after the other, and the last one for ever. `asked` is what came."""

    answers: Sequence[Answer]
    asked: list[Asked] = field(default_factory=list[Asked])

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str, None]:
        """Serve for as long as the block lasts, at the address given."""
        self._over = asyncio.Event()
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=METHODS)])
        async with serving(app) as address:
            try:
                yield address
            finally:
                self._over.set()

    def go_on(self) -> None:
        """Let every answer come that hangs."""
        self._over.set()

    async def _answer(self, request: Request) -> Response:
        url, headers = request.url, dict(request.headers)
        self.asked.append(Asked(request.method, url.path, url.query, headers, await request.body()))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if answer.hangs:
            await self._over.wait()
        if answer.drips:
            return StreamingResponse(self._drops(), media_type="application/json")
        return Response(answer.body, answer.status, answer.headers, media_type="application/json")

    async def _drops(self) -> AsyncGenerator[bytes, None]:
        while not self._over.is_set():
            yield b" "
            await asyncio.sleep(0.01)
