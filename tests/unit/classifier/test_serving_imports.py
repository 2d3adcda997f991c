from __future__ import annotations

import subprocess
import sys


def test_serving_loads_neither_scikit_learn_nor_scipy() -> None:
    program = "import sys, services.classifier.bootstrap; print(sorted({'sklearn', 'scipy', 'joblib'} & set(sys.modules)))"

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"
