#!/bin/sh
# Make a virtual environment from the first Python of at least 3.11 that is there.
#
#     sh scripts/make_venv.sh .venv
#
# PYTHON names another interpreter. Debian keeps the `venv` module's other half in a package of its own:
# where it is missing and apt can be used without a password, it is installed.
set -eu

target=${1:?usage: make_venv.sh DIRECTORY}

recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

python=""
for candidate in ${PYTHON:-} python3.11 python3 python3.12 python3.13; do
    if command -v "$candidate" >/dev/null 2>&1 && recent "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "no Python of 3.11 or later was found; PYTHON=/path/to/python3 names one" >&2
    exit 1
fi

if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    run=""
    [ "$(id -u)" -eq 0 ] || run="sudo -n"
    echo "Python $version cannot make environments: installing python$version-venv"
    $run apt-get update -qq
    $run apt-get install -y -qq --no-install-recommends "python$version-venv"
fi

if ! command -v curl >/dev/null 2>&1; then
    echo "the documents' commands, which the tests run, use curl: installing it"
    run=""
    [ "$(id -u)" -eq 0 ] || run="sudo -n"
    $run apt-get update -qq
    $run apt-get install -y -qq --no-install-recommends curl
fi

exec "$python" -m venv "$target"
