"""Codecs over every recorded answer, without a node: read, told in the other framing and back, told anew."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cassettes import Exchange, exchanges
from meaning import CHAT, COMPLETIONS, CONVERSING, difference, meaning, whole

from edgecache.core.entry import Framing
from edgecache.wire.dialect import UNREADABLE, Request, Untellable
from edgecache.wire.dialects import BY_NAME

ANSWERS = [exchange for exchange in exchanges() if exchange.dialect in BY_NAME and exchange.status == 200]
FRAMED = [exchange for exchange in ANSWERS if exchange.dialect != "openai.embeddings"]
UNFINISHED = ("no choices", "status complete", "status queued")
"""A page of another API; answers whose `status` someone wrote by hand; and what is answered in the background."""


def framing(exchange: Exchange) -> Framing:
    return Framing.SSE if exchange.streamed else Framing.JSON


def request(exchange: Exchange, *, stream: bool) -> Request:
    """As it was asked, but streamed or not, with usage."""
    assert exchange.dialect is not None
    fields = {**exchange.asked, "stream": stream}
    if stream and exchange.dialect in (CHAT, COMPLETIONS):
        fields["stream_options"] = {"include_usage": True}
    return BY_NAME[exchange.dialect].read(msgspec.json.encode(fields), exchange.path)


def dump(dialect: str, body: bytes, *, streamed: bool) -> Any:
    return whole(dialect, body, streamed=streamed).model_dump(mode="json", warnings=False, exclude_none=True)


@pytest.mark.parametrize("exchange", ANSWERS, ids=lambda exchange: exchange.name)
def test_every_answer_can_be_read(exchange: Exchange) -> None:
    assert exchange.dialect is not None
    summary = BY_NAME[exchange.dialect].summarise(framing(exchange), exchange.answer)
    assert summary != UNREADABLE
    assert summary.finished or summary.why_not_stored in UNFINISHED


@pytest.mark.parametrize("exchange", FRAMED, ids=lambda exchange: exchange.name)
def test_told_in_the_other_framing_and_back(exchange: Exchange) -> None:
    assert exchange.dialect is not None
    codec, own = BY_NAME[exchange.dialect], framing(exchange)
    if not codec.summarise(own, exchange.answer).finished:
        return  # nothing that did not end is told otherwise than it came
    other = Framing.JSON if exchange.streamed else Framing.SSE
    flipped = codec.render(own, exchange.answer, request(exchange, stream=not exchange.streamed))
    back = codec.render(other, flipped, request(exchange, stream=exchange.streamed))
    recorded = dump(exchange.dialect, exchange.answer, streamed=exchange.streamed)
    for told, streamed in ((flipped, not exchange.streamed), (back, exchange.streamed)):
        rendered = dump(exchange.dialect, told, streamed=streamed)
        assert recorded == rendered, difference(recorded, rendered)
    assert codec.summarise(other, flipped) == codec.summarise(own, exchange.answer)


def test_told_anew_in_its_own_dialect(record_property: Callable[[str, object], None]) -> None:
    """From neutral words: text, calls of tools, refusal, finish and usage stay."""
    untold: Counter[tuple[str, str]] = Counter()
    wrong = []
    for exchange in FRAMED:
        assert exchange.dialect is not None
        codec = BY_NAME[exchange.dialect]
        if exchange.dialect not in CONVERSING or not codec.summarise(framing(exchange), exchange.answer).finished:
            continue
        try:
            reply = codec.reply(framing(exchange), exchange.answer)
            told = {stream: codec.tell(reply, request(exchange, stream=stream)) for stream in (False, True)}
        except Untellable as error:
            untold[exchange.dialect, str(error)] += 1
            continue
        recorded = meaning(exchange.dialect, exchange.answer, streamed=exchange.streamed)
        rendered = {stream: meaning(exchange.dialect, body, streamed=stream) for stream, body in told.items()}
        wrong += [f"{exchange}: {recorded} became {said}" for said in rendered.values() if said != recorded]
    lines = [f"  {dialect}: {why} ({count})" for (dialect, why), count in untold.items()]
    record_property("told", "\n".join(["Answers that cannot be said in neutral words:", *lines]))
    assert not wrong, "\n".join(wrong)
