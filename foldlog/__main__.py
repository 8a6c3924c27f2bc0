"""`python -m foldlog` is the same as `foldlog`."""

import sys

from foldlog.cli import main

sys.exit(main())
