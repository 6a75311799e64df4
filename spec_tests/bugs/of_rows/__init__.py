"""Single bugs of the comparison rows' own mathematics, a file a row, named as in rows.toml; `blocks` has those of what
several rows share.

Each file has two lists: `SECOND`, bugs of second_implementation.py, each of which must fail in the tests of the very
equation that it breaks, and `OURS`, bugs of reference/rivals/.
"""

import importlib
import pkgutil

from spec_tests.bugs.campaign import Mutant

_FILES = [importlib.import_module(f"{__name__}.{file.name}") for file in pkgutil.iter_modules(__path__)]
SECOND: list[Mutant] = [bug for file in _FILES for bug in file.SECOND]
OURS: list[Mutant] = [bug for file in _FILES for bug in file.OURS]
