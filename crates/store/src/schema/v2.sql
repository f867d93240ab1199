-- Version 2: what a replay was asked for, and how it ended.

ALTER TABLE lanes ADD COLUMN replay_filter TEXT;
ALTER TABLE lanes ADD COLUMN replay_rate INTEGER; -- requests a second
ALTER TABLE lanes ADD COLUMN ended_at INTEGER;
ALTER TABLE lanes ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
