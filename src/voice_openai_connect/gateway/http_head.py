"""HTTP requests whose heads have an end, and whose trailers have one.

uvicorn takes a path or a header of any length, before the body and after it, and puts each new piece after all the
others: at 70 MB every piece costs ten milliseconds, in which nobody's audio moves. One stranger with one connection is
enough for that.
"""

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from voice_openai_connect import limits


class ShortHeads(HttpToolsProtocol):
    """uvicorn's protocol, which refuses a request of more than `REQUEST_HEAD_BYTES` beside its body: 431, and closes.

    A little more may come if it all comes at once, with the end of the request.
    """

    _begun = False
    """Whether a request has begun, and not ended."""
    _beside_body = 0
    """Bytes of it that belong to no body."""
    _body_read = 0
    """Bytes of bodies in what came last."""

    def on_message_begin(self) -> None:
        """Called by the parser at the first byte of a request."""
        self._begun, self._beside_body = True, 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Called by the parser with a piece of the body."""
        self._body_read += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called by the parser after the body and what follows it."""
        self._begun = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._body_read = 0
        super().data_received(data)
        if not self._begun or self.transport.is_closing():
            return
        self._beside_body += len(data) - self._body_read
        if self._beside_body > limits.REQUEST_HEAD_BYTES:
            refused = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            answer = f"HTTP/1.1 {refused} {refused.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(answer.encode())
            self.transport.close()
