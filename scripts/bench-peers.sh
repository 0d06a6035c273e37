#!/usr/bin/env bash
# bench-peers.sh PEER-URL [ARGUMENT...]: measures our transport and signald beside a plain Socket.IO server on this
# machine, in turns, and writes the table of ratios to bench/peers.md. More arguments go to signload compare.
#
# The peer answers join(room, ack), and sends what is said by say(room, data) as msg(data) to the others in the room.
# If it answers the ack of a say, too, give --peer-acks: then signald's relay is compared with that. Start it just
# before, or its memory cannot be compared. It takes a quarter of an hour; --rounds 1 --duration 4s --heavy 1000 for a look.
set -euo pipefail
cd "$(dirname "$0")/.."

peer=${1-}
[ -n "$peer" ] || { printf 'Which peer? make bench-peers PEER=http://127.0.0.1:PORT\n' >&2; exit 2; }
shift
. scripts/servers.sh

mkdir -p bench
go build -o "$folder/benchpeer" ./internal/benchpeer
ours=$(free_port)
"$folder/benchpeer" "127.0.0.1:$ours" >"$folder/benchpeer.log" 2>&1 &
pids+=($!)
await "$ours" "$!"
port=$(free_port)
start_signald "$port"
bin/signload compare --ours "http://127.0.0.1:$ours" --peer-url "$peer" --signald "http://127.0.0.1:$port" --markdown bench/peers.md "$@"
printf '==> Written to bench/peers.md\n'
