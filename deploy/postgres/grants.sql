-- After every `signald migrate`, as signald_owner: what the server and the auditor may do with the tables.
-- It may be run again at any time.
BEGIN;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM signald, signald_auditor;

GRANT SELECT, INSERT ON meetings, audit_events TO signald; -- the audit: append only
GRANT SELECT, UPDATE ON meetings_head, audit_events_head TO signald; -- the chains' last links
GRANT SELECT ON audit_anchors TO signald; -- where they begin: `signald audit prune` is for signald_owner
GRANT SELECT, INSERT, UPDATE, DELETE ON meeting_state, participants, nodes, admin_sessions, webhook_events, messages, bans, waiting, admissions, attendance, chat_readers TO signald;
GRANT SELECT ON goose_db_version, cluster_secret TO signald;

GRANT SELECT ON meetings, meetings_head, audit_events, audit_events_head, audit_anchors, goose_db_version TO signald_auditor;
COMMIT;
