"""Every error this package raises on purpose.

EdgecacheError
├── InvalidSettings                      (at start; lists all problems)
├── InvalidPolicy                        (at start and reload; lists all problems)
├── StoreUnavailable                503
├── EmbeddingUnavailable            503  (never seen by a client: the lookup goes on without it)
├── ModelSourceError                     (a model could not be fetched, checked or converted)
└── RequestError                         (answered in the caller's own protocol)
    ├── BadRequest                  400
    │   ├── ContextTooLong          400
    │   ├── Misframed               400  (another server could read it as several requests: the last of its connection)
    │   └── Untranslatable          400  (another dialect cannot say the same)
    ├── Unauthenticated             401
    ├── Forbidden                   403
    ├── NotFound                    404
    │   └── ModelNotFound           404
    ├── MethodNotAllowed            405
    ├── RequestTimeout              408
    ├── TooLarge                    413
    ├── UnsupportedMedia            415
    ├── LimitReached                429  (of the owner's policy; with Retry-After)
    ├── HeadTooLarge                431
    ├── NoUpstream                  502
    ├── UpstreamUnreachable         502
    │   └── UpstreamBroken          502  (cut before its end)
    ├── Overloaded                  503  (with Retry-After)
    ├── ModelUnavailable            503
    ├── UpstreamTimeout             504
    └── NotCached                   504  (only what is cached was asked for)
"""


class EdgecacheError(Exception):
    """The root."""


class Problems(EdgecacheError):
    """Several things wrong at once, each a line that names its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InvalidSettings(Problems):
    """The settings cannot be used."""


class InvalidPolicy(Problems):
    """A policy file cannot be used."""


class StoreUnavailable(EdgecacheError):
    """The store or the log did not do what was asked."""


class EmbeddingUnavailable(EdgecacheError):
    """No vector can be made now."""


class ModelSourceError(EdgecacheError):
    """A model could not be fetched, checked or converted."""


class RequestError(EdgecacheError):
    """A request that is answered with an error.

    `code` and `kind` are what OpenAI puts in `error.code` and `error.type`; `param` names the field at fault.
    """

    status = 500
    code: str | None = None
    kind = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class BadRequest(RequestError):
    status = 400


class Misframed(BadRequest):
    """Where the request ends is not the same for every server."""


class ContextTooLong(BadRequest):
    code = "context_length_exceeded"


class Untranslatable(BadRequest):
    """What is asked or answered has no counterpart in another dialect."""


class Unauthenticated(RequestError):
    status = 401
    code = "invalid_api_key"


class Forbidden(RequestError):
    status = 403
    code = "insufficient_permissions"


class NotFound(RequestError):
    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(RequestError):
    """Of a method that no server in the middle may pass on."""

    status = 405
    code = "method_not_allowed"


class RequestTimeout(RequestError):
    """The caller does not send what it has begun."""

    status = 408
    code = "request_timeout"


class TooLarge(RequestError):
    status = 413
    code = "request_too_large"


class UnsupportedMedia(RequestError):
    status = 415
    code = "unsupported_media_type"


class LimitReached(RequestError):
    """The caller's scope has used up what a limit of the policy gives it."""

    status = 429
    code = "rate_limit_exceeded"
    kind = "rate_limit_error"


class HeadTooLarge(RequestError):
    status = 431
    code = "request_header_fields_too_large"


class NoUpstream(RequestError):
    status = 502
    code = "no_upstream"
    kind = "server_error"


class UpstreamUnreachable(RequestError):
    status = 502
    code = "upstream_unreachable"
    kind = "server_error"


class UpstreamBroken(UpstreamUnreachable):
    code = "upstream_broken"


class Overloaded(RequestError):
    status = 503
    code = "overloaded"
    kind = "server_error"


class ModelUnavailable(RequestError):
    status = 503
    code = "model_unavailable"
    kind = "server_error"


class UpstreamTimeout(RequestError):
    status = 504
    code = "upstream_timeout"
    kind = "server_error"


class NotCached(RequestError):
    """`only-if-cached` (RFC 9111 section 5.2.1.7)."""

    status = 504
    code = "not_cached"
