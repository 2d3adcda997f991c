"""Marks of the fault tests."""

from __future__ import annotations

import pytest

ignore_leaked_sockets = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
"""The Kafka client leaves sockets to the garbage collector whose connection was refused."""
