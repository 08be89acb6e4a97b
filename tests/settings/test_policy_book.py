"""The policy in force: whose it is, and that a broken one changes nothing."""

from pathlib import Path

import pytest

from edgecache.errors import InvalidPolicy
from edgecache.policy_book import PolicyBook, read_policies


def rule(name: str) -> str:
    return f'[[route]]\nname = "{name}"\n'


def test_the_one_in_the_package_where_the_owner_has_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        book = PolicyBook(folder, ())
        assert [route.name for route in book.load().routes] == ["local", "upstream"]


def test_the_owners_files_in_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(rule("second"))
    (tmp_path / "a.toml").write_text(rule("first"))
    (tmp_path / "notes.txt").write_text("not a policy")
    assert [route.name for route in PolicyBook(tmp_path, ()).load().routes] == ["first", "second"]


def test_a_broken_file_leaves_the_old_one_in_force(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(rule("old"))
    book = PolicyBook(tmp_path, ())
    old = book.load()
    for broken in ("[[route]]\n", "not toml", '[[route]]\nname = "x"\nupstreams = ["unknown"]\n'):
        file.write_text(broken)
        with pytest.raises(InvalidPolicy, match=r"a\.toml"):
            book.load()
        assert (book.policy, book.generation) == (old, 1)
    file.write_text(rule("new"))
    assert book.load().routes[0].name == "new"
    assert book.generation == 2
    assert repr(book) == f"<PolicyBook {book.policy.digest} rules=1 generation=2>"


def test_a_folder_that_cannot_be_read_never_means_the_default(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidPolicy, match="Not a directory"):
        read_policies(tmp_path / "file")
    (tmp_path / "a.toml").mkdir()
    with pytest.raises(InvalidPolicy, match=r"a\.toml"):
        read_policies(tmp_path)
    (tmp_path / "a.toml").rmdir()
    (tmp_path / "a.toml").symlink_to(tmp_path / "gone.toml")
    with pytest.raises(InvalidPolicy, match=r"a\.toml"):
        read_policies(tmp_path)
