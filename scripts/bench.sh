#!/usr/bin/env bash
# Runs the Go benchmarks and compares them with the committed baseline. To make a new baseline, on a quiet machine:
#   make bench && cp bench/new.txt docs/bench/baseline.txt
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p bench
# shellcheck disable=SC2016 # for the inner bash to expand
scripts/step.sh "Benchmarks matching '${BENCH:=.}', ${COUNT:=6} times each, into bench/new.txt" \
	bash -c 'set -o pipefail; go test -run "^$" -bench "$0" -benchmem -count "$1" ./... | tee bench/new.txt' "$BENCH" "$COUNT"
if [ -f docs/bench/baseline.txt ]; then
	scripts/step.sh 'Comparing with docs/bench/baseline.txt' \
		go tool -modfile=tools/go.mod benchstat docs/bench/baseline.txt bench/new.txt
else
	printf 'no docs/bench/baseline.txt to compare with\n'
fi
