#!/bin/sh
# The postgres image runs this once, when it makes the database.
set -eu
psql -v ON_ERROR_STOP=1 -U postgres -d "$POSTGRES_DB" \
	-v owner_password="$SIGNALD_OWNER_PASSWORD" -v server_password="$SIGNALD_SERVER_PASSWORD" \
	-v auditor_password="$SIGNALD_AUDITOR_PASSWORD" -f /sql/roles.sql
