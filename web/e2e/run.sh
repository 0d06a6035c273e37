#!/bin/sh
# Runs Playwright. As root in a network namespace of its own: browsers then find no address but
# loopback, so media never touches a real network. Arguments go to `playwright test`.
set -eu
cd "$(dirname "$0")/.."
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1
if [ "$(id -u)" = 0 ] && unshare -n ip link set lo up 2>/dev/null; then
	exec unshare -n sh -c 'ip link set lo up && exec node_modules/.bin/playwright test "$@"' sh "$@"
fi
exec node_modules/.bin/playwright test "$@"
