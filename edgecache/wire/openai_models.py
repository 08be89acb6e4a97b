"""OpenAI's list of models, `GET /v1/models`."""

from collections.abc import Sequence

import msgspec


def models_body(names: Sequence[str], created: int) -> bytes:
    """The answer to `GET /v1/models`."""
    return msgspec.json.encode({"object": "list", "data": [_model(name, created) for name in names]})


def models_added(body: bytes, names: Sequence[str], created: int) -> bytes:
    """A provider's list with ours at its end; what is not such a list comes back as it is."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        listed = msgspec.json.decode(fields["data"], type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, RecursionError):
        return body
    return msgspec.json.encode({**fields, "data": [*listed, *(_model(name, created) for name in names)]})


def _model(name: str, created: int) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": "edgecache"}
