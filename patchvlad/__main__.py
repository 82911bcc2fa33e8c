"""python -m patchvlad"""

import sys

from .commands.start import patchvlad

sys.exit(patchvlad())
