#!/bin/sh
# Check and build the web page: dashboard/ into src/taskqueuex/dashboard/static/, which the server serves.
#
#     sh scripts/build_dashboard.sh
#
# Needs Node 20.19 or later with npm; where there is none and apt can be used without a password, Debian's are
# installed. Packages come at the versions of dashboard/package.json, once for each change of it.
set -eu

cd "$(dirname "$0")/../dashboard"

if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    run=""
    [ "$(id -u)" -eq 0 ] || run="sudo -n"
    echo "the web page is built by Node: installing nodejs and npm"
    $run apt-get update -qq
    $run apt-get install -y -qq --no-install-recommends nodejs npm
fi
if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
    echo "the web page needs Node 20.19 or later, and this is $(node --version)" >&2
    exit 1
fi

# A copy of what the packages were installed for.
if ! cmp -s package.json node_modules/installed.json; then
    npm install --no-package-lock --no-audit --no-fund --loglevel=error
    cp package.json node_modules/installed.json
fi

npm run --silent check
npm run --silent build -- --logLevel warn
