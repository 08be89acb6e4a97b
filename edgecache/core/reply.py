"""An answer in the words of no dialect: whole, and as the steps in which it comes."""

import msgspec

from edgecache.core.messages import Part


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens. `cached` are those of the prompt that the provider read from its cache, `written` those it put there,
    `reasoning` those of the completion that nobody sees.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: `parts` are Text, Refusal, Thinking and ToolUse. `finish` is stop, tool_calls, length, content_filter
    or refusal; `stop_sequence` is the text that ended it, None where not told.
    """

    parts: tuple[Part, ...]
    finish: str
    stop_sequence: str | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """`created` is Unix time in whole seconds, 0 where the dialect does not tell; `usage` None where not told."""

    id: str
    model: str
    choices: tuple[Choice, ...]
    created: int = 0
    usage: Usage | None = None


# --- as it comes: a Begin; then of each choice its parts, one after the other; a Finish for each; a Closing ----------


class Begin(msgspec.Struct, frozen=True, kw_only=True):
    """The answer begins. `usage` is what is known of it by then (Anthropic tells the prompt's tokens first)."""

    id: str
    model: str
    created: int = 0
    usage: Usage | None = None


class TextDelta(msgspec.Struct, frozen=True, kw_only=True):
    """More of a text; `refusal` says that it declines."""

    text: str
    choice: int = 0
    refusal: bool = False


class ThinkingDelta(msgspec.Struct, frozen=True, kw_only=True):
    """More of what is told of reasoning, its signature, or what came sealed."""

    text: str = ""
    signature: str = ""
    data: str = ""
    choice: int = 0


class ToolBegin(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a tool begins; what follows as ToolDelta with the same `at` are its arguments. `at` counts the calls of
    a choice from 0.
    """

    at: int
    id: str
    name: str
    choice: int = 0


class ToolDelta(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    arguments: str
    choice: int = 0


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """A choice has ended, as `Choice` says."""

    finish: str
    stop_sequence: str | None = None
    choice: int = 0


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """The answer has ended; without one it was cut."""

    usage: Usage | None = None


Delta = Begin | TextDelta | ThinkingDelta | ToolBegin | ToolDelta | Finish | Closing
