"""The command line: what it takes is in `commands`, what a command does in a module of its own."""

from __future__ import annotations

import sys

from coe.cli.commands import app
from coe.errors import CoEError, ConfigError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; errors of ours are printed as sentences, without a traceback."""
    try:
        app()
    except ConfigError as error:
        print(f"coe: {error.message}", file=sys.stderr)
        raise SystemExit(2) from None
    except CoEError as error:
        print(f"coe: {error.message}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
