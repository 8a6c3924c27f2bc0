-- The last instance that an instance has absorbed. Its claims are of that one now, so every
-- host fetches all claims again, and compares what it yielded to the instance that is gone.
ALTER TABLE analytics_folded ADD COLUMN absorbed uuid;
