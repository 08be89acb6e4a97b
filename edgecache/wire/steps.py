"""The steps in which an answer comes, gathered into the whole."""

from collections.abc import Iterator

from edgecache.core.messages import Part, Refusal, Text, Thinking, ToolUse
from edgecache.core.reply import (
    Begin,
    Choice,
    Closing,
    Delta,
    Finish,
    Reply,
    TextDelta,
    ThinkingDelta,
    ToolBegin,
    ToolDelta,
    Usage,
)
from edgecache.wire.dialect import Untellable


class Gatherer:
    """Fed with all steps of one answer, in order."""

    def __init__(self) -> None:
        self._begin: Begin | None = None
        self._choices: dict[int, _Gathered] = {}
        self._usage: Usage | None = None
        self._closed = False

    def feed(self, delta: Delta) -> None:
        if isinstance(delta, Begin):
            self._begin = delta
        elif isinstance(delta, Closing):
            self._usage = delta.usage
            self._closed = True
        else:
            self._choices.setdefault(delta.choice, _Gathered()).feed(delta)

    def reply(self) -> Reply:
        """
        Raises:
            Untellable: it was cut.
        """
        if self._begin is None or not self._closed:
            raise Untellable("cut before its end")
        begin = self._begin
        choices = tuple(self._choices[number].choice() for number in sorted(self._choices))
        usage = self._usage or begin.usage
        return Reply(id=begin.id, model=begin.model, created=begin.created, choices=choices, usage=usage)


class _Gathered:
    """One choice. Texts that follow each other are one part."""

    def __init__(self) -> None:
        self._runs: list[tuple[type[Part], list[str], ThinkingDelta | None]] = []
        self._calls: dict[int, tuple[ToolBegin, list[str]]] = {}
        self._finish: Finish | None = None

    def feed(self, delta: TextDelta | ThinkingDelta | ToolBegin | ToolDelta | Finish) -> None:
        if isinstance(delta, TextDelta):
            self._more(Refusal if delta.refusal else Text, delta.text)
        elif isinstance(delta, ThinkingDelta):
            self._thought(delta)
        elif isinstance(delta, ToolBegin):
            self._calls[delta.at] = (delta, [])
        elif isinstance(delta, ToolDelta):
            if delta.at not in self._calls:
                raise Untellable("arguments of a call that has not begun")
            self._calls[delta.at][1].append(delta.arguments)
        else:
            self._finish = delta

    def _more(self, kind: type[Part], text: str) -> None:
        if not self._runs or self._runs[-1][0] is not kind:
            self._runs.append((kind, [], None))
        self._runs[-1][1].append(text)

    def _thought(self, delta: ThinkingDelta) -> None:
        """A signature, or what came sealed, ends a thought."""
        self._more(Thinking, delta.text)
        if delta.signature or delta.data:
            kind, texts, _ = self._runs.pop()
            self._runs += [(kind, texts, delta), (Part, [], None)]

    def choice(self) -> Choice:
        if self._finish is None:
            raise Untellable("a choice without its end")
        parts = (*self._parts(), *(_call(begin, pieces) for begin, pieces in self._calls.values()))
        return Choice(parts=parts, finish=self._finish.finish, stop_sequence=self._finish.stop_sequence)

    def _parts(self) -> Iterator[Part]:
        for kind, texts, sealed in self._runs:
            text = "".join(texts)
            if kind is Thinking:
                signature, data = (sealed.signature, sealed.data) if sealed else ("", "")
                yield Thinking(text=text, signature=signature, data=data)
            elif kind is Text and text:
                yield Text(text=text)
            elif kind is Refusal:
                yield Refusal(text=text)


def _call(begin: ToolBegin, pieces: list[str]) -> ToolUse:
    return ToolUse(id=begin.id, name=begin.name, arguments="".join(pieces))
