"""Every figure of the project: `python -m bench NAME`, a table for people or one JSON object with `--json`."""
