"""`python -m diffopt_widgets`: the command `diffopt`, for where it is not on the path."""

import sys

from diffopt_widgets.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
