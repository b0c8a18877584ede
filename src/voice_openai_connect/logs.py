"""One JSON line per fact: timestamp, level, message, the ids of the call, and a few small facts.

    log = get_logger(__name__)
    bind_call(call_sid="CA…", conversation_id="…")
    log.info("call_started", profile="sales")

Messages are names from a small fixed set (snake_case), so that a search finds them; whatever varies is a fact beside
it. Lines of other libraries (uvicorn, botocore, asyncio) take the same way through `Redaction`. They are kept at
warnings, even under DEBUG: at their own debug level they show frames, headers and bodies.
"""

import logging
import sys
import traceback
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, BinaryIO, Final, cast

import msgspec
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, merge_contextvars
from structlog.typing import FilteringBoundLogger

from voice_openai_connect.log_stream import Lines, standard_output
from voice_openai_connect.redaction import Redaction, mask_phone

__all__ = ["bind_call", "clear_call", "configure_logging", "get_logger", "mask_phone"]

CALL_KEYS: Final = ("call_sid", "stream_sid", "conversation_id", "handover_id")
_FIRST_KEYS: Final = ("timestamp", "level", "message", *CALL_KEYS)
_OURS: Final = "voice_openai_connect"
_QUIET: Final = ("uvicorn.access",)
"""Silent: paths hold single-use tickets, and health checks come every few seconds."""


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of a module. `name` becomes the key ``source``."""
    return cast("FilteringBoundLogger", structlog.get_logger(source=name.removeprefix(f"{_OURS}.")))


def bind_call(*, call_sid: str = "", stream_sid: str = "", conversation_id: str = "", handover_id: str = "") -> None:
    """Put these ids on every later line of the running task and of the tasks it starts. Empty ones are left alone."""
    given = dict(zip(CALL_KEYS, (call_sid, stream_sid, conversation_id, handover_id), strict=True))
    bind_contextvars(**{name: value for name, value in given.items() if value})


def clear_call() -> None:
    """Forget the ids again: for a task that goes on to something else."""
    clear_contextvars()


def configure_logging(
    level: str = "INFO",
    *,
    full_numbers: bool = False,
    secrets: Iterable[str] = (),
    stream: BinaryIO | None = None,
    worker: int | None = None,
) -> None:
    """Send all logging of this process, ours and the libraries', as JSON lines to `stream` (default: stdout).

    Standard output has a thread of its own; another stream is written to at once. Where several processes write to one
    place, `worker` tells their lines apart.
    """
    line = _Line(Redaction(full_numbers=full_numbers, secrets=secrets), worker)
    if stream is None:
        out: Lines = standard_output()
        standard_output().notice = partial(_missing, line)
    else:
        out = _Steadfast(stream)
    threshold = logging.getLevelNamesMapping()[level]
    structlog.reset_defaults()
    structlog.configure(
        processors=[merge_contextvars, line],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", out)),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Rerouted()], level=logging.WARNING, force=True)
    logging.getLogger(_OURS).setLevel(threshold)
    logging.getLogger("uvicorn").setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", *_QUIET):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name not in _QUIET
    logging.captureWarnings(capture=True)


def _missing(line: "_Line", lost: int) -> bytes:
    return line(None, "error", {"event": "log_lines_lost", "source": "logs", "lines": lost}) + b"\n"


class _Steadfast:
    """A stream that raises nothing: a full disk or a closed pipe costs lines, and never a call."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        """Write what can be written."""
        with suppress(OSError, ValueError):
            self._stream.write(data)

    def flush(self) -> None:
        """Let it go out, if it can."""
        with suppress(OSError, ValueError):
            self._stream.flush()


class _Line:
    """The last processor: a line's facts in their agreed order, redacted, as JSON."""

    def __init__(self, redaction: Redaction, worker: int | None) -> None:
        self._redaction = redaction
        self._worker = {} if worker is None else {"worker": worker}
        self._encode = msgspec.json.Encoder().encode

    def __call__(self, _: object, level: str, facts: MutableMapping[str, Any]) -> bytes:
        facts["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        facts["level"] = "error" if level == "exception" else level
        facts["message"] = facts.pop("event", "")
        if trouble := facts.pop("exc_info", None):
            facts.update(_trouble(trouble))
        ordered = {key: facts.pop(key) for key in _FIRST_KEYS if key in facts}
        stamp = ordered.pop("timestamp")
        return self._encode({"timestamp": stamp, **self._clean(ordered), **self._clean(facts), **self._worker})

    def _clean(self, facts: MutableMapping[str, Any]) -> dict[str, object]:
        return {key: self._redaction.value(value) for key, value in facts.items()}


def _trouble(given: object) -> dict[str, str]:
    """An exception as its type and place. Its own words only if they are ours: others quote what they choke on."""
    error = _exception(given)
    if error is None:
        return {}
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _OURS in frame.filename]
    facts = {"error": type(error).__name__}
    if frames:
        facts["at"] = _place(ours[-1] if ours else frames[-1])
    if ours and frames[-1] is not ours[-1]:
        facts["raised_at"] = _place(frames[-1])
    if type(error).__module__.partition(".")[0] == _OURS:
        facts["why"] = str(error)
    if cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        facts["after"] = type(cause).__name__
    return facts


def _exception(given: object) -> BaseException | None:
    """What structlog and `logging` accept as `exc_info`: an exception, a triple, or True for the current one."""
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return cast("tuple[object, BaseException | None, TracebackType | None]", given)[1]
    return sys.exc_info()[1]


def _place(frame: traceback.FrameSummary) -> str:
    """``gateway/app.py:120 answer``: without the directories of the machine it runs on."""
    path = frame.filename.replace("\\", "/")
    for root in (f"/{_OURS}/", "/site-packages/"):
        path = path.rpartition(root)[2]
    if path.startswith("/"):
        path = path.rpartition("/")[2]
    return f"{path}:{frame.lineno} {frame.name}"


class _Rerouted(logging.Handler):
    """Takes what is logged through the standard library the same way as our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = structlog.get_logger(source=record.name.removeprefix(f"{_OURS}."))
            # The first line only: asyncio writes the exception, with its words, on the following ones.
            message = record.getMessage().partition("\n")[0]
            log.log(min(record.levelno // 10 * 10, logging.CRITICAL), message, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001  (a line that cannot be written must not end a call)
            self.handleError(record)
