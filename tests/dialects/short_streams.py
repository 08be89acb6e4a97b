"""One short recorded stream of each dialect that would be stored if it came whole."""

import dataclasses
from typing import Final

from cassettes import Exchange, exchanges

NAMES: Final = {
    "openai.chat": "test_openai__test_run_stream_sync_streams_real_model-1",
    "openai.responses": "test_openai_responses__test_openai_responses_stream-0",
    "anthropic.messages": "test_anthropic__test_request_stream_fallback_for_high_max_tokens-0",
    "openai.completions": "completion-streaming-0",
}


def short_streams() -> list[Exchange]:
    found = {exchange.name: exchange for exchange in exchanges()}
    streams = [found[name] for name in NAMES.values()]
    return [_ended(stream) if stream.dialect == "openai.completions" else stream for stream in streams]


def _ended(stream: Exchange) -> Exchange:
    """All recorded completions ran into their limit of tokens, and such are not stored."""
    changed = stream.answer.replace(b'"finish_reason":"length"', b'"finish_reason":"stop"')
    assert changed != stream.answer
    return dataclasses.replace(stream, answer=changed)
