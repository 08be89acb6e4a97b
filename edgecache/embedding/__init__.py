"""Text -> unit vector, in worker threads, batched across concurrent requests."""

from edgecache.embedding.batching import EmbeddingStatistics
from edgecache.embedding.convert import VERSION, build
from edgecache.embedding.onnx_embedder import OnnxEmbedder
from edgecache.embedding.sentence_transformers import SentenceTransformersEmbedder

__all__ = ["VERSION", "EmbeddingStatistics", "OnnxEmbedder", "SentenceTransformersEmbedder", "build"]
