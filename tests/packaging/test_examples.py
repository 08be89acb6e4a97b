"""The owner's examples work as they are, and none of them is in force by accident."""

import re
from pathlib import Path

import pytest

from edgecache.core.entry import Scope, Source
from edgecache.core.policy import Mode, Policy, Tier, parse_policy
from edgecache.policy_book import DEFAULT, read_policies

FOLDER = Path(__file__).parents[2] / "policies"
EXAMPLES = sorted(FOLDER.glob("*.example"))
CHAT = "/v1/chat/completions"


def example(name: str, upstreams: tuple[str, ...] = ()) -> Policy:
    file = f"{name}.toml.example"
    return parse_policy({file: (FOLDER / file).read_bytes()}, upstreams or None)


def chosen(policy: Policy, model: str, scope: str = "local") -> str:
    route = policy.choose(CHAT, model, Scope(scope))
    return route.name if route is not None else "none"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_has_no_mistakes_and_says_what_it_is(path: Path) -> None:
    assert path.name.endswith(".toml.example")
    assert path.read_text().startswith("# ")
    assert parse_policy({path.name: path.read_bytes()}).routes


def test_the_readme_names_every_example() -> None:
    named = re.findall(r"^\| `(\S+\.example)`", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(named) == [path.name for path in EXAMPLES]


def test_the_folder_as_it_is_leaves_the_default_in_force() -> None:
    tracked = [path for path in FOLDER.iterdir() if not path.name.endswith(".toml")]
    assert {path.name for path in tracked} >= {"README.md", "default.toml.example"}
    assert (FOLDER / "default.toml.example").read_bytes() == read_policies(FOLDER / "nothing-here")[DEFAULT]


def test_support_desk() -> None:
    policy = example("support-desk")
    assert chosen(policy, "gpt-4o-mini") == "support"
    assert chosen(policy, "gpt-4o-mini", "token:support-staff") == "support-drafts"
    assert chosen(policy, "o3") == "everything-else"
    support = next(route for route in policy.routes if route.name == "support")
    assert support.mode is Mode.SEMANTIC
    assert support.request_tags
    assert support.stale_if_error > 0


def test_several_providers() -> None:
    policy = example("several-providers", ("openai", "inhouse"))
    assert chosen(policy, "gpt-5-mini", "token:agent-7") == "agents"
    assert chosen(policy, "gpt-5-mini") == "openai"
    assert chosen(policy, "qwen3") == "inhouse"
    assert chosen(policy, "fast") == "fast"


def test_documents() -> None:
    policy = example("documents", ("docs",))
    page = policy.choose("/handbook/returns", "", Scope("local"))
    assert page is not None and page.mode is Mode.HTTP
    assert page.stale_if_error > page.stale_while_revalidate > 0
    assert (page.invalidate, page.when_blind, page.request_directives) == ("all", "serve-stale", False)
    assert page.told == ("x-forwarded-proto",)


def test_local_first() -> None:
    policy = example("local-first")
    local, large = policy.routes
    assert local.tiers == (Tier.LOCAL, Tier.UPSTREAM)
    assert local.serves(Source.UPSTREAM) and local.serves(Source.LOCAL)
    assert not large.serves(Source.LOCAL)
