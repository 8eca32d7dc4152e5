"""`python -m cupola_transpiler` is the `cupola` command."""

import sys

from cupola_transpiler.cli import main

if __name__ == "__main__":
    sys.exit(main())
