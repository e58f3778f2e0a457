"""What the command-line tools share: logging, and errors as one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from mf_plugin.errors import InputError, RunFailed
from mf_plugin.extras import MissingExtra


def run(main: Callable[[], int | None]) -> None:
    """Run a tool's ``main`` and exit with its code.

    Bad input, a run that cannot go on, a missing extra and errors of the file system become one
    line on stderr and exit code 2; Ctrl-C exits with 130. Any other exception is a defect and keeps
    its traceback.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        code = main()
    except (InputError, RunFailed, MissingExtra, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to go on\n")
        sys.exit(130)
    sys.exit(code or 0)
