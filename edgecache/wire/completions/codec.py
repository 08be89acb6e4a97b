"""The codec, as `Dialect` asks for it."""

from edgecache.core.entry import Framing
from edgecache.core.generation import Prompt
from edgecache.core.messages import Conversation
from edgecache.core.reply import Reply
from edgecache.errors import RequestError, Untranslatable
from edgecache.wire import sse
from edgecache.wire.chat.reply import without_usage
from edgecache.wire.chat.request import with_usage
from edgecache.wire.completions import answer, telling
from edgecache.wire.completions.request import DIALECT, read_completion, to_prompt
from edgecache.wire.dialect import Hider, Request, Summary
from edgecache.wire.openai_errors import error_body


class Completions:
    """Has no state. A completion is no conversation: nothing but its own dialect's answers is served for one."""

    name = DIALECT
    suffix = "/completions"
    prefix = "cmpl-"

    def read(self, body: bytes, path: str) -> Request:
        return read_completion(body, path)

    def prompt(self, request: Request) -> Prompt:
        return to_prompt(request.fields)

    def asking(self, request: Request) -> bytes:
        return with_usage(request.body) if request.stream else request.body

    def write_request(self, conversation: Conversation, model: str, *, stream: bool) -> bytes:
        raise Untranslatable("A conversation cannot be asked as a completion.")

    def summarise(self, framing: Framing, body: bytes) -> Summary:
        return answer.summarise(framing, body)

    def render(self, framing: Framing, body: bytes, request: Request) -> bytes:
        return answer.render(framing, body, stream=request.stream, include_usage=request.include_usage)

    def hider(self, request: Request) -> Hider | None:
        return None if request.include_usage else without_usage

    def reply(self, framing: Framing, body: bytes) -> Reply:
        return telling.read_reply(framing, body)

    def tell(self, reply: Reply, request: Request) -> bytes:
        return telling.tell(reply, request)

    def reader(self) -> telling.Reader:
        return telling.Reader()

    def writer(self, request: Request) -> telling.Writer:
        return telling.Writer()

    def error(self, error: RequestError) -> bytes:
        return error_body(error)

    def broken(self, error: RequestError) -> bytes:
        return sse.event(error_body(error))

    def __repr__(self) -> str:
        return f"<{self.name}>"
