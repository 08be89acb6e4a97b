"""Errors as Anthropic's SDK reads them."""

import json
from collections.abc import Iterator

import anthropic
import pytest
from message_examples import PATH, Sdk, ask, encode

from edgecache import errors
from edgecache.errors import RequestError
from edgecache.wire.messages import MESSAGES
from edgecache.wire.told_errors import ToldError


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    found = Sdk()
    yield found
    found.client.close()


ERRORS = [
    (errors.BadRequest("x"), "invalid_request_error", anthropic.BadRequestError),
    (errors.Unauthenticated("x"), "authentication_error", anthropic.AuthenticationError),
    (errors.Forbidden("x"), "permission_error", anthropic.PermissionDeniedError),
    (errors.ModelNotFound("x"), "not_found_error", anthropic.NotFoundError),
    (errors.MethodNotAllowed("x"), "invalid_request_error", anthropic.APIStatusError),
    (errors.TooLarge("x"), "request_too_large", anthropic.APIStatusError),
    (errors.LimitReached("x", retry_after=5), "rate_limit_error", anthropic.RateLimitError),
    (RequestError("x"), "api_error", anthropic.InternalServerError),
    (errors.NoUpstream("x"), "api_error", anthropic.InternalServerError),
    (errors.Overloaded("x"), "overloaded_error", anthropic.InternalServerError),
    (errors.UpstreamTimeout("x"), "timeout_error", anthropic.InternalServerError),
    (ToldError(529, "x", "overloaded_error", None), "overloaded_error", anthropic.InternalServerError),
    (ToldError(402, "x", "billing_error", None), "billing_error", anthropic.APIStatusError),
]


@pytest.mark.parametrize(("error", "kind", "raised"), ERRORS)
def test_errors_by_status(error: RequestError, kind: str, raised: type[Exception], sdk: Sdk) -> None:
    sdk.body, sdk.status, sdk.media = MESSAGES.error(error), error.status, "application/json"
    with pytest.raises(raised) as found:
        sdk.ask()
    sdk.status = 200
    assert isinstance(found.value, anthropic.APIStatusError)
    assert found.value.body == {"type": "error", "error": {"type": kind, "message": "x"}, "request_id": None}


def test_an_error_in_mid_stream(sdk: Sdk) -> None:
    with pytest.raises(anthropic.APIStatusError) as found:
        sdk.gathered(b"event: ping\ndata: {}\n\n" + MESSAGES.broken(errors.UpstreamBroken("cut")))
    assert "cut" in str(found.value)


def test_what_was_no_text_can_be_sent() -> None:
    assert json.loads(MESSAGES.error(errors.BadRequest("a\udcff")))["error"]["message"] == "a?"


def test_counting_tokens_is_not_asking() -> None:
    assert PATH.endswith(MESSAGES.suffix)
    assert not f"{PATH}/count_tokens".endswith(MESSAGES.suffix)
    assert MESSAGES.name == "anthropic.messages"
    assert encode(ask())
