#!/usr/bin/env bash
# The Python environment of this checkout: .venv with the pinned dependencies and the four packages, editable.
# Called by make when the lock file or a package's pyproject.toml is newer than what was installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '%s\n' "$*" >&2; }

python=${PYTHON3:-python3}
command -v "$python" >/dev/null || { say "error: no $python here; install Python 3.11 or newer (or set PYTHON3)"; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    say "error: $("$python" --version) is too old; Python 3.11 or newer is needed (set PYTHON3 to name another)"
    exit 1
}
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing python3-venv (about 20 seconds) ..."
        { apt-get update -q && apt-get install -y -q python3-venv; } >&2
    else
        say "error: $python has no venv module; install it (Debian: apt-get install python3-venv)"
        exit 1
    fi
fi
say "Python environment in .venv (about a minute) ..."
began=$SECONDS
[ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || "$python" -m venv --clear .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    -e ./crds -e ./operator -e ./node-agent -e ./cli
touch .venv/.ready
say "Python environment ready after $((SECONDS - began)) s"
