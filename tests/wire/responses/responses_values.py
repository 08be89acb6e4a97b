"""Values made up for properties: anything that JSON can say, and what looks like the output of an answer."""

from hypothesis import strategies as st

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
KEYS = (
    "id", "type", "status", "content", "summary", "text", "refusal", "arguments", "input", "annotations", "logprobs",
    "encrypted_content", "call_id", "name", "action", "code", "error", "delta", "output_index",
)  # fmt: skip
TYPES = st.sampled_from([
    "message", "reasoning", "function_call", "custom_tool_call", "mcp_call", "web_search_call", "code_interpreter_call",
    "output_text", "refusal", "reasoning_text", "summary_text", "x",
])  # fmt: skip
objects = st.recursive(
    json_values,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner | TYPES, max_size=7)
        | st.builds(lambda kind, rest: {**rest, "type": kind}, TYPES, st.dictionaries(st.sampled_from(KEYS), inner))
    ),
    max_leaves=12,
)
