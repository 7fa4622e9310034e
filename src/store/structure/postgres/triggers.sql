-- At every start: the table may have been made anew. Only on a table that is ours to change.
DO $$
DECLARE
    members regclass := to_regclass('conversation_members');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = members AND relkind IN ('r', 'p') AND pg_has_role(relowner, 'USAGE'))
    THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = members AND tgname = 'alt_ws_members_rows') THEN
        EXECUTE format('CREATE TRIGGER alt_ws_members_rows
            AFTER INSERT OR DELETE OR UPDATE OF conversation_id, user_id ON %s
            FOR EACH ROW EXECUTE FUNCTION alt_ws_members_changed()', members);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = members AND tgname = 'alt_ws_members_truncated') THEN
        EXECUTE format('CREATE TRIGGER alt_ws_members_truncated AFTER TRUNCATE ON %s
            FOR EACH STATEMENT EXECUTE FUNCTION alt_ws_members_changed()', members);
    END IF;
END
$$;
