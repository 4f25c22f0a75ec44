-- Version 2: what outlives a restart of a database that has no position yet. hidden: its changes cannot be seen, and consumers
-- were told so; oldest: an earlier spool was lost, and its journal has not been read again yet. A snapshot of '' is no position.
ALTER TABLE cursor ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cursor ADD COLUMN oldest INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET version = 2;
