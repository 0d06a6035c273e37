#!/usr/bin/env bash
# Everything there is to test, ending at the first failure. The tests start their own PostgreSQL, Redis
# and browser, never the machine's.
set -euo pipefail
cd "$(dirname "$0")/.."
start=$SECONDS
step=scripts/step.sh

$step 'Looking for what the tests need' scripts/deps.sh
make --no-print-directory build
# The longest package first; many of its tests wait more than they compute. SQLite in Go is looked at by its own tests: without
# the race detector in it a third of the time is saved.
$step 'Go tests, with the race detector' go test -race -gcflags='modernc.org/...=-race=false' -timeout 15m -parallel 4 ./internal/e2e ./...
$step 'TypeScript tests' npm --prefix web test
$step 'Browser tests' npm --prefix web run e2e
printf '==> All tests passed in %d s\n' "$((SECONDS - start))"
