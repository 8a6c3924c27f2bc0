-- Tokens that are valid on all hosts: hashes of their secrets. A revoked one stays, so that
-- its id is not given again.
CREATE TABLE analytics_tokens (
    id text PRIMARY KEY,
    scope text NOT NULL CHECK (scope IN ('ingest', 'read', 'admin')),
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    created text NOT NULL,
    revoked_at timestamptz
);
