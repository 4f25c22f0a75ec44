-- What each connection begins with, before it looks at the file. Exclusive locking comes before WAL: then the index of the WAL is
-- ordinary memory and there is no -shm file.
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA page_size = 4096;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -4096;
