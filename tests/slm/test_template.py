"""The chat template: what published ones need works, and a hostile one gets nowhere."""

import pytest

from edgecache.core.generation import Turn
from edgecache.errors import BadRequest, ModelSourceError
from edgecache.slm.template import ChatTemplate

TURNS = (Turn("system", "Be brief."), Turn("user", " Hi <b> "))

LLAMA3 = """{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(index=0) %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("roles must alternate user/assistant") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
    {%- if loop.first and system_message is defined %}
        {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
    {%- elif message["role"] == "user" %}
        {{- "[INST] " + message.content.strip() + "[/INST]" }}
    {%- else %}
        {{- " " + message["content"] + eos_token }}
    {%- endif %}
{%- endfor %}"""


def _render(source: str, *turns: Turn) -> str:
    return ChatTemplate(source, "<s>", "</s>").render(turns or TURNS)


def test_llama3() -> None:
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    expected = f"<s>{head.format('system')}Be brief.<|eot_id|>{head.format('user')}Hi <b><|eot_id|>"
    assert _render(LLAMA3) == expected + head.format("assistant")


def test_mistral() -> None:
    assert _render(MISTRAL) == "<s>[INST] Be brief.\n\n Hi <b> [/INST]"
    turns = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
    assert _render(MISTRAL, *turns) == "<s>[INST] a[/INST] b</s>[INST] c[/INST]"


def test_exception_of_the_template_reaches_the_caller() -> None:
    with pytest.raises(BadRequest, match="roles must alternate") as caught:
        _render(MISTRAL, Turn("user", "a"), Turn("user", "b"))
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ messages | length }}{{ messages[-1].role }}", "2user"),
        ("{{ messages | map(attribute='role') | join(',') }}", "system,user"),
        ("{{ messages[0] | tojson }}", '{"role": "system", "content": "Be brief."}'),
        ("{% for m in messages if m.role == 'user' %}{{ m.content.strip().upper() }}{% break %}{% endfor %}", "HI <B>"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f('a') ~ f(2) }}", "<a><2>"),
        ("{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{% endfor %}", "x1"),
        ("{{ 'aXbX'.replace('X', '--') }}{{ [1, 2] + [3] }}{{ 7 % 4 * 2 }}", "a--b--[1, 2, 3]6"),
        ("{% set x %}a{{ 1 }}{% endset %}{{ x }}{{ 'b' if x is string else 'c' }}", "a1b"),
        ("{{ range(3) | list }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "[0, 1, 2]1"),
    ],
)
def test_what_templates_use(source: str, text: str) -> None:
    assert _render(source) == text


HOSTILE = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "output in a loop": "{% for a in range(99999) %}" + "x" * 9_999 + "{% endfor %}",
    "range": "{% for a in range(10**9) %}{% endfor %}",
    "repeated string": "{{ 'a' * 10**9 }}",
    "repeated list": "{{ ([0] * 10**9) | length }}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "growing number": "{% set n = 99999999999 %}" + "{% set n = n * n %}" * 40 + "{{ n }}",
    "width in a format": "{{ '%999999999d' % 1 }}",
    "format method": "{{ '{:>999999999}'.format(1) }}",
    "format_map": "{{ '{a}'.format_map({'a': 1}) }}",
    "padding": "{{ 'a'.ljust(10**9) }}{{ 'a'.center(10**9) }}",
    "center filter": "{{ 'a' | center(1000000000) }}",
    "doubling by ~": "{% set x = 'aaaa' %}" + "{% set x = x ~ x %}" * 40,
    "doubling by +": "{% set x = 'aaaa' %}" + "{% set x = x + x %}" * 40,
    "doubling of lists": "{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}",
    "doubling of tuples": "{% set x = (1,) %}" + "{% set x = (x, x) %}" * 40 + "{{ x == x }}",
    "doubling of dicts": "{% set x = {} %}" + "{% set x = {'a': x, 'b': x} %}" * 40 + "{{ x | tojson }}",
    "doubling in a block": "{% set x = 'aaaa' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
    "doubling by a macro": "{% macro f(x) %}{{ x }}{{ x }}{% endmacro %}{% set x = 'a' %}" + "{% set x = f(x) %}" * 40,
    "macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    + "{{ f(60) }}",
    "arguments of a macro": "{% set ns = namespace(v=1) %}{% macro f() %}{% set ns.v = varargs %}{% endmacro %}"
    + "{{ f(ns.v, ns.v) }}" * 40,
    "replace": "{% set x = 'aaaaaaaaaaaaaaaa' %}" + "{% set x = x.replace('a', x) %}" * 8,
    "join": "{% set x = range(9999) | join('aaaaaaaaaa') %}{{ range(9999) | join(x) }}",
    "indent of tojson": "{{ messages | tojson(indent=1000000000) }}",
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "function internals": "{{ raise_exception.__globals__.keys() }}",
    "attr filter": "{{ '' | attr('__class__') }}",
    "environment": "{{ self._TemplateReference__context.environment.left }}",
    "changing a list": "{{ messages.append(1) }}",
    "changing the allowance": "{{ raise_exception.left }}{{ messages.clear() }}",
    "include": "{% include '/etc/passwd' %}",
    "failing program": "{{ 1 / 0 }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_template_gets_nowhere(name: str) -> None:
    """Refused when it is compiled or when it is rendered; what renders without harm is short."""
    try:
        text = _render(HOSTILE[name])
    except (ModelSourceError, BadRequest):
        return
    pytest.fail(f"rendered {text[:200]!r}")


def test_allowance_is_for_one_conversation_only() -> None:
    template = ChatTemplate("{% for a in range(9999) %}{{ a }}{% endfor %}", "", "")
    for _ in range(40):
        assert len(template.render(TURNS)) == 38_886


@pytest.mark.parametrize("source", ["", "{% for %}", "{{ x", "x" * 70_000, "{{ " + "(" * 5_000 + " }}"])
def test_not_a_template(source: str) -> None:
    with pytest.raises(ModelSourceError):
        ChatTemplate(source, "", "")
