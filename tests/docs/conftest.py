"""Where the modules are that tests of documents share with others."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "worker"))  # for its `processes`
