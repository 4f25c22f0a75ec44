-- Once the file is known to be a spool, or to become one. Checkpoints are made by hand; a WAL that a large batch made grow is cut
-- to 32 MiB.
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = OFF;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 33554432;
