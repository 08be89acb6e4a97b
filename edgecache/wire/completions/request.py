"""Reading a request for a completion. Its text is to be continued, so every character of it counts."""

from typing import Any, Final

from edgecache.core.canonical import Question
from edgecache.core.generation import Prompt
from edgecache.errors import BadRequest
from edgecache.wire.bodies import decode
from edgecache.wire.chat.prompt import to_prompt as chat_prompt
from edgecache.wire.chat.request import deployment, is_ignored
from edgecache.wire.dialect import Request
from edgecache.wire.identity import raw_question, uncacheable
from edgecache.wire.users import end_users

DIALECT: Final = "openai.completions"
MAX_TOKENS = 16
"""How many are made where a request does not say."""


def read_completion(body: bytes, path: str = "") -> Request:
    """See `Dialect.read`."""
    fields, problem = decode(body)
    if not isinstance(fields, dict):
        question = uncacheable("", "the body is not an object")
        return Request(dialect=DIALECT, body=body, fields=fields, question=question, include_usage=False)
    options = fields.get("stream_options")
    return Request(
        dialect=DIALECT,
        body=body,
        fields=fields,
        question=_question(fields, deployment(path) or fields.get("model"), problem),
        stream=fields.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        users=end_users(fields),
    )


def _question(fields: dict[str, Any], model: Any, problem: str | None) -> Question:
    if not isinstance(model, str):
        return uncacheable("", "`model` is missing")
    identity = {name: value for name, value in fields.items() if not is_ignored(name)}
    why = _why_exact_only(fields)
    text = "" if why is not None else identity["prompt"]
    if why is None:
        identity["prompt"] = _edges(text)
    return raw_question(
        identity, dialect=DIALECT, model=model, problem=problem or _why_uncacheable(fields), exact_only=why, text=text
    )


def _why_uncacheable(fields: dict[str, Any]) -> str | None:
    if not isinstance(fields.get("prompt"), str | list | None):
        return "`prompt` is neither text nor a list"
    return None if isinstance(fields.get("stream"), bool | None) else "`stream` is not a boolean"


def _why_exact_only(fields: dict[str, Any]) -> str | None:
    prompt = fields.get("prompt")
    if not isinstance(prompt, str):
        return "the prompt is not one text"
    if "\r\n" in prompt:
        return "the prompt has lines that end in CR LF"
    repeated = next((name for name in ("echo", "suffix") if fields.get(name)), None)
    return f"`{repeated}` ties the answer to the prompt's words" if repeated else None


def _edges(prompt: str) -> dict[str, str]:
    """Stands for the prompt, with what is taken off a text before it is compared: a model goes on differently after a
    space. No prompt is an object.
    """
    inner = prompt.strip()
    before, _, after = prompt.partition(inner) if inner else (prompt, "", "")
    return {"before": before, "after": after}


def to_prompt(fields: Any) -> Prompt:
    """The text as what one user says. Raises BadRequest, naming the field, for what the local model cannot do."""
    if not isinstance(fields, dict):
        raise BadRequest("The body must be a JSON object with `model` and `prompt`.")
    for name in ("echo", "suffix"):
        if fields.get(name):
            raise BadRequest(f"The local model cannot do this: leave out `{name}`.", param=name)
    if fields.get("logprobs") is not None:
        raise BadRequest("The local model cannot return log probabilities: leave out `logprobs`.", param="logprobs")
    if fields.get("best_of") not in (None, 1):
        raise BadRequest("The local model gives one answer: leave out `best_of`.", param="best_of")
    length = MAX_TOKENS if fields.get("max_tokens") is None else fields["max_tokens"]
    messages = [{"role": "user", "content": _one_text(fields.get("prompt"))}]
    return chat_prompt({**fields, "max_tokens": length, "messages": messages})


def _one_text(prompt: Any) -> str:
    text = prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt
    if not isinstance(text, str):
        raise BadRequest("The local model continues one text: `prompt` must be a string.", param="prompt")
    return text
