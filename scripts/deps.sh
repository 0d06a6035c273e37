#!/usr/bin/env bash
# Sees to what the tests need beyond Go and Node: as root on Debian or Ubuntu it installs what is missing,
# otherwise it says in one line what is missing, and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

has() { command -v "$1" >/dev/null 2>&1; }
# PostgreSQL's server programs are not in PATH on Debian.
has_postgres() { has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
# Playwright's own counts as well: Ubuntu has Chromium only as a snap, which does not run in containers.
has_browser() {
	has chromium || has google-chrome || has google-chrome-stable ||
		compgen -G "${PLAYWRIGHT_BROWSERS_PATH:-${HOME:-}/.cache/ms-playwright}/chromium-*" >/dev/null
}
# Ubuntu has this, too, only as a snap; its test is skipped there, and says so.
has_firefox() { has firefox-esr || has firefox || is_ubuntu; }
is_ubuntu() { grep -qs '^ID=ubuntu' /etc/os-release; }
has_cjk() { compgen -G '/usr/share/fonts/*/noto/Noto*CJK*' >/dev/null || { has fc-list && [ -n "$(fc-list :lang=zh-cn)" ]; }; }

has go || { printf 'Go is missing: https://go.dev/doc/install\n' >&2; exit 1; }
node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null ||
	{ printf 'Node 20 or newer is missing: https://nodejs.org/\n' >&2; exit 1; }

missing=()
has gcc || missing+=(gcc libc6-dev)
has_postgres || missing+=(postgresql)
has redis-server || missing+=(redis-server)
has sqlite3 || missing+=(sqlite3)
{ has nginx || [ -x /usr/sbin/nginx ]; } || missing+=(nginx)
has_browser || is_ubuntu || missing+=(chromium)
has_firefox || missing+=(firefox-esr)
has_cjk || missing+=(fonts-noto-cjk)
has ip || missing+=(iproute2)
has openssl || missing+=(openssl)
has caddy || missing+=(caddy)
has promtool || missing+=(prometheus)
has systemd-analyze || missing+=(systemd)
{ has unshare && has setpriv; } || missing+=(util-linux)

browser_from_playwright=(npm --prefix web exec -- playwright install chromium)
if ! has_browser && is_ubuntu; then
	if [ "$(id -u)" -ne 0 ]; then
		printf 'Missing, please run: make page && sudo npm --prefix web exec -- playwright install-deps chromium && %s\n' \
			"${browser_from_playwright[*]}" >&2
		[ ${#missing[@]} -gt 0 ] || exit 1
	else
		make --no-print-directory page
		printf '    installing Chromium with Playwright\n'
		"${browser_from_playwright[@]}" --with-deps
	fi
fi

if [ ${#missing[@]} -eq 0 ]; then
	printf '    nothing is missing\n'
	exit 0
fi
if ! has apt-get; then
	printf 'Missing, please install: %s\n' "${missing[*]}" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	printf 'Missing, please run: sudo apt-get update && sudo apt-get install -y --no-install-recommends %s\n' "${missing[*]}" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
policy=
trap 'rm -f "$log" $policy' EXIT
apt() {
	apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1 && return
	tail -n 20 "$log" >&2
	printf 'apt-get %s did not work\n' "$*" >&2
	exit 1
}
install_packages() { apt install -y --no-install-recommends "$@"; }

# The tests start private servers. Packages shall not start the machine's own on top of that, now (policy-rc.d), nor
# make a database cluster that a boot would start (createcluster.conf).
if [ ! -e /usr/sbin/policy-rc.d ]; then
	policy=/usr/sbin/policy-rc.d
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
fi

printf '    installing with apt: %s\n' "${missing[*]}"
apt update
if ! has_postgres; then
	install_packages postgresql-common
	sed -i 's/^#\?[[:space:]]*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
fi
install_packages "${missing[@]}"
