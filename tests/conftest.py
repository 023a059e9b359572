"""What tests share: the folder of real models, and where it is not, a reason to skip."""

from pathlib import Path

import pytest
from hypothesis import settings

# Examples run sessions and compile kernels' plans on whatever machine this is: how long one takes says nothing.
settings.register_profile("onnxcomp", deadline=None)
settings.load_profile("onnxcomp")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real trained models and labelled data."""
    if not (SHARED / "models").is_dir():
        pytest.skip("../shared/models, the real trained networks, is not here")
    return SHARED
