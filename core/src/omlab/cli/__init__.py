"""The command line: `omlab`. Each command is a thin layer over a function of `omlab.api`."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; exit status 0: all done, 1: some failed, 2: nothing could be started."""
    from omlab.cli.app import build
    from omlab.errors import OmlabError

    try:
        build()(prog_name="omlab")
    except OmlabError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    sys.exit(0)
