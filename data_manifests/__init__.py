"""Licensed data sets and stand-in data: what is published of them, their indexes and protocols, and their images."""

import signal
import sys

# As the first thing of `python -m` with one of this project's commands: Ctrl-C ends it at once and without a word as
# long as it only loads libraries, in which an exception has strange consequences. `cli_errors` has it said later.
_COMMANDS = ("data_manifests", "paper_tables", "reference")
_is_one = sys.argv[:1] == ["-m"] and any(word.partition(".")[0] in _COMMANDS for word in sys.orig_argv)
if _is_one and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
