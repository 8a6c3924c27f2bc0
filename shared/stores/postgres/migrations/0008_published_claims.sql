-- The number of the last block of claims of an instance whose ids were published, and count, or
-- counted before they were erased or their archive expired. What it claimed after that, no
-- published generation has had.
ALTER TABLE analytics_folded ADD COLUMN published_seq bigint NOT NULL DEFAULT 0;
UPDATE analytics_folded AS f SET published_seq = coalesce(
    (SELECT max(seq) FROM analytics_ids AS i WHERE i.instance = f.instance), 0
);
