"""The codec of OpenAI chat: see `Dialect` for what each part does."""

from typing import Final

import msgspec

from edgecache.core.entry import Framing
from edgecache.core.generation import Prompt
from edgecache.core.messages import Conversation
from edgecache.core.reply import Reply
from edgecache.errors import RequestError
from edgecache.wire.chat import neutral, write
from edgecache.wire.chat.conversation import DIALECT
from edgecache.wire.chat.gather import events, gather
from edgecache.wire.chat.prompt import to_prompt
from edgecache.wire.chat.reply import render, summarise, to_stream, without_usage
from edgecache.wire.chat.request import read_chat, with_usage
from edgecache.wire.chat.stream import Reader, Writer
from edgecache.wire.dialect import Dialect, Hider, Request, Summary, Untellable
from edgecache.wire.openai_errors import error_body


class Chat:
    """Has no state."""

    name = DIALECT
    suffix = "/chat/completions"
    prefix = "chatcmpl-"

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def read(self, body: bytes, path: str) -> Request:
        return read_chat(body, path)

    def prompt(self, request: Request) -> Prompt:
        return to_prompt(request.fields)

    def asking(self, request: Request) -> bytes:
        return with_usage(request.body) if request.stream else request.body

    def write_request(self, conversation: Conversation, model: str, *, stream: bool) -> bytes:
        return write.write_request(conversation, model, stream=stream)

    def summarise(self, framing: Framing, body: bytes) -> Summary:
        return summarise(framing, body)

    def render(self, framing: Framing, body: bytes, request: Request) -> bytes:
        return render(framing, body, stream=request.stream, include_usage=request.include_usage)

    def hider(self, request: Request) -> Hider | None:
        return None if request.include_usage else without_usage

    def reply(self, framing: Framing, body: bytes) -> Reply:
        if not summarise(framing, body).finished:
            raise Untellable("it did not come to its end")
        try:
            answer = msgspec.json.decode(body) if framing is Framing.JSON else gather(events(body))
        except (msgspec.DecodeError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise Untellable(str(error)) from None
        return neutral.to_reply(answer)

    def tell(self, reply: Reply, request: Request) -> bytes:
        body = msgspec.json.encode(neutral.from_reply(reply))
        return to_stream(body, include_usage=request.include_usage) if request.stream else body

    def reader(self) -> Reader:
        return Reader()

    def writer(self, request: Request) -> Writer:
        return Writer()

    def error(self, error: RequestError) -> bytes:
        return error_body(error)

    def broken(self, error: RequestError) -> bytes:
        """As OpenAI tells of it: a chunk that is an error object."""
        return b"data: " + error_body(error) + b"\n\n"


CHAT: Final[Dialect] = Chat()
