"""Subject ids that name nobody: official opaque codes stay as they are, anything else becomes a salted hash.

The salt is drawn once for each installation and stored, readable by its owner only, in
`$XDG_CONFIG_HOME/fas-reference/salt` (default `~/.config/…`). The environment variable `FAS_REFERENCE_SALT`
or `Options.salt` replaces it, for instance where two installations must give the same ids.
"""

import hashlib
import hmac
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from data_manifests.adapters.common import Options
from data_manifests.errors import BadInput

VARIABLE = "FAS_REFERENCE_SALT"
_OPAQUE = re.compile(r"[A-Za-z]{0,3}[0-9]{1,5}")  # a counter, too short for a date or a name


def salt_file() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "fas-reference" / "salt"


def _installed_salt() -> bytes:
    """This installation's salt, drawn on first use. Raises `BadInput` when it cannot be read or written."""
    path = salt_file()
    try:
        if not path.exists():
            _draw(path)
        salt = path.read_bytes()
    except OSError as e:
        raise BadInput(f"{path}: cannot hold the salt of subject ids ({e.strerror}); set {VARIABLE} instead") from None
    if not salt:
        raise BadInput(f"{path}: is empty; remove it, so that a new salt is drawn")
    return salt


def _draw(path: Path) -> None:
    """Draw the salt. Writing elsewhere and linking puts the whole file in place or none, and never replaces one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f".salt-{os.getpid()}")
    with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        f.write(secrets.token_hex(32))
        f.flush()
        os.fsync(f.fileno())
    try:
        with suppress(FileExistsError):
            path.hardlink_to(own)
    finally:
        own.unlink()


def subject_code(code: str, options: Options) -> str:
    """`code` where it is an opaque counter such as `1015` or `p01`, else `x` and 16 letters from its HMAC-SHA-256
    under the salt. Raises `BadInput` when the salt can be neither read nor drawn."""
    if _OPAQUE.fullmatch(code):
        return code
    salt = options.salt or os.environ.get(VARIABLE, "").encode() or _installed_salt()
    digest = hmac.new(salt, code.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    # Letters only: a run of digits could be mistaken for a date.
    return "x" + digest[:16].translate(str.maketrans("0123456789", "ghijklmnop"))
