"""The local model tier: a small Llama-family model on this node, in onnxruntime."""

from edgecache.slm.build import VERSION, build
from edgecache.slm.generate import LocalModel
from edgecache.slm.graph import Recipe
from edgecache.slm.worker import Statistics

__all__ = ["VERSION", "LocalModel", "Recipe", "Statistics", "build"]
