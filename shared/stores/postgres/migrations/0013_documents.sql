-- Documents that people keep and all hosts read, such as goals.json, by name. The newest
-- version is here; each host has a copy. Version 0 is none yet.
CREATE TABLE analytics_documents (
    name text PRIMARY KEY,
    version bigint NOT NULL,
    content bytea NOT NULL CHECK (octet_length(content) <= 1048576)
);
