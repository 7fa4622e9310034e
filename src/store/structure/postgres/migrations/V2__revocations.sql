-- Tokens that are believed no more: one by its jti, or all that a user was given until then. Whoever may write here can
-- revoke, the service that issues the tokens for one.
CREATE TABLE alt_ws_revocations (
    kind text NOT NULL CHECK (kind IN ('jti', 'user')),
    value text NOT NULL,
    revoked_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    PRIMARY KEY (kind, value)
);

-- One row. Its number tells servers that the list is another one; a sequence would tell before the commit.
CREATE TABLE alt_ws_revocation_changes (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    number bigint NOT NULL
);
INSERT INTO alt_ws_revocation_changes (number) VALUES (0);

-- With the rights of the owner, under any search_path: who may write the one table need not know of the other.
CREATE FUNCTION alt_ws_revocations_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog AS $$
BEGIN
    EXECUTE format('UPDATE %I.alt_ws_revocation_changes SET number = number + 1', TG_TABLE_SCHEMA);
    RETURN NULL;
END
$$;
CREATE TRIGGER alt_ws_revocations_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON alt_ws_revocations
    FOR EACH STATEMENT EXECUTE FUNCTION alt_ws_revocations_changed();
