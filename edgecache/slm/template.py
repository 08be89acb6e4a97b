"""The chat template that came with the weights, rendered as the untrusted program that it is.

Jinja2's sandbox keeps a template away from Python's internals. It does not keep it from running for ever or from
filling the memory, so here every value that a template builds, prints or passes, and every turn of a loop, is weighed
against an allowance. Filters and methods are those that published templates use; each is at most linear in its input.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from edgecache.core.generation import Turn
from edgecache.errors import BadRequest, ModelSourceError

_ALLOWANCE = 4_000_000
"""Characters printed or built, items of lists, turns of loops: less than a second of work at the very worst."""
_LONGEST_SOURCE = 64_000
# fmt: off
_FILTERS = (
    "capitalize", "count", "default", "dictsort", "first", "int", "items", "last", "length", "list", "lower", "map",
    "reject", "rejectattr", "reverse", "safe", "select", "selectattr", "string", "title", "trim", "upper",
)
# fmt: on
# fmt: off
_METHODS = frozenset((
    "capitalize", "endswith", "get", "items", "keys", "lower", "lstrip", "replace", "rsplit", "rstrip", "split",
    "startswith", "strip", "title", "upper", "values",
))
# fmt: on
_PLAIN = (str, bytes)


class ChatTemplate:
    """Turns -> the text that the model continues. Used by one thread at a time.

    Raises:
        ModelSourceError: the template is not one.
    """

    def __init__(self, source: str, bos: str, eos: str) -> None:
        if not source or len(source) > _LONGEST_SOURCE:
            raise ModelSourceError(f"A chat template of {len(source)} characters cannot be used.")
        self._environment = _Environment()
        self._fixed = {"bos_token": bos, "eos_token": eos, "add_generation_prompt": True}
        try:
            self._template = self._environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise ModelSourceError(f"The model's chat template cannot be used: {error}") from error

    def render(self, turns: Sequence[Turn]) -> str:
        """The conversation up to where the assistant speaks.

        Raises:
            BadRequest: the template refuses the conversation, or wants more work than any answer is worth.
        """
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        self._environment.left = _ALLOWANCE + 2 * sum(len(turn.content) for turn in turns)
        try:
            return self._template.render(messages=messages, **self._fixed)
        except Exception as error:  # a template is a program: it may fail in any way that Python knows
            raise BadRequest(
                f"The model's chat template refuses this conversation: {error}", param="messages"
            ) from error


class _Generator(CodeGenerator):
    """Has what Jinja2 builds without asking its environment weighed."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self._weighed(node.nodes, frame, "joined")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self._weighed(node.items, frame, "listed")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx != "load":
            super().visit_Tuple(node, frame)
        else:
            self._weighed(node.items, frame, "weighed")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("environment.weighed(")
        super().visit_Dict(node, frame)
        self.write(")")

    def _weighed(self, items: Iterable[nodes.Node], frame: Frame, function: str) -> None:
        self.write(f"environment.{function}((")
        for item in items:
            self.visit(item, frame)
            self.write(", ")
        self.write("))")


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox that counts. `left` is what is left of the allowance."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        # Folding of constants would do work when the template is compiled, where nothing counts it.
        extensions = ["jinja2.ext.loopcontrols"]
        super().__init__(extensions=extensions, optimized=False, trim_blocks=True, lstrip_blocks=True, cache_size=0)
        self.left = _ALLOWANCE
        self.finalize = self._printed
        kept = {name: self.filters[name] for name in _FILTERS}
        self.filters = {**kept, "counted": self._counted, "join": self._join, "tojson": self._tojson}
        self.globals = {name: self.globals[name] for name in ("range", "namespace")}
        self.globals["raise_exception"] = _refuse

    def charge(self, cost: int) -> None:
        """Take `cost` off the allowance, or end the rendering."""
        self.left -= cost
        if self.left < 0:
            raise jinja2.TemplateRuntimeError("it asks for too much work")

    def weighed(self, value: Any) -> Any:
        """`value`, paid for by all that it holds, however often it holds it."""
        self.charge(8 + (len(value) if isinstance(value, _PLAIN) else 0))
        if isinstance(value, Mapping):
            for item in value.values():
                self.weighed(item)
        elif isinstance(value, list | tuple):
            for item in value:
                self.weighed(item)
        return value

    def listed(self, items: tuple[Any, ...]) -> list[Any]:
        return list(self.weighed(items))

    def joined(self, items: tuple[Any, ...]) -> str:
        return "".join(str(item) for item in self.weighed(items))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator != "+" and not all(isinstance(side, int | float) for side in (left, right)):
            raise jinja2.TemplateRuntimeError(f"{operator} is for numbers")
        if operator == "**":
            raise jinja2.TemplateRuntimeError("** is not allowed")
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and abs(result) > 1 << 63:
            raise jinja2.TemplateRuntimeError("a number is too large")
        return self.weighed(result)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        __self.charge(16)
        __self.weighed((args, kwargs))
        if getattr(__obj, "__name__", "") == "replace":
            __self._check_replace(__obj.__self__, *args)
        return __self.weighed(super().call(__context, __obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str | list | tuple | Mapping):
            return attr in _METHODS
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """No `format`: a width in it may be any number. Nothing takes its place, so that the attribute is unsafe."""

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                raise jinja2.TemplateSyntaxError("recursive loops are not allowed", loop.lineno)
            loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None)
        for output in tree.find_all(nodes.Output):
            output.nodes = [nodes.Const(n.data) if isinstance(n, nodes.TemplateData) else n for n in output.nodes]
        return tree

    def _counted(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.charge(16)
            yield item

    @property
    def _printed(self) -> Callable[[Context, Any], Any]:
        @jinja2.pass_context
        def printed(_: Context, value: Any) -> Any:
            return self.weighed(value)

        return printed

    def _check_replace(self, text: str, old: str, new: str, *_: Any) -> None:
        self.charge(len(text) + text.count(old) * len(new))

    def _join(self, items: Iterable[Any], between: str = "", attribute: str | None = None) -> str:
        parts = [str(self.weighed(item if attribute is None else self.getitem(item, attribute))) for item in items]
        self.charge(len(parts) * len(between))
        return between.join(parts)

    def _tojson(self, value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:
        if indent is not None and not 0 <= indent <= 8:
            raise jinja2.TemplateRuntimeError("an indent of tojson is at most 8")
        return json.dumps(self.weighed(value), indent=indent, ensure_ascii=ensure_ascii)


def _refuse(message: str) -> None:
    raise jinja2.TemplateRuntimeError(message)
