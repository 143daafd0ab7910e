#!/bin/sh
# Install what the files of deploy/ are checked with: haproxy, nginx, caddy, prometheus, systemd's tools.
#
#     sh scripts/install_deploy_tools.sh
#
# From Debian, where one is missing; does nothing otherwise. Only the programs are wanted: no service is started.
set -eu

PATH=$PATH:/usr/sbin:/sbin
policy=/usr/sbin/policy-rc.d
kept=$policy.kept-by-taskqueuex

missing=""
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need haproxy haproxy
need nginx nginx-light
need caddy caddy
need promtool prometheus
need prometheus prometheus
need systemd-analyze systemd
need openssl openssl
[ -n "$missing" ] || exit 0

run=""
[ "$(id -u)" -eq 0 ] || run="sudo -n"

# While packages are installed, invoke-rc.d asks this program whether a service may be started.
restore() {
    $run rm -f "$policy"
    if [ -e "$kept" ]; then
        $run mv "$kept" "$policy"
    fi
}
trap restore EXIT
trap 'exit 1' HUP INT TERM
if [ -e "$policy" ] && [ ! -e "$kept" ]; then # one that is kept is of a run that was killed
    $run mv "$policy" "$kept"
fi
printf '#!/bin/sh\nexit 101\n' | $run tee "$policy" >/dev/null
$run chmod 755 "$policy"

echo "installing:$missing"
$run apt-get update -qq
# shellcheck disable=SC2086  # a list of packages
$run env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing
