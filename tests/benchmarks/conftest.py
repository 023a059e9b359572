"""Puts the benchmarks' own packages on the path, as running their script does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
