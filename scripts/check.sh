#!/usr/bin/env bash
# What can be said about the code without running it, ending at the first complaint.
set -euo pipefail
cd "$(dirname "$0")/.."
start=$SECONDS
step=scripts/step.sh

formatted() {
	local files
	files=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r gofmt -l)
	[ -z "$files" ] && return
	printf 'gofmt would change:\n%s\n' "$files"
	return 1
}

# Paths of somebody's machine have no place in what others read.
no_machine_paths() {
	local status=0
	git grep -nIE '(^|[^A-Za-z0-9_.*~/-])/(work|root)/' -- . || status=$?
	[ "$status" -eq 1 ] # nothing found; 0 = found, more = git grep did not work
}
export -f formatted no_machine_paths

$step 'gofmt' bash -c formatted
$step 'go vet' go vet ./...
$step 'Import directions' go test -count=1 ./internal/archtest
$step 'golangci-lint (the first time compiles it, which takes minutes)' \
	go tool -modfile=tools/go.mod golangci-lint run --allow-serial-runners ./...
$step 'Biome' npm --prefix web run --silent lint
$step 'tsc' npm --prefix web run --silent typecheck
$step 'No machine paths in committed text' bash -c no_machine_paths
printf '==> All checks passed in %d s\n' "$((SECONDS - start))"
