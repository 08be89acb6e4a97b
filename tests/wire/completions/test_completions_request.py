"""What a request for a completion asks: every character of its text counts."""

import json
from typing import Any

import pytest
from completion_examples import PATH, asked, recorded
from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.canonical import Identity, identify
from edgecache.core.entry import Scope
from edgecache.core.generation import Turn
from edgecache.core.messages import Conversation
from edgecache.errors import BadRequest, Untranslatable
from edgecache.wire.completions import COMPLETIONS
from edgecache.wire.dialect import Request


def identity(request: Request) -> Identity:
    assert request.question.uncacheable is None, request.question.uncacheable
    return identify(request.question, Scope("tenant"), {}, "", path=PATH, rules=(), secret=b"s")


# --- identity -----------------------------------------------------------------------------------------------------


def test_one_text_is_found_by_other_words() -> None:
    question = asked("Say hello").question
    assert (question.text, question.exact_only, question.model) == ("Say hello", None, "m")
    one, other = identity(asked("Say hello")), identity(asked("Say good day"))
    assert one.partition == other.partition and one.key != other.key


@pytest.mark.parametrize(
    "changed",
    [
        {"n": 2}, {"best_of": 2}, {"echo": True}, {"suffix": "."}, {"logprobs": 0}, {"max_tokens": 5}, {"seed": 1},
        {"temperature": 0}, {"stop": "\n"}, {"unknown": None}, {"model": "other"}, {"logit_bias": {"1": 2}},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_what_changes_the_answer_is_identity(changed: dict[str, Any]) -> None:
    assert identity(asked(**changed)).partition != identity(asked()).partition


@pytest.mark.parametrize(
    "changed",
    [
        {"stream": True}, {"stream_options": {"include_usage": True}}, {"user": "u"}, {"metadata": {"a": 1}},
        {"store": True}, {"service_tier": "flex"}, {"prompt_cache_key": "k"}, {"safety_identifier": "s"},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_what_does_not_is_left_out(changed: dict[str, Any]) -> None:
    assert identity(asked(**changed)) == identity(asked())


PROMPTS: list[Any] = [
    "def f():", "def f():\n    ", "def f():\n", " def f():", "def f():\r\n", "\n", " ", "", None, ["def f():"], [1, 2],
    [[1, 2]], ["def f():", "x"], {"before": "", "after": ""},
]  # fmt: skip


def test_prompts_that_differ_are_not_the_same() -> None:
    """A model goes on differently after a space; one text in a list is answered as a list would be."""
    found = {identity(asked(prompt)).key for prompt in PROMPTS[:-1]}
    assert len(found) == len(PROMPTS) - 1


@given(st.text(alphabet=" \n\r\tab"), st.text(alphabet=" \n\r\tab"))
def test_no_two_texts_are_one_question(one: str, other: str) -> None:
    assert (identity(asked(one)).key == identity(asked(other)).key) == (one == other)


@pytest.mark.parametrize("fields", [{"echo": True}, {"suffix": "."}, {"prompt": ["a"]}, {"prompt": "a\r\nb"}], ids=str)
def test_what_is_exact_only(fields: dict[str, Any]) -> None:
    assert asked(**{"prompt": "a", **fields}).question.exact_only is not None
    assert asked("a", echo=False, suffix=None).question.exact_only is None


@pytest.mark.parametrize(
    "fields", [{"prompt": {}}, {"prompt": 5}, {"model": None}, {"model": 5}, {"stream": "yes"}], ids=str
)
def test_what_is_not_cached(fields: dict[str, Any]) -> None:
    assert asked(**fields).question.uncacheable is not None


def test_azure_names_the_model_in_its_path() -> None:
    body = b'{"prompt":"a"}'
    assert COMPLETIONS.read(body, "/openai/deployments/gpt-35/completions").model == "gpt-35"
    assert COMPLETIONS.read(body, PATH).question.uncacheable == "`model` is missing"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["model", "prompt", "stream", "stream_options", "user", "metadata", "echo", "suffix", "n"])


@given(st.dictionaries(NAMES, VALUES) | VALUES)
def test_wrong_types_are_never_more_than_not_cached(fields: Any) -> None:
    try:
        request = COMPLETIONS.read(json.dumps(fields).encode(), PATH)
    except BadRequest:
        return
    if request.question.uncacheable is None:
        identity(request)
    COMPLETIONS.asking(request)
    try:
        COMPLETIONS.prompt(request)
    except BadRequest as error:
        assert error.message


@pytest.mark.parametrize("body", [b"", b"{", b'{"prompt":"\\ud800"}', b"\xff"])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        COMPLETIONS.read(body, PATH)


# --- what is sent -------------------------------------------------------------------------------------------------


def test_usage_is_asked_for_on_streams_only() -> None:
    whole, stream = asked(), asked(stream=True, temperature=1.50, stream_options={"include_obfuscation": False})
    assert COMPLETIONS.asking(whole) is whole.body
    sent = json.loads(COMPLETIONS.asking(stream))
    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert not stream.include_usage


def test_a_conversation_is_no_completion() -> None:
    with pytest.raises(Untranslatable):
        COMPLETIONS.write_request(Conversation(messages=()), "m", stream=False)
    assert asked().conversation is None


@pytest.mark.parametrize("exchange", recorded(), ids=repr)
def test_recorded_requests(exchange: Any) -> None:
    request = COMPLETIONS.read(exchange.asked, PATH)
    prompt = request.fields["prompt"]
    assert identity(request).text == (prompt if isinstance(prompt, str) and not request.question.exact_only else "")
    assert request.stream == (exchange.framing.value == "sse")
    assert request.include_usage == ("usage" in exchange.name)


# --- the local model ----------------------------------------------------------------------------------------------


def test_the_local_model_is_asked_by_one_user() -> None:
    prompt = COMPLETIONS.prompt(asked("Once", temperature=0.5, stop=["."], seed=3, n=1, best_of=1))
    assert prompt.turns == (Turn("user", "Once"),)
    assert (prompt.sampling.temperature, prompt.sampling.stop, prompt.sampling.seed) == (0.5, (".",), 3)
    assert prompt.sampling.max_tokens == 16, "what the API description says of a request that does not say"
    assert COMPLETIONS.prompt(asked(["Once"], max_tokens=5)).sampling.max_tokens == 5


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1]}, "prompt"),
        ({"echo": True}, "echo"),
        ({"suffix": "."}, "suffix"),
        ({"logprobs": 0}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"n": 2}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"model": 5}, "model"),
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        COMPLETIONS.prompt(asked(**fields))
    assert refused.value.param == param
