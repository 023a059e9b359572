"""What the benchmarks measure, a file each; networks and their zeros come from models/, put on the path here."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"

sys.path.append(str(ROOT / "models"))
