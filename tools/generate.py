"""Generate `gen/` from `proto/`, or check that it is up to date.

python -m tools.generate            # write gen/
python -m tools.generate --check    # exit 1 when gen/ differs from what would be written
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
PROTO = ROOT / "proto"
GEN = ROOT / "gen"


def main() -> int:
    """Run the generator; returns the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        fresh = Path(directory)
        generate(fresh)
        if arguments.check:
            stale = differences(fresh, GEN)
            for path in stale:
                sys.stderr.write(f"gen/{path} is not what proto/ generates: run `make gen`\n")
            return 1 if stale else 0
        shutil.rmtree(GEN, ignore_errors=True)
        shutil.copytree(fresh, GEN)
    return 0


def generate(target: Path) -> None:
    """Write Python modules and type stubs for every file below `proto/` to `target`."""
    bundled = Path(protoc.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={bundled}",
            f"--plugin=protoc-gen-mypy={beside_python('protoc-gen-mypy')}",
            f"--plugin=protoc-gen-mypy_grpc={beside_python('protoc-gen-mypy_grpc')}",
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_out=quiet:{target}",
            f"--mypy_grpc_out=quiet:{target}",
            *sources,
        ],
    )
    if code != 0:
        sys.exit(code)
    for directory in [target / "paidan", *(path for path in (target / "paidan").rglob("*") if path.is_dir())]:
        (directory / "__init__.py").touch()


def beside_python(name: str) -> Path:
    """Path of a console script installed next to the running interpreter."""
    return Path(sys.executable).parent / name


def differences(left: Path, right: Path) -> list[str]:
    """Relative paths of files that are missing on one side or differ."""
    names = {str(p.relative_to(base)) for base in (left, right) for p in base.rglob("*.py*") if p.suffix in {".py", ".pyi"}}
    return sorted(
        name
        for name in names
        if not ((left / name).is_file() and (right / name).is_file() and filecmp.cmp(left / name, right / name, shallow=False))
    )


if __name__ == "__main__":
    sys.exit(main())
