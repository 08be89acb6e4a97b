"""The owner's rules: all errors at once, first match wins, and what is in force without a word."""

import pytest

from edgecache.core.entry import Scope, Source
from edgecache.core.policy import SPOKEN, Mode, Policy, Route, Tier, parse_policy
from edgecache.errors import InvalidPolicy

CHAT = "/v1/chat/completions"


def policy(*texts: str, upstreams: tuple[str, ...] | None = None) -> Policy:
    files = {f"{number}.toml": text.encode() for number, text in enumerate(texts, 1)}
    return parse_policy(files, upstreams)


def route(text: str = "") -> Route:
    return policy(f'[[route]]\nname = "r"\n{text}').routes[0]


def problems(*texts: str, upstreams: tuple[str, ...] | None = None) -> list[str]:
    with pytest.raises(InvalidPolicy) as found:
        policy(*texts, upstreams=upstreams)
    return found.value.problems


def test_what_is_in_force_without_a_word() -> None:
    found = route()
    assert (found.path, found.mode, found.ttl, found.tiers) == (SPOKEN, Mode.EXACT, 3_600, (Tier.UPSTREAM,))
    assert not (found.request_tags or found.finish or found.provider_cache_control)


def test_a_whole_route() -> None:
    found = route("""
        path = "/v1/*"
        models = ["gpt-*", "local"]
        scopes = ["team-a"]
        mode = "semantic"
        threshold = 0.9
        ttl = "5m"
        tags = ["docs", "prices"]
        request_tags = true
        tiers = ["local", "upstream"]
        upstreams = ["openai"]
        sources = ["pushed"]
        max_answer = "1MiB"
    """)
    assert (found.mode, found.threshold, found.ttl, found.max_answer) == (Mode.SEMANTIC, 0.9, 300, 1 << 20)
    assert (found.tags, found.tiers, found.upstreams) == (("docs", "prices"), (Tier.LOCAL, Tier.UPSTREAM), ("openai",))


# --- choosing -----------------------------------------------------------------------------------------------------


def test_the_first_match_wins_over_files_in_order_of_their_names() -> None:
    rules = parse_policy(
        {
            "20.toml": b'[[route]]\nname = "late"\n',
            "10.toml": b'[[route]]\nname = "gpt"\nmodels = ["gpt-*"]\n[[route]]\nname = "any"\n',
        }
    )
    chosen = [rules.choose(CHAT, model, Scope("s")) for model in ("gpt-4", "claude")]
    assert [found and found.name for found in chosen] == ["gpt", "any"]


@pytest.mark.parametrize(
    ("pattern", "model", "matches"),
    [
        ("*", "", True),
        ("*", "a/b\nc", True),
        ("gpt-*", "gpt-4", True),
        ("gpt-*", "my-gpt-4", False),
        ("gpt-4", "gpt-4o", False),
        ("gpt-?", "gpt-4", True),
        ("gpt-[45]", "gpt-5", True),
        ("gpt-[45]", "gpt-6", False),
        ("gpt.4", "gpt-4", False),
        ("GPT", "gpt", False),
        ("a|b", "b", False),
        ("[", "[", True),
    ],
)
def test_patterns(pattern: str, model: str, matches: bool) -> None:
    found = route(f'models = ["no", "{pattern}"]')
    assert found.matches(CHAT, model, Scope("s")) is matches


def test_path_and_scope_choose_too() -> None:
    found = route('path = "/a/*"\nscopes = ["team-*"]')
    assert found.matches("/a/b", "m", Scope("team-1"))
    assert not found.matches("/b", "m", Scope("team-1"))
    assert not found.matches("/a/b", "m", Scope("other"))


def test_a_path_that_no_rule_names() -> None:
    rules = policy('[[route]]\nname = "r"\nmodels = ["gpt"]')
    assert rules.choose("/v1/files", "gpt", Scope("s")) is None
    assert rules.choose(CHAT, "other", Scope("s")) is None
    assert rules.names_path(CHAT)
    assert not rules.names_path("/v1/files")


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ("", {Source.UPSTREAM, Source.PUSHED}),
        ('tiers = ["local"]', {Source.LOCAL, Source.PUSHED}),
        ('tiers = ["local", "upstream"]', {Source.LOCAL, Source.UPSTREAM, Source.PUSHED}),
        ('sources = ["local"]', {Source.LOCAL}),
    ],
)
def test_a_small_models_answer_never_hides_the_large_ones(text: str, served: set[Source]) -> None:
    found = route(text)
    assert {source for source in Source if found.serves(source)} == served


def test_the_digest_names_the_rules() -> None:
    one = policy('[[route]]\nname = "r"')
    assert one.digest == policy('[[route]]\nname = "r"').digest
    assert one.digest != policy('[[route]]\nname = "r"\n').digest
    assert policy().routes == ()


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("threshold = 0.4", "threshold: Expected `float` >= 0.5"),
        ("threshold = 1.01", "threshold: Expected `float` <= 1"),
        ("threshold = nan", "threshold: Expected `float`"),
        ('threshold = "0.9"', "threshold: Expected `float`, got `str`"),
        ("models = []", "models: Expected `array` of length >= 1"),
        ('models = "gpt"', "models: Expected `array`"),
        ("scopes = []", "scopes: Expected `array` of length >= 1"),
        ("tiers = []", "tiers: Expected `array` of length >= 1"),
        ('tiers = ["remote"]', "tiers: Invalid enum value 'remote'"),
        ('tiers = ["remote"]', "known are local, upstream"),
        ('mode = "fuzzy"', "known are off, exact, semantic"),
        ('sources = ["x"]', "sources: Invalid enum value 'x'"),
        ('ttl = "soon"', "ttl: Expected a duration"),
        ("ttl = -1", "ttl: Expected a duration"),
        ("ttl = 2024-01-01", "ttl: Expected a duration"),
        ("max_answer = '9zb'", "max_answer: Expected a size"),
        ("finish = 1", "finish: Expected `bool`"),
        ('path = "v1"', "path: `v1` must begin with /"),
        ('tags = ["a b"]', "tags: `a b` is not one surrogate key"),
        ('tags = ["a,b"]', "tags: `a,b` is not one surrogate key"),
        ('tags = [""]', "tags: `` is not one surrogate key"),
        (f'tags = ["{"x" * 1_025}"]', "is not one surrogate key"),
        (f'tags = ["{"é" * 513}"]', "is not one surrogate key"),
        ("treshold = 0.9", "treshold: unknown key, did you mean `threshold`?"),
    ],
)
def test_each_error_names_file_and_key(line: str, says: str) -> None:
    [found] = problems(f'[[route]]\nname = "r"\n{line}')
    assert found.startswith("1.toml: route[1].")
    assert says in found


def test_all_errors_of_all_files_at_once() -> None:
    first = """
        [[route]]
        name = "a"
        threshold = 2
        path = "x"
        tags = ["a b", "c"]
        upstreams = ["nope"]
        [[route]]
        models = []
    """
    found = problems(first, '[[route]]\nname = "a"\n[rout]\n', "= broken", upstreams=("openai",))
    assert {problem[: problem.rindex(".") if "[" in problem else None].split(" ")[0] for problem in found}
    expected = [
        "1.toml: route[1].threshold: ",
        "1.toml: route[1].path: ",
        "1.toml: route[1].tags: `a b`",
        "1.toml: route[1].upstreams: there is no upstream `nope`",
        "1.toml: route[2].models: ",
        "1.toml: route[2].name: required",
        "2.toml: rout: unknown key",
        "2.toml: route[1].name: `a` is also the name of 1.toml: route[1]",
        "3.toml: not TOML: ",
    ]
    missing = [start for start in expected if not any(problem.startswith(start) for problem in found)]
    assert missing == []
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"a = " + b"[" * 100_000, b"a = " + b"9" * 5_000, b"route = 5", b"[route]\nname = 'x'", b"route = [5]",
     b"[[route]]\nname = 5", b"[[route]]\nname = 'a'\nupstreams = 5\ntags = 5\npath = 5", b"a = 1979-13-99"],
)  # fmt: skip
def test_a_hostile_file_is_a_list_of_problems(content: bytes) -> None:
    with pytest.raises(InvalidPolicy) as found:
        parse_policy({"x.toml": content}, ("openai",))
    assert all(problem.startswith("x.toml: ") for problem in found.value.problems)


def test_upstreams_are_checked_only_where_they_are_known() -> None:
    text = '[[route]]\nname = "r"\nupstreams = ["opnai"]'
    assert policy(text).routes[0].upstreams == ("opnai",)
    assert policy(text, upstreams=("opnai",)).routes[0].upstreams == ("opnai",)
    assert problems(text, upstreams=("openai",)) == ["1.toml: route[1].upstreams: there is no upstream `opnai`"]
