#!/usr/bin/env bash
# step.sh HEADING COMMAND...: says what is being done, does it, says how long it took.
set -euo pipefail

heading=$1
shift
printf '==> %s\n' "$heading"
start=$SECONDS
status=0
"$@" || status=$?
if [ "$status" -ne 0 ]; then
	printf '==> FAILED after %d s (exit code %d): %s\n' "$((SECONDS - start))" "$status" "$heading" >&2
	exit "$status"
fi
printf '    done in %d s\n' "$((SECONDS - start))"
