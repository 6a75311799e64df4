"""Which source files decide an artefact: one answer for run folders, caches, counts and the stand-in CLIP.

What a program computes is decided by its own text and by every file of this project that it imports, directly or
through others. Import statements are read, nothing is executed, so the question costs no torch. An artefact that
keeps this answer is never continued, or taken for current, once one of those files has changed.
"""

import ast
import hashlib
import subprocess
from functools import cache
from pathlib import Path

from data_manifests.errors import BadInput, refuse_irregular

ROOT = Path(__file__).resolve().parent.parent


@cache
def sources(module: str) -> dict[str, str]:
    """SHA-256 of the text of `module` and of every file of this project that it imports, by path below the root.

    Raises BadInput if there is no such module.
    """
    first = _file(module)
    if first is None:
        raise BadInput(f"{module}: no such module in {ROOT}; restore it from the repository")
    waiting, digests = [first], dict[str, str]()
    while waiting:
        path = waiting.pop()
        key = path.relative_to(ROOT).as_posix()
        if key in digests:
            continue
        text = path.read_bytes()
        digests[key] = hashlib.sha256(text).hexdigest()
        for node in ast.walk(ast.parse(text, filename=str(path))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            waiting += [file for name in names if (file := _file(name))]
    return digests


def module_of(file: Path) -> str:
    """The dotted name of a file of this project, whatever name it runs under (`__main__`)."""
    path = file.resolve().relative_to(ROOT).with_suffix("")
    return ".".join(path.parts[:-1] if path.name == "__init__" else path.parts)


def _file(module: str) -> Path | None:
    """A project module's file; None for a name outside the project, or inside a module."""
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def git_commit() -> str:
    """The commit this source was checked out from, `+changes` if files differ; `unknown` outside git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal. Raises BadInput for what is no regular file."""
    refuse_irregular(path, "put the file there")
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
