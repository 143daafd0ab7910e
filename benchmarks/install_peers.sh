#!/bin/sh
# Install the programs that the benchmark measures beside ours, where they are missing (Debian, Ubuntu).
# None of them is started as a service: the benchmark runs its own copies on free loopback ports.
set -eu

missing=""
for pair in redis-server:redis-server nginx:nginx-light beanstalkd:beanstalkd cc:gcc; do
    program=${pair%%:*}
    PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"

# Libraries for comparison, in an environment of their own: their dependencies are none of ours.
here=$(cd "$(dirname "$0")" && pwd)
if [ ! -x "$here/.peers/bin/python" ]; then
    python3 -m venv "$here/.peers"
    "$here/.peers/bin/python" -m pip install --quiet --disable-pip-version-check \
        'celery[redis]==5.7.0' 'huey==3.5.4' 'dramatiq[redis]==2.2.1' 'pgqueuer[asyncpg]==1.6.0' \
        'uvloop==0.23.0'
fi

[ -n "$missing" ] || { echo "all peers are installed"; exit 0; }

run=""
[ "$(id -u)" -eq 0 ] || run=sudo
$run apt-get update -qq
# A policy of 101 keeps the packages from starting their services.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $run tee "$policy" >/dev/null
    $run chmod +x "$policy"
    trap '$run rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086  # a list of words
$run apt-get install -y -qq --no-install-recommends libc6-dev $missing
