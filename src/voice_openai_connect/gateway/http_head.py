"""HTTP requests whose heads have an end.

uvicorn takes a path or a header of any length, and puts each new piece after all the others: at 70 MB every piece costs
ten milliseconds, in which nobody's audio moves. One stranger with one connection is enough for that.
"""

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from voice_openai_connect import limits


class ShortHeads(HttpToolsProtocol):
    """uvicorn's protocol, which answers 431 and closes when a head is longer than `REQUEST_HEAD_BYTES`.

    A little more may come if it all comes at once, with the end of the head.
    """

    _head_bytes = 0
    _in_head = False

    def on_message_begin(self) -> None:
        """Called by the parser at the first byte of a request."""
        self._head_bytes, self._in_head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Called by the parser at the empty line after the headers."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > limits.REQUEST_HEAD_BYTES:
            refused = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self.transport.write(
                f"HTTP/1.1 {refused} {refused.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
            )
            self.transport.close()
