"""`python -m foldlog` is the same as `foldlog`."""

import sys

from foldlog.command import main

sys.exit(main())
