"""The codec of OpenAI Responses: see `Dialect` for what each part does."""

from typing import Final

import msgspec

from edgecache.core.entry import Framing
from edgecache.core.generation import Prompt
from edgecache.core.messages import Conversation
from edgecache.core.reply import Reply
from edgecache.errors import RequestError
from edgecache.wire.dialect import Hider, Request, Summary
from edgecache.wire.openai_errors import error_body
from edgecache.wire.responses import answer, neutral, render, write, writer
from edgecache.wire.responses.items import DIALECT
from edgecache.wire.responses.opening import PREFIX
from edgecache.wire.responses.prompt import to_prompt
from edgecache.wire.responses.reader import Reader
from edgecache.wire.responses.request import read_request


class Responses:
    """Has no state."""

    name = DIALECT
    suffix = "/responses"
    prefix = PREFIX

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def read(self, body: bytes, path: str) -> Request:
        return read_request(body)

    def prompt(self, request: Request) -> Prompt:
        return to_prompt(request.fields)

    def asking(self, request: Request) -> bytes:
        """Usage comes unasked."""
        return request.body

    def write_request(self, conversation: Conversation, model: str, *, stream: bool) -> bytes:
        return write.write_request(conversation, model, stream=stream)

    def summarise(self, framing: Framing, body: bytes) -> Summary:
        return answer.summarise(framing, body)

    def render(self, framing: Framing, body: bytes, request: Request) -> bytes:
        return render.render(framing, body, request)

    def hider(self, request: Request) -> Hider | None:
        """What is on its way may have been asked for by another client."""
        return render.hider(request.echo or {}, padding=render.wants_padding(request.fields))

    def reply(self, framing: Framing, body: bytes) -> Reply:
        return neutral.to_reply(framing, body)

    def tell(self, reply: Reply, request: Request) -> bytes:
        return writer.tell(reply, request)

    def reader(self) -> Reader:
        return Reader()

    def writer(self, request: Request) -> writer.Writer:
        return writer.Writer(request)

    def error(self, error: RequestError) -> bytes:
        return error_body(error)

    def broken(self, error: RequestError) -> bytes:
        """SDKs raise an exception for an event that holds an error object; the rest is what the description says
        (`ResponseErrorEvent`).
        """
        told = msgspec.json.decode(error_body(error))["error"]
        event = {"type": "error", "code": told["code"], "message": told["message"], "param": told["param"]}
        payload = msgspec.json.encode({**event, "sequence_number": 0, "error": told})
        return b"event: error\ndata: " + payload + b"\n\n"


RESPONSES: Final[Responses] = Responses()
