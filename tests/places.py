"""Where things are, for tests in any folder."""

from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent
ROOT: Final = TESTS.parent

API: Final = TESTS / "data" / "api"  # the tables and samples of the API
SAMPLES: Final = API / "samples"
