// Which tables hold a log, and what keeps even their writer from rewriting it?
// PQ1. UPDATE, DELETE and TRUNCATE of batches are refused by triggers. `kin_ledger_remove` alone
//      may delete: only rows wholly below a base that the log has stored, or of a log that was
//      never born; it checks the writer's epoch. Whoever may disable triggers (an owner or a
//      superuser) can still tamper: the check finds it, because the bytes are signed.
//
// A writer's role needs: SELECT, INSERT on kin_ledger_batch; SELECT, INSERT, UPDATE on
// kin_ledger_log; all but TRUNCATE on kin_ledger_document; EXECUTE on kin_ledger_remove.

/** Statements, one at a time; each may be repeated. */
export function postgresSchema(): readonly string[] {
  return [LOG_TABLE, BATCH_TABLE, DOCUMENT_TABLE, ...GUARDS, REMOVE];
}

const LOG_TABLE = `CREATE TABLE IF NOT EXISTS kin_ledger_log (
  log_id text PRIMARY KEY,
  epoch bigint NOT NULL CHECK (epoch > 0),
  removed_below bigint NOT NULL DEFAULT 0)`;

const BATCH_TABLE = `CREATE TABLE IF NOT EXISTS kin_ledger_batch (
  log_id text NOT NULL REFERENCES kin_ledger_log,
  first_index bigint NOT NULL CHECK (first_index >= 0),
  epoch bigint NOT NULL,
  bytes bytea NOT NULL CHECK (octet_length(bytes) > 0),
  PRIMARY KEY (log_id, first_index))`;

const DOCUMENT_TABLE = `CREATE TABLE IF NOT EXISTS kin_ledger_document (
  log_id text NOT NULL REFERENCES kin_ledger_log,
  name text NOT NULL,
  bytes bytea NOT NULL,
  PRIMARY KEY (log_id, name))`;

const GUARDS = [
  `CREATE OR REPLACE FUNCTION kin_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $body$
   BEGIN
     RAISE EXCEPTION 'the ledger only grows: % of % is refused', TG_OP, TG_TABLE_NAME
       USING ERRCODE = 'insufficient_privilege';
   END $body$`,
  // `removed_below` is only ever set in kin_ledger_remove; what it allows is checked here again.
  `CREATE OR REPLACE FUNCTION kin_ledger_guard_delete() RETURNS trigger LANGUAGE plpgsql AS $body$
   BEGIN
     IF OLD.first_index < (SELECT removed_below FROM kin_ledger_log WHERE log_id = OLD.log_id)
       AND (EXISTS (SELECT 1 FROM kin_ledger_document
              WHERE log_id = OLD.log_id AND name = 'base.bin')
         OR NOT EXISTS (SELECT 1 FROM kin_ledger_document
              WHERE log_id = OLD.log_id AND name = 'log.json'))
       AND current_user = (SELECT tableowner FROM pg_tables
              WHERE tablename = TG_TABLE_NAME AND schemaname = TG_TABLE_SCHEMA)
     THEN RETURN OLD; END IF;
     RAISE EXCEPTION 'the ledger only grows: DELETE of % is refused', TG_TABLE_NAME
       USING ERRCODE = 'insufficient_privilege';
   END $body$`,
  `CREATE OR REPLACE FUNCTION kin_ledger_guard_log() RETURNS trigger LANGUAGE plpgsql AS $body$
   BEGIN
     IF NEW.log_id <> OLD.log_id OR NEW.epoch < OLD.epoch THEN
       RAISE EXCEPTION 'the epoch of a ledger only grows' USING ERRCODE = 'insufficient_privilege';
     END IF;
     IF NEW.removed_below <> OLD.removed_below AND current_user <> (SELECT tableowner FROM pg_tables
       WHERE tablename = TG_TABLE_NAME AND schemaname = TG_TABLE_SCHEMA) THEN
       RAISE EXCEPTION 'only kin_ledger_remove removes' USING ERRCODE = 'insufficient_privilege';
     END IF;
     RETURN NEW;
   END $body$`,
  `CREATE OR REPLACE FUNCTION kin_ledger_guard_name() RETURNS trigger LANGUAGE plpgsql AS $body$
   BEGIN
     IF OLD.name <> 'log.json' AND (TG_OP = 'DELETE' OR NEW.name = OLD.name) THEN
       IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
       RETURN NEW;
     END IF;
     RAISE EXCEPTION 'the identity of a ledger never changes'
       USING ERRCODE = 'insufficient_privilege';
   END $body$`,
  trigger('kin_ledger_no_update', 'BEFORE UPDATE', 'batch', 'ROW', 'kin_ledger_refuse'),
  trigger('kin_ledger_no_delete', 'BEFORE DELETE', 'batch', 'ROW', 'kin_ledger_guard_delete'),
  trigger('kin_ledger_no_truncate', 'BEFORE TRUNCATE', 'batch', 'STATEMENT', 'kin_ledger_refuse'),
  trigger('kin_ledger_epoch', 'BEFORE UPDATE', 'log', 'ROW', 'kin_ledger_guard_log'),
  trigger('kin_ledger_log_stays', 'BEFORE DELETE', 'log', 'ROW', 'kin_ledger_refuse'),
  trigger(
    'kin_ledger_identity',
    'BEFORE UPDATE OR DELETE',
    'document',
    'ROW',
    'kin_ledger_guard_name',
  ),
  trigger(
    'kin_ledger_documents_stay',
    'BEFORE TRUNCATE',
    'document',
    'STATEMENT',
    'kin_ledger_refuse',
  ),
];

function trigger(name: string, when: string, table: string, each: string, call: string): string {
  return `CREATE OR REPLACE TRIGGER ${name} ${when} ON kin_ledger_${table}
    FOR EACH ${each} EXECUTE FUNCTION ${call}()`;
}

/** Runs as the owner of the tables; its search path is pinned to where they are. */
const REMOVE = `DO $outer$ BEGIN EXECUTE format($define$
  CREATE OR REPLACE FUNCTION
    %1$I.kin_ledger_remove(id text, writer bigint, below bigint, unborn boolean)
  RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, %1$I AS $body$
  DECLARE removed bigint;
  BEGIN
    PERFORM 1 FROM kin_ledger_log WHERE log_id = id AND epoch = writer FOR UPDATE;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'a newer writer has this ledger' USING ERRCODE = 'object_in_use';
    END IF;
    IF unborn AND EXISTS (SELECT 1 FROM kin_ledger_document
      WHERE log_id = id AND name = 'log.json') THEN
      RAISE EXCEPTION 'the ledger exists' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT unborn AND NOT EXISTS (SELECT 1 FROM kin_ledger_document
      WHERE log_id = id AND name = 'base.bin') THEN
      RAISE EXCEPTION 'nothing is removed without a base' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT unborn AND below > (SELECT max(first_index) FROM kin_ledger_batch
      WHERE log_id = id) THEN
      RAISE EXCEPTION 'the last record stays' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE kin_ledger_log SET removed_below = below WHERE log_id = id;
    DELETE FROM kin_ledger_batch WHERE log_id = id AND first_index < below;
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF unborn THEN UPDATE kin_ledger_log SET removed_below = 0 WHERE log_id = id; END IF;
    RETURN removed;
  END $body$ $define$, current_schema());
END $outer$`;
