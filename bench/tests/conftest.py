"""The convjit that tests ask is $CONVJIT_BIN, or the release build's."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from compare_lib.places import BenchError, convjit_binary  # noqa: E402
from compare_lib.tool import Tool  # noqa: E402


@pytest.fixture(scope="session")
def tool():
    try:
        return Tool(convjit_binary(None), limit_s=120)
    except BenchError as e:
        pytest.fail(str(e), pytrace=False)
