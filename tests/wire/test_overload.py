"""Which events of a stream carry nothing yet, and which say that the provider cannot answer now."""

import json

import pytest
from recorded import TEXT, TOOLS, WRITTEN, chunk, delta
from shared_data import data_folder

from edgecache.wire import sse
from edgecache.wire.overload import Opening, Sign, sign


def event(payload: object, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(payload)}\n\n".encode()


def error(kind: str | None = None, code: object = None) -> dict[str, object]:
    return {"message": "no", "type": kind, "code": code, "param": None}


OPENING = {
    "comment": b": ping\n\n",
    "OpenRouter's comment": b": OPENROUTER PROCESSING\n\n",
    "reconnection time": b"retry: 3000\n\n",
    "role": chunk(delta(role="assistant", content="", refusal=None)),
    "role, no content": chunk(delta(role="assistant", content=None)),
    "two choices": chunk(delta(role="assistant", content=""), delta(1, role="assistant", content="")),
    "Azure's first": chunk(prompt_filter_results=[{"prompt_index": 0}]),
    "completions": event({"object": "text_completion", "choices": [{"text": "", "index": 0, "finish_reason": None}]}),
    "message_start": event({"type": "message_start", "message": {"content": []}}, "message_start"),
    "ping": event({"type": "ping"}, "ping"),
    "created": event({"type": "response.created", "response": {"error": None}}, "response.created"),
    "in_progress": event({"type": "response.in_progress", "response": {"output": []}}),
    "queued": event({"type": "response.queued", "response": {}}),
}
CONTENT = {
    "text": chunk(delta(content="Hel")),
    "refusal": chunk(delta(role="assistant", content=None, refusal="No.")),
    "tool": chunk(delta(tool_calls=[{"index": 0}])),
    "reasoning": chunk(delta(role="assistant", content="", reasoning_content="Hm")),
    "finish": chunk(delta(finish="stop")),
    "second choice": chunk(delta(role="assistant"), delta(1, content="x")),
    "completions": event({"object": "text_completion", "choices": [{"text": "a", "index": 0}]}),
    "block": event({"type": "content_block_start", "index": 0}, "content_block_start"),
    "item": event({"type": "response.output_item.added", "item": {}}),
    "done": sse.DONE,
    "not JSON": b"data: {\n\n",
    "a number": b"data: 7\n\n",
    "choices of another type": b'data: {"choices": 7}\n\n',
    "unknown": event({"type": "response.novel"}),
    "a request at fault": event({"error": error("invalid_request_error")}),
    "Anthropic's": event({"type": "error", "error": {"type": "invalid_request_error"}}, "error"),
    "no kind": event({"error": error()}),
    "content filter": event({"type": "response.failed", "response": {"error": {"code": "content_policy"}}}),
}
LIMITED = {
    "OpenAI": event({"error": error("tokens", "rate_limit_exceeded")}),
    "quota": event({"error": error("insufficient_quota", "insufficient_quota")}),
    "Anthropic": event({"type": "error", "error": {"type": "rate_limit_error", "message": "no"}}, "error"),
    "Responses": event({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}}),
    "status": event({"error": error("whatever", 429)}),
}
OVERLOADED = {
    "OpenAI": event({"error": error("server_error")}),
    "Anthropic": event({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, "error"),
    "Anthropic's own": event({"type": "error", "error": {"type": "api_error"}}, "error"),
    "Responses": event({"type": "response.failed", "response": {"error": {"code": "server_error"}}}),
    "Responses' error": event({"type": "error", "code": "server_error", "message": "no"}),
    "by name only": event({"code": "overloaded"}, "error"),
    "text": event({"error": "overloaded"}),
    "status": event({"error": {"code": 503, "message": "no"}}),
}
ALL = [(Sign[kind], name, raw) for kind in ("OPENING", "CONTENT", "LIMITED", "OVERLOADED")
       for name, raw in globals()[kind].items()]  # fmt: skip


@pytest.mark.parametrize(("told", "raw"), [(told, raw) for told, _, raw in ALL], ids=[f"{a}-{b}" for a, b, _ in ALL])
def test_each_event_tells(told: Sign, raw: bytes) -> None:
    assert sign(raw) is told
    assert sign(raw.replace(b"\n", b"\r\n")) is told


def feed(opening: Opening, *chunks: bytes) -> list[Sign]:
    return [opening.feed(chunk) for chunk in chunks]


@pytest.mark.parametrize(
    ("last", "told"),
    [(OVERLOADED["Anthropic"], Sign.OVERLOADED), (LIMITED["OpenAI"], Sign.LIMITED), (CONTENT["text"], Sign.CONTENT)],
)
def test_wherever_the_stream_is_cut_the_first_event_that_is_no_opening_decides(last: bytes, told: Sign) -> None:
    stream = b"".join(OPENING.values()) + last + b"data: more\n\n"
    for at in range(1, len(stream)):
        signs = [found for found in feed(Opening(), stream[:at], stream[at:]) if found is not Sign.OPENING]
        assert signs[0] is told, at


def test_an_error_after_content_is_no_opening() -> None:
    assert Opening().feed(CONTENT["text"] + OVERLOADED["OpenAI"]) is Sign.CONTENT


def test_an_opening_that_is_too_long_is_taken_for_content() -> None:
    ping = OPENING["ping"]
    assert feed(Opening(2 * len(ping)), ping, ping, ping) == [Sign.OPENING, Sign.OPENING, Sign.CONTENT]
    assert feed(Opening(10), b"data: no end of this line") == [Sign.CONTENT]


def test_what_follows_the_last_whole_event_counts_at_the_end() -> None:
    opening = Opening()
    assert opening.feed(OVERLOADED["OpenAI"].rstrip()) is Sign.OPENING
    assert opening.end() is Sign.OVERLOADED
    assert Opening().end() is Sign.CONTENT


@pytest.mark.parametrize("stream", WRITTEN.values(), ids=WRITTEN)
def test_a_stream_that_answers_has_an_opening_and_then_content(stream: bytes) -> None:
    signs = [sign(found) for found in sse.EventSplitter().feed(stream)]
    assert signs[0] in (Sign.OPENING, Sign.CONTENT)
    assert Sign.CONTENT in signs and not {Sign.LIMITED, Sign.OVERLOADED} & set(signs)
    assert (sign(sse.EventSplitter().feed(TEXT)[0]), sign(sse.EventSplitter().feed(TOOLS)[0])) == (Sign.OPENING,) * 2


def test_recorded_streams_are_never_taken_for_an_overload() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the recordings")
    streams = openings = 0
    for path in sorted(data_folder("cassettes").rglob("*.yaml")):
        text = path.read_text()
        if "data: {" not in text:
            continue
        for interaction in yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["interactions"]:
            body = interaction["response"].get("body")
            body = body if isinstance(body, str) else (body or {}).get("string") or ""
            raw = body.encode() if isinstance(body, str) else body
            if not raw.startswith((b"data: ", b"event: ")):
                continue
            signs = [sign(found) for found in sse.EventSplitter().feed(raw)]
            streams += 1
            openings += signs[0] is Sign.OPENING
            assert Sign.CONTENT in signs and not {Sign.LIMITED, Sign.OVERLOADED} & set(signs), path.name
    assert streams > 10 and openings > streams / 2
