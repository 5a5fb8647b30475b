"""How a program ends: whatever goes wrong is one line on the standard error output, and an exit code."""

from __future__ import annotations

import os
import re
import sys
from typing import Final, NoReturn

import click

from wireguard_mesh.cli.entry import INTERRUPTED
from wireguard_mesh.model.errors import MeshError

FAILED: Final = 1
# Of a database's URL where none belongs, which click repeats; in what we say ourselves there is none.
_PASSWORD: Final = re.compile(r"(postgres(?:ql)?://[^:/?@]*:).*(@)|(password=)[^&\s'\"]*", re.IGNORECASE)
_HIDDEN: Final = r"\1\3...\2"


def run(command: click.Command, program: str) -> NoReturn:
    """Run a command line to its end."""
    try:
        code = command.main(prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        _complain(program, error.format_message())
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _complain(program, error.format_message())
        sys.exit(FAILED)
    except MeshError as error:
        _complain(program, str(error))
        sys.exit(FAILED)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough; there is nothing to flush to at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:  # a fault of ours: a person gets one line, whoever looks into it gets the rest by debug
        if os.environ.get("VPN_DEBUG"):
            raise
        _complain(program, f"internal fault: {type(error).__name__}: {error}; for details set VPN_DEBUG=1")
        sys.exit(FAILED)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(program: str, text: str) -> None:
    click.echo(f"{program}: {_PASSWORD.sub(_HIDDEN, ' '.join(text.split()))}", err=True)
