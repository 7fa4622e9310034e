-- The memberships may be those of another service; then its table is used as it is, and ours take its columns' types.
DO $$
DECLARE
    room text;
    member text;
    supported text[] := '{smallint, integer, bigint, uuid, text, character varying}';
BEGIN
    IF to_regclass('conversation_members') IS NULL THEN
        IF to_regclass('conversations') IS NULL THEN
            CREATE TABLE conversations (
                id text PRIMARY KEY,
                open boolean NOT NULL,
                created_at timestamptz NOT NULL DEFAULT now()
            );
        END IF;
        CREATE TABLE conversation_members (
            conversation_id text NOT NULL,
            user_id text NOT NULL,
            role text NOT NULL DEFAULT 'member',
            joined_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (conversation_id, user_id)
        );
        CREATE INDEX conversation_members_by_user ON conversation_members (user_id, joined_at DESC);
    END IF;

    SELECT format_type(atttypid, NULL) INTO room FROM pg_attribute
        WHERE attrelid = to_regclass('conversation_members') AND attname = 'conversation_id';
    SELECT format_type(atttypid, NULL) INTO member FROM pg_attribute
        WHERE attrelid = to_regclass('conversation_members') AND attname = 'user_id';
    IF room = ANY (supported) AND member = ANY (supported) THEN
        NULL;
    ELSE
        RAISE EXCEPTION 'conversation_members needs columns conversation_id and user_id of a type in %, not % and %',
            supported, coalesce(room, 'none'), coalesce(member, 'none') USING ERRCODE = 'datatype_mismatch';
    END IF;

    IF to_regclass('read_state') IS NULL THEN
        EXECUTE format('CREATE TABLE read_state (
            conversation_id %s NOT NULL,
            user_id %s NOT NULL,
            delivered_seq bigint NOT NULL,
            read_seq bigint NOT NULL,
            updated_at timestamptz NOT NULL,
            PRIMARY KEY (conversation_id, user_id)
        )', room, member);
    END IF;
    -- Receipts for single messages above the watermarks of read_state. level: 1 delivered, 2 read.
    IF to_regclass('read_receipts') IS NULL THEN
        EXECUTE format('CREATE TABLE read_receipts (
            conversation_id %s NOT NULL,
            user_id %s NOT NULL,
            seq bigint NOT NULL,
            level smallint NOT NULL,
            PRIMARY KEY (conversation_id, user_id, seq)
        )', room, member);
    END IF;
END
$$;

-- Runs in the transactions of other services, under any search_path: names are qualified, and nothing here can fail.
-- PostgreSQL tells equal notices of one transaction once. The number in them keeps "added, removed, added" three.
CREATE FUNCTION alt_ws_members_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    number bigint := coalesce(nullif(pg_catalog.current_setting('alt_ws.notices', true), ''), '0')::bigint;
    notices json[];
    notice json;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        notices := ARRAY[pg_catalog.json_build_object('op', 'missed', 'n', number)];
    ELSIF TG_OP = 'INSERT' THEN
        notices := ARRAY[pg_catalog.json_build_object(
            'op', 'added', 'room', NEW.conversation_id::text, 'user', NEW.user_id::text, 'n', number)];
    ELSIF TG_OP = 'DELETE' THEN
        notices := ARRAY[pg_catalog.json_build_object(
            'op', 'removed', 'room', OLD.conversation_id::text, 'user', OLD.user_id::text, 'n', number)];
    ELSE
        notices := ARRAY[
            pg_catalog.json_build_object(
                'op', 'removed', 'room', OLD.conversation_id::text, 'user', OLD.user_id::text, 'n', number),
            pg_catalog.json_build_object(
                'op', 'added', 'room', NEW.conversation_id::text, 'user', NEW.user_id::text, 'n', number)];
    END IF;
    FOREACH notice IN ARRAY notices LOOP
        -- A notice may have 8000 bytes.
        IF pg_catalog.octet_length(notice::text) > 7900 THEN
            notice := pg_catalog.json_build_object('op', 'missed', 'n', number);
        END IF;
        PERFORM pg_catalog.pg_notify('alt_ws_members', notice::text);
    END LOOP;
    PERFORM pg_catalog.set_config('alt_ws.notices', (number + 1)::text, true);
    RETURN NULL;
END
$$;
