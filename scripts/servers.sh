# For other scripts: servers that end with them. They write into $folder, which goes too.
folder=$(mktemp -d)
pids=()

end_servers() {
	local pid
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$folder"
}
trap end_servers EXIT
trap 'exit 130' INT TERM

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
	local port
	while port=$((20000 + RANDOM % 12000)) && listens "$port"; do :; done
	printf '%s' "$port"
}

# await PORT PID: until it listens.
await() {
	local n
	for ((n = 0; n < 300; n++)); do
		listens "$1" && return
		kill -0 "$2" 2>/dev/null || break
		sleep 0.1
	done
	printf 'The server on port %s did not start:\n' "$1" >&2
	tail -n 20 "$folder"/*.log >&2
	exit 1
}

# start_signald PORT: without limits. What the environment says of the database and the log, holds.
start_signald() {
	SIGNALD_LISTEN=127.0.0.1:$1 SIGNALD_TLS=off SIGNALD_DATABASE_URL=${SIGNALD_DATABASE_URL:-sqlite:$folder/signald.db} \
		SIGNALD_RATE_LIMITS=off SIGNALD_MAX_SOCKETS=0 SIGNALD_MAX_PEERS=1000 \
		SIGNALD_LOG_LEVEL=${SIGNALD_LOG_LEVEL:-warn} bin/signald serve >"$folder/signald.log" 2>&1 &
	pids+=($!)
	await "$1" "$!"
}
