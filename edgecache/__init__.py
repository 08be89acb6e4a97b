"""A CDN in front of LLM APIs. `docs/architecture.md` shows the rooms."""

__version__ = "0.1.0"
