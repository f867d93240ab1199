-- Version 3: since when a lane is held, and why. They count while its progress has a hold.

ALTER TABLE lanes ADD COLUMN held_at INTEGER;
ALTER TABLE lanes ADD COLUMN held_cause TEXT;
