-- Once, in the empty database of signald, by a superuser:
--   psql -v owner_password=… -v server_password=… -v auditor_password=… -f roles.sql "$DATABASE"
--
-- Three roles. The owner changes the schema (`signald migrate`) and is used for nothing else; the server
-- may add rows to the audit and read it, no more; the auditor reads the audit alone. So neither the server
-- nor who takes it over can change what was written: the triggers that forbid it belong to the owner.
CREATE ROLE signald_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE signald LOGIN PASSWORD :'server_password';
CREATE ROLE signald_auditor LOGIN PASSWORD :'auditor_password';

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO signald_owner;
GRANT USAGE ON SCHEMA public TO signald, signald_auditor;
