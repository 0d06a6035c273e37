#!/usr/bin/env bash
# loadtest.sh SOCKETS [ARGUMENT...]: starts bin/signald on a free port of loopback, with a database of its own and no
# limits, and puts so many sockets of bin/signload on it. More arguments go to signload run; --scenario, say.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/servers.sh

sockets=$1
shift
port=$(free_port)
start_signald "$port"
per=5
[ "$sockets" -ge 5 ] || per=$sockets
status=0
bin/signload run --url "http://127.0.0.1:$port" --meetings $((sockets / per)) --per-meeting "$per" --duration 30s "$@" || status=$?
[ "$status" -eq 0 ] || { printf 'The server has said:\n'; tail -n 20 "$folder/signald.log"; } >&2
exit "$status"
