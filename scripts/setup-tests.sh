#!/usr/bin/env bash
# What the tests can use beyond Node: an upstream MLIR parser, from jaxlib, in .venv (ignored by git; `rm -r .venv` undoes it),
# and binutils, whose assembler checks ours (installed by apt where that needs no password).
# Without them those tests are skipped and say so. Ingot itself never needs either.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v as >/dev/null || ! command -v objcopy >/dev/null; then
  if [ "$(id -u)" != 0 ] || ! apt-get install --yes --quiet binutils >/dev/null 2>&1; then
    echo "setup-tests: no binutils (as, objcopy); tests that need them will be skipped" >&2
  fi
fi

jaxlib=0.10.2 # wheels for Python 3.11 to 3.14 on Linux, macOS and Windows

ready() {
  [ -x .venv/bin/python ] && .venv/bin/python -c "import jaxlib.version, sys; sys.exit(jaxlib.version.__version__ != '$jaxlib')" 2>/dev/null
}

if ready; then exit 0; fi
python="${PYTHON:-python3}"
if ! "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
  echo "setup-tests: no Python 3.11 to 3.14 with venv ($python); tests that need jaxlib will be skipped" >&2
  exit 0
fi
rm -rf .venv
"$python" -m venv .venv
# Its MLIR parser needs none of jaxlib's dependencies.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps "jaxlib==$jaxlib"
ready
