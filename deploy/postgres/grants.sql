-- After every `signald migrate`, as signald_owner: what the server and the auditor may do with the tables.
-- It may be run again at any time.
BEGIN;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM signald, signald_auditor;

GRANT SELECT, INSERT ON meetings TO signald; -- the audit: append only
GRANT SELECT, UPDATE ON meetings_head TO signald; -- the chain's last link
GRANT SELECT, INSERT, UPDATE, DELETE ON meeting_state, participants, nodes, webhook_events, messages TO signald;
GRANT SELECT ON goose_db_version TO signald;

GRANT SELECT ON meetings, meetings_head, goose_db_version TO signald_auditor;
COMMIT;
