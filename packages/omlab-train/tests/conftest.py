"""The toys stand where worker processes, too, can import them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
