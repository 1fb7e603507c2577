"""`python -m x2v_quant`: the command line."""

import sys

from .cli import main

sys.exit(main())
