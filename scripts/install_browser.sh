#!/bin/sh
# Install the browser that the tests of the web page are driven in: Debian's chromium, and a font to draw with.
#
#     sh scripts/install_browser.sh
#
# Does nothing where there is one.
set -eu

[ -x /usr/bin/chromium ] && exit 0

run=""
[ "$(id -u)" -eq 0 ] || run="sudo -n"

echo "installing: chromium"
$run apt-get update -qq
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
