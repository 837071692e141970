"""`python -m homolog` is the command `homolog`."""

import sys

from homolog.cli.main import main

sys.exit(main())
