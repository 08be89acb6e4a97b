"""Log lines: JSON whatever is in them."""

import json
import logging

from edgecache.logs import JsonLines


def test_each_line_is_one_json_object() -> None:
    try:
        raise ValueError("bad \udcff")
    except ValueError as error:
        trace = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("edgecache.x", logging.ERROR, "f.py", 1, "said %s\n", ("\udcff",), trace)
    record.created, record.msecs = 1_700_000_000.5, 500.0
    line = JsonLines().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert found["time"] == "2023-11-14T22:13:20.500Z"
    assert (found["level"], found["logger"], found["message"]) == ("error", "edgecache.x", "said \\udcff\n")
    assert "ValueError: bad \\udcff" in found["trace"]
