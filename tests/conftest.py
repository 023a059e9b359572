"""What tests share: the folder of real models, and where it is not, a reason to skip."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Examples run sessions and compile kernels' plans on whatever machine this is: how long one takes says nothing.
settings.register_profile("onnxcomp", deadline=None)
settings.load_profile("onnxcomp")

SHARED = Path(__file__).parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes comes first: at the end one process would be left alone with it."""
    items.sort(key=lambda item: "large" not in item.keywords)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    """What tests find out is not kept for the user, nor the other way round; for each other it is."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder if worker_id == "master" else folder.parent  # a worker's own is within that of them all
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real trained models and labelled data."""
    if not (SHARED / "models").is_dir():
        pytest.skip("../shared/models, the real trained networks, is not here")
    return SHARED
