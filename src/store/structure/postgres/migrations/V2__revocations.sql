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

-- With the rights of the owner, who may write the number: whoever may write the list need not. So that nobody makes the
-- owner write anything else, its names are those of this schema, and nobody else makes triggers of it.
CREATE FUNCTION alt_ws_revocations_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE alt_ws_revocation_changes SET number = number + 1;
    RETURN NULL;
END
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION alt_ws_revocations_changed() SET search_path = %I, pg_temp', current_schema());
END
$$;
REVOKE ALL ON FUNCTION alt_ws_revocations_changed() FROM PUBLIC;
CREATE TRIGGER alt_ws_revocations_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON alt_ws_revocations
    FOR EACH STATEMENT EXECUTE FUNCTION alt_ws_revocations_changed();
