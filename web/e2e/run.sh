#!/bin/sh
# Runs Playwright. As root in a network namespace of its own, so that media never touches a real network: whatever
# is sent comes back to this host. Firefox looks for addresses only where there is a default route, and at one that is
# not loopback's. Arguments go to `playwright test`.
set -eu
cd "$(dirname "$0")/.."
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1
if [ "$(id -u)" = 0 ] && unshare -n ip link set lo up 2>/dev/null; then
	exec unshare -n sh -euc '
		ip link set lo up
		ip address add 192.0.2.1/32 dev lo
		ip route add default dev lo
		exec node_modules/.bin/playwright test "$@"' sh "$@"
fi
exec node_modules/.bin/playwright test "$@"
