-- Keys of pixels are tokens, too: of one site and one use.
ALTER TABLE analytics_tokens
    DROP CONSTRAINT analytics_tokens_scope_check,
    ADD CONSTRAINT analytics_tokens_scope_check CHECK (scope IN ('ingest', 'read', 'admin', 'pixel')),
    ADD COLUMN site text,
    ADD COLUMN use text;
