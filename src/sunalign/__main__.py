"""``python -m sunalign``."""

import sys

from sunalign.cli import main

if __name__ == "__main__":
    sys.exit(main())
