"""What Slack's own types say of a message's blocks, as a JSON Schema."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = Path(__file__).parent

TYPES = "node_modules/@slack/types/dist/index.d.ts"


def generate(folder: Path) -> dict[str, Any]:
    """Install the pinned packages into a folder, and give the schema of one block.

    Needs npm, and a registry of its packages.
    """
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, folder)
    for command in (
        ["npm", "ci", "--silent", "--ignore-scripts"],
        [
            *("npx", "--no-install", "ts-json-schema-generator", "--no-type-check"),
            *("--path", TYPES, "--type", "KnownBlock", "--out", "schema.json"),
        ],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    schema: dict[str, Any] = json.loads((folder / "schema.json").read_text())
    return schema
