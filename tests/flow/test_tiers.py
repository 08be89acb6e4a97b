"""Who is asked, in what order, and whose error comes back."""

import pytest

from edgecache.core.canonical import Question
from edgecache.core.entry import Scope, Source
from edgecache.core.policy import Route, Tier
from edgecache.core.ports import Call, UpstreamReply
from edgecache.errors import (
    BadRequest,
    ModelNotFound,
    ModelUnavailable,
    NoUpstream,
    Overloaded,
    RequestError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from edgecache.flow.heads import joined
from edgecache.flow.tiers import Ask, Tiers
from edgecache.testing.fake_model import FakeModel
from edgecache.wire.dialect import Request

BOTH = (Tier.LOCAL, Tier.UPSTREAM)


class Refusing:
    """An upstream that raises."""

    def __init__(self, error: RequestError) -> None:
        self._error = error

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, call: Call) -> UpstreamReply:
        raise self._error


def ask(tiers: tuple[Tier, ...], **fields: object) -> Ask:
    document = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    question = Question(operation="chat", model="m", fields={}, text="Hi")
    call = Call(method="POST", path="/", query="", headers=(), body=b"{}")
    request = Request(dialect="openai.chat", body=b"{}", fields=document, question=question)
    route = Route(name="r", tiers=tiers)
    return Ask(request=request, identity=None, scope=Scope("local"), route=route, tags=(), call=call)


def tiers(upstream: RequestError | None, local: FakeModel | None) -> Tiers:
    pool = Refusing(upstream) if upstream is not None else None
    return Tiers(pool, local, ("local",), clock=lambda: 1.0, new_id=lambda: "0" * 32)


@pytest.mark.parametrize("error", [NoUpstream("x"), UpstreamUnreachable("x"), UpstreamTimeout("x")])
async def test_the_local_model_answers_when_no_upstream_can(error: RequestError) -> None:
    reply = await tiers(error, FakeModel()).ask(ask(BOTH[::-1]), to_store=True)
    assert (reply.head.source, reply.head.model) == (Source.LOCAL, "fake")
    assert b"You asked: Hi" in b"".join([piece async for piece in reply.pieces])


@pytest.mark.parametrize(
    ("order", "local", "fields", "raised"),
    [
        (BOTH, FakeModel(refuses=Overloaded("full")), {}, UpstreamUnreachable),
        (BOTH, FakeModel(refuses=ModelUnavailable("broken")), {}, UpstreamUnreachable),
        (BOTH, FakeModel(), {"n": 2}, UpstreamUnreachable),
        (BOTH[::-1], FakeModel(refuses=Overloaded("full")), {}, Overloaded),
        (BOTH[::-1], FakeModel(), {"n": 2}, UpstreamUnreachable),
        ((Tier.LOCAL,), FakeModel(), {"n": 2}, BadRequest),
        ((Tier.UPSTREAM,), FakeModel(), {}, UpstreamUnreachable),
    ],
)
async def test_whose_error_comes_back(
    order: tuple[Tier, ...], local: FakeModel, fields: dict, raised: type[RequestError]
) -> None:
    """Of a request that only the local model refuses: that the upstream, which could have answered, was not there."""
    with pytest.raises(raised):
        await tiers(UpstreamUnreachable("gone"), local).ask(ask(order, **fields), to_store=True)


async def test_what_an_upstream_refuses_to_be_sent_is_not_asked_of_another_tier() -> None:
    model = FakeModel()
    with pytest.raises(BadRequest, match="header"):
        await tiers(BadRequest("header cannot be sent"), model).ask(ask(BOTH[::-1]), to_store=True)
    assert model.prompts == []


@pytest.mark.parametrize(("upstream", "local"), [(NoUpstream("x"), None), (None, FakeModel()), (None, None)])
async def test_a_route_whose_tiers_are_not_here_has_no_model(
    upstream: RequestError | None, local: FakeModel | None
) -> None:
    order = (Tier.LOCAL,) if local is None else (Tier.UPSTREAM,)
    with pytest.raises(ModelNotFound, match="local"):
        await tiers(upstream, local).ask(ask(order), to_store=True)


def test_values_of_a_repeated_field_go_together() -> None:
    headers = (("Surrogate-Key", "a"), ("X", "1"), ("surrogate-key", "b"), ("x", "2"), ("xkey", "c"), ("XKEY", "d"))
    assert joined(headers) == {"surrogate-key": "a b", "x": "1, 2", "xkey": "c d"}
