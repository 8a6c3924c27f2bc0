-- A token to read or administer may be for some sites only; an empty list is all.
ALTER TABLE analytics_tokens
    ADD COLUMN sites text[] NOT NULL DEFAULT '{}';
