"""A call in the words of the target that gets it: the names of its models, the dialects it speaks."""

from collections.abc import Iterator

import msgspec

from edgecache.core.ports import Call, Form
from edgecache.errors import Untranslatable
from edgecache.upstream.target import Target
from edgecache.wire.dialects import is_anthropic


def fitted(call: Call, target: Target) -> Call:
    """
    Raises:
        Untranslatable: the target cannot be asked this.
    """
    model = target.models.get(call.model, call.model)
    if not call.dialect or (model == call.model and (not target.speaks or call.dialect in target.speaks)):
        return call
    if call.form is None:
        raise Untranslatable(f"upstream {target.name} cannot be asked this in other words: {_next(call)}")
    reason: Untranslatable | None = None
    for dialect in _dialects(call, target):
        try:
            return _in_form(call, call.form(dialect, model), dialect, model)
        except Untranslatable as error:
            reason = reason or error
    assert reason is not None
    raise reason


def distance(call: Call, target: Target) -> int:
    """0 for a target that names the call's dialect among those it speaks, 1 for one that names none, 2 for others. What
    is passed through speaks by its path or its headers: Anthropic's is below `/messages`, or says which version of the
    API it is for.
    """
    if not target.speaks:
        return 1
    if call.dialect:
        return 0 if call.dialect in target.speaks else 2
    said = any(name.lower() == "anthropic-version" for name, _ in call.headers)
    kind = "anthropic." if said or is_anthropic(call.path) else "openai."
    return 0 if any(spoken.startswith(kind) for spoken in target.speaks) else 2


def _dialects(call: Call, target: Target) -> Iterator[str]:
    """The call's own first, where the target speaks it."""
    if not target.speaks or call.dialect in target.speaks:
        yield call.dialect
    yield from (dialect for dialect in target.speaks if dialect != call.dialect)


def _in_form(call: Call, form: Form, dialect: str, model: str) -> Call:
    """The query belongs to the path of the call's own dialect."""
    named = {name.lower() for name, _ in form.headers}
    headers = (*(field for field in call.headers if field[0].lower() not in named), *form.headers)
    query = call.query if dialect == call.dialect else ""
    return msgspec.structs.replace(
        call, path=form.path, query=query, body=form.body, headers=headers, dialect=dialect, model=model
    )


def _next(call: Call) -> str:
    return f"name an upstream that speaks {call.dialect} and knows {call.model[:80]!r} by this name."
