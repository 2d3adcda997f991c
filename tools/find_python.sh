#!/bin/sh
# Print the path of a Python that this project supports and that can make virtual environments.
#
#   sh tools/find_python.sh         $PYTHON if set, else the first that fits of python3.13, python3.12, python3.11, python3
#   sh tools/find_python.sh 3.12    a Python 3.12
#
# Versions that pyenv has installed come after those on PATH. Exit code 1: there is none; standard error says what to install.
set -u

supported="3.13 3.12 3.11"
wanted="${1:-$supported}"
reasons=""

# Print the path of interpreter $1 if it fits; else add the reason to $reasons.
fits() {
    found=$("$1" -c '
import sys
version = "%d.%d" % sys.version_info[:2]
if version not in sys.argv[1].split():
    sys.exit("it is Python " + version)
try:
    import ensurepip, venv
except ImportError:
    sys.exit("it lacks venv (Debian: apt-get install python%s-venv)" % version)
print(sys.executable)
' "$wanted" 2>&1) && { printf '%s\n' "$found"; return 0; }
    reasons="$reasons
  $1: $(printf '%s' "$found" | tail -n 1)"
    return 1
}

if [ $# -eq 0 ] && [ -n "${PYTHON:-}" ]; then
    fits "$PYTHON" && exit 0
else
    for version in $wanted; do
        command -v "python$version" >/dev/null && fits "python$version" && exit 0
    done
    command -v python3 >/dev/null && fits python3 && exit 0
    for version in $wanted; do
        for candidate in "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$version".*/bin/python3; do
            [ -x "$candidate" ] && fits "$candidate" && exit 0
        done
    done
fi

if [ $# -gt 0 ]; then
    echo "there is no Python $1 with venv here" >&2
else
    cat >&2 <<EOF
Python 3.11, 3.12 or 3.13 with venv is needed. Tried:${reasons:- nothing, since there is no python3 on PATH}
Install one:
  Debian 12:    apt-get install python3.11 python3.11-venv
  Debian 13:    apt-get install python3.13 python3.13-venv
  Ubuntu 24.04: apt-get install python3.12 python3.12-venv
or name one: make PYTHON=/path/to/python3.12 …
EOF
fi
exit 1
