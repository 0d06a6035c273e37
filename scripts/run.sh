#!/usr/bin/env bash
# Starts bin/signald for one's own machine. What the environment says already, holds.
set -euo pipefail
cd "$(dirname "$0")/.."

export SIGNALD_LISTEN=${SIGNALD_LISTEN:-127.0.0.1:8080}
export SIGNALD_TLS=${SIGNALD_TLS:-off}
export SIGNALD_DATABASE_URL=${SIGNALD_DATABASE_URL:-sqlite:data/signald.db}
mkdir -p data

if [ -z "${SIGNALD_GEOIP_DB+set}" ]; then
	shopt -s nullglob
	files=(data/geo/*.mmdb)
	if [ ${#files[@]} -gt 0 ]; then
		SIGNALD_GEOIP_DB=$(IFS=, && printf '%s' "${files[*]}")
		export SIGNALD_GEOIP_DB
	fi
fi

printf '==> Starting bin/signald serve (Ctrl-C ends it)\n'
exec bin/signald serve "$@"
