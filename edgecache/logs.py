"""Log lines for people, or one JSON object a line for machines. Never a credential, never a question's text."""

import logging
import time
from typing import Any

import msgspec

from edgecache.settings import LogSettings


class JsonLines(logging.Formatter):
    """`{"time": ..., "level": ..., "logger": ..., "message": ...}`; `time` is UTC, RFC 3339."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _printable(record.getMessage()),
        }
        if record.exc_info:
            fields["trace"] = _printable(self.formatException(record.exc_info))
        return msgspec.json.encode(fields).decode()


def _printable(text: str) -> str:
    """What was not UTF-8 in a request is in it as lone surrogates, which JSON cannot hold."""
    return text.encode(errors="backslashreplace").decode()


def configure(settings: LogSettings) -> None:
    """Everything goes to standard error."""
    handler = logging.StreamHandler()
    human = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonLines() if settings.format == "json" else human)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("edgecache").setLevel(settings.level.upper())
