"""All nodes of a store key their digests alike, or one of them would never find the others' answers."""

from pathlib import Path

import pytest

from edgecache.errors import InvalidSettings
from edgecache.testing.node import running_node


async def test_a_node_with_another_secret_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path, secret="the first secret of this store"):
        pass
    with pytest.raises(InvalidSettings, match="secret: not the one this store was made with"):
        async with running_node(tmp_path, secret="another secret of that length"):
            pass
    async with running_node(tmp_path, secret="the first secret of this store"):
        pass


async def test_a_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    async with running_node(tmp_path, secret="") as first:
        made = await first.app.storage.registry.values("secret")
    async with running_node(tmp_path, secret="") as second:
        assert await second.app.storage.registry.values("secret") == made
