"""python -m patchvlad"""

import sys

from .cli import main

sys.exit(main())
