#!/bin/sh
# Make a virtual environment with everything that requirements.lock lists, and the project itself.
#
#   sh tools/make_venv.sh .venv            with the Python that tools/find_python.sh finds
#   sh tools/make_venv.sh .venv-3.12 3.12  with that version
#
# The file .ready in the environment says that it is whole. It is absent from the first step to the last, so that the next run
# starts over after a failed or interrupted one.
set -eu

venv="$1"
shift
python=$(sh tools/find_python.sh "$@")
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

quiet=--quiet
if [ -f "$venv/.ready" ] && [ -e "$venv/lib/python$version" ]; then
    rm -f "$venv/.ready"
else
    rm -f "$venv/.ready"
    [ "${CI:-}" = true ] || quiet=--progress-bar=on
    "$python" -m venv --clear "$venv"
fi
echo "· installing Python packages for Python $version into $venv (about a minute the first time)"
"$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes "$quiet" -r requirements.lock
"$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
# The path of the repository as the installer writes it cannot be read in the locale C when it has Chinese characters.
# Python 3.11 then ends before its first line. A path relative to the folder of this file has none.
printf '%s\n' ../../../.. ../../../../gen > "$venv/lib/python$version/site-packages/_paidan.pth"
"$venv/bin/python" -c 'import grpc, kafka, sqlalchemy, sklearn, paidan.intake.v1'
touch "$venv/.ready"
