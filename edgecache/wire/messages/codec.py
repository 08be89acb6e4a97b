"""The codec of Anthropic Messages."""

from edgecache.core.entry import Framing
from edgecache.core.generation import Prompt
from edgecache.core.messages import Conversation
from edgecache.core.reply import Reply
from edgecache.errors import RequestError
from edgecache.wire.dialect import Dialect, Hider, Request, StreamReader, StreamWriter, Summary
from edgecache.wire.messages import asking, errors, prompt, reading, request, writing
from edgecache.wire.messages import reply as answers
from edgecache.wire.messages.blocks import NAME


class Messages:
    """`POST /v1/messages`. Usage is told on every stream, so nothing is asked for beyond the body, nothing hidden."""

    name = NAME
    suffix = "/messages"
    prefix = "msg_"

    def __repr__(self) -> str:
        return "<Messages>"

    def read(self, body: bytes, path: str) -> Request:
        return request.read(body)

    def prompt(self, request: Request) -> Prompt:
        return prompt.to_prompt(request.fields)

    def asking(self, request: Request) -> bytes:
        return request.body

    def write_request(self, conversation: Conversation, model: str, *, stream: bool) -> bytes:
        return asking.write_request(conversation, model, stream=stream)

    def summarise(self, framing: Framing, body: bytes) -> Summary:
        return answers.summarise(framing, body)

    def render(self, framing: Framing, body: bytes, request: Request) -> bytes:
        return answers.render(framing, body, stream=request.stream)

    def hider(self, request: Request) -> Hider | None:
        return None

    def reply(self, framing: Framing, body: bytes) -> Reply:
        return answers.reply(framing, body)

    def tell(self, reply: Reply, request: Request) -> bytes:
        return answers.tell(reply, stream=request.stream)

    def reader(self) -> StreamReader:
        return reading.Reader()

    def writer(self, request: Request) -> StreamWriter:
        return writing.Writer()

    def error(self, error: RequestError) -> bytes:
        return errors.error_body(error)

    def broken(self, error: RequestError) -> bytes:
        return errors.error_event(error)


MESSAGES: Dialect = Messages()
