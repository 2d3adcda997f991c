"""What all fault tests share."""

from __future__ import annotations

import pytest

FAULT = [
    pytest.mark.fault,
    # On a machine that has much else to do, starting a service takes not 2 s but 15.
    pytest.mark.timeout(900),
    # The Kafka client leaves sockets to the garbage collector whose connection was refused.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
