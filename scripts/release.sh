#!/usr/bin/env bash
# Builds what is released, for each platform, into release/: archives, SHA256SUMS, and what they are made of (SBOM,
# CycloneDX). Everything is built twice, the second time from a copy of the sources in another folder, and has to be the
# same. PLATFORMS says which, VERSION what it is called.
set -euo pipefail
cd "$(dirname "$0")/.."

platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/arm64}
version=${VERSION:?make release sets it}
step=scripts/step.sh
epoch=$(git log -1 --format=%ct)
out=$PWD/release
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# archive SOURCES FOLDER PLATFORM: one platform's archive, the same bytes for the same sources.
archive() {
	local sources=$1 folder=$2 platform=$3 name tree
	name=signald-$version-${platform/\//-}
	tree=$folder/$name
	mkdir -p "$tree"
	(cd "$sources" && CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false \
		-ldflags "-s -w -buildid= -X main.version=$version" -o "$tree/signald" ./cmd/signald)
	cp -R "$sources/LICENSE" "$sources/README.md" "$sources/CHANGES.md" "$sources/deploy" "$tree/"
	chmod -R u=rwX,go=rX "$tree"
	tar -C "$folder" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -cf - "$name" | gzip -9n >"$folder/$name.tar.gz"
	rm -rf "$tree"
}
export -f archive
export version epoch

same() {
	local name
	for name in "$1"/*.tar.gz; do
		cmp "$name" "$2/$(basename "$name")" || { printf '%s is not reproducible\n' "$(basename "$name")"; return 1; }
	done
}
export -f same

rm -rf "$out"
mkdir -p "$out" "$copy/out" "$copy/sources"
# With the page as it was built: it is the same for all.
git ls-files -z | tar --null -T - -cf - | tar -C "$copy/sources" -xf -
cp -R web/dist/. "$copy/sources/web/dist/"

for platform in $platforms; do
	$step "signald $version for $platform" bash -c 'set -e; archive "$@"' - "$PWD" "$out" "$platform"
	$step '    the same from another folder' bash -c 'set -e; archive "$@"' - "$copy/sources" "$copy/out" "$platform"
done
$step 'Comparing' bash -c 'set -e; same "$@"' - "$out" "$copy/out"

$step 'What the binary is made of' \
	go tool -modfile=tools/go.mod cyclonedx-gomod app -json -noserial -notimestamp -std -main cmd/signald -output "$out/signald-$version-go.cdx.json" .
npm --prefix web sbom --package-lock-only --sbom-format cyclonedx --omit dev --loglevel=error >"$out/signald-$version-page.cdx.json"

(cd "$out" && sha256sum -- *.tar.gz *.json >SHA256SUMS)
printf '==> In release/:\n'
sed 's/^/    /' "$out/SHA256SUMS"
