#!/bin/sh
# Chromium for the tests that look at rendered pages, reports and documentation: installed with
# apt-get where it is missing and this is root. Asks nothing and never fails; without a browser those
# tests are skipped.
set -u

for name in chromium google-chrome chrome; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done
ls -d "${PLAYWRIGHT_BROWSERS_PATH:-${HOME:-/}/.cache/ms-playwright}"/chromium* >/dev/null 2>&1 && exit 0

skipped() {
  echo "$1, so the tests of rendered pages will be skipped." \
    "Install chromium (Debian: apt-get install chromium), or Google Chrome, to run them."
  exit 0
}

[ "$(id -u)" = 0 ] || skipped "There is no Chromium, and only root may install it"
command -v apt-get >/dev/null 2>&1 || skipped "There is no Chromium, and no apt-get to install it"

apt() {
  DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq -o Acquire::Retries=1 \
    -o DPkg::Lock::Timeout=60 "$@" </dev/null >/dev/null 2>&1
}

echo "Installing Chromium for the tests of rendered pages"
# Without a font there is no text to look at. The lists of packages are often missing in images.
set -- install -y --no-install-recommends chromium fonts-dejavu-core
apt "$@" || { apt update && apt "$@"; } || skipped "Chromium could not be installed"
