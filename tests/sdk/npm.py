"""The npm `openai` SDK: installed once for this machine, outside of the repository."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import platformdirs
import pytest
from filelock import FileLock

PACKAGE: Final = "openai@6"
SCRIPT: Final = Path(__file__).with_name("client.mjs")
INSTALL_S: Final = 120.0
RUN_S: Final = 60.0


def program(name: str) -> str | None:
    """In the PATH, or beside the interpreter, where the Python package of Node.js puts it."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def install() -> Path:
    """The folder that holds `node_modules`; skips the tests, saying why, where it cannot be made."""
    npm, node = program("npm"), program("node")
    if npm is None or node is None:
        pytest.skip("no Node.js: npm and node are not in the PATH")
    folder = Path(platformdirs.user_cache_dir("edgecache-tests")) / PACKAGE.replace("@", "-")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "node_modules" / "openai" / "package.json").is_file():
            _install(npm, folder)
    return folder


def _install(npm: str, folder: Path) -> None:
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {PACKAGE} within {INSTALL_S:g} s")
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr.strip()[-300:]}")


async def run(folder: Path, base_url: str, *scenarios: str) -> Any:
    """What each scenario told, one after the other."""
    node = program("node")
    assert node is not None
    command = (node, str(SCRIPT), str(folder), base_url, *scenarios)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(RUN_S):
            told, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaint.decode()
    return json.loads(told)
