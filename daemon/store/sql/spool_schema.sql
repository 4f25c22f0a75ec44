-- The spool's schema, version 1. Times are microseconds: `happened` (see struct change), `recorded` and `died` of CLOCK_REALTIME, all others of the spool's own
-- clock (store_now()). A later version is a file of its own, which brings a spool of the version before to its own.

-- form: see enum spool_form. Journals' ids are unique within their database; a second one that came from a hostile
-- server is kept outside of the index, in which `happened` comes first: ids are random, and each would go to another page; so the
-- newest ones stand together. A journal's row tells the same time whenever it is read. detail: a channel, a resync's reason, or what an incomplete payload does not tell.
CREATE TABLE change (
	seq INTEGER PRIMARY KEY,
	database INTEGER NOT NULL,
	id BLOB NOT NULL,
	form INTEGER NOT NULL,
	happened INTEGER NOT NULL,
	recorded INTEGER NOT NULL,
	taken INTEGER NOT NULL,
	detail ANY,
	payload TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX change_id ON change (happened, database, id) WHERE form = 1;

-- What is owed. `database` is the lane's: 0 where one lane carries all databases.
CREATE TABLE delivery (
	sink INTEGER NOT NULL,
	database INTEGER NOT NULL,
	position INTEGER NOT NULL,
	seq INTEGER NOT NULL,
	since INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	rejections INTEGER NOT NULL,
	replayed INTEGER NOT NULL,
	bytes INTEGER NOT NULL,
	PRIMARY KEY (sink, database, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_seq ON delivery (seq);

-- since: of CLOCK_REALTIME here. taken: when it was given up.
CREATE TABLE dead_letter (
	number INTEGER PRIMARY KEY,
	seq INTEGER NOT NULL,
	sink INTEGER NOT NULL,
	outcome INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	status INTEGER NOT NULL,
	reason TEXT,
	answer BLOB,
	since INTEGER NOT NULL,
	died INTEGER NOT NULL,
	taken INTEGER NOT NULL,
	replayed INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letter_seq ON dead_letter (seq);

-- kind: see enum store_names.
CREATE TABLE name (
	kind INTEGER NOT NULL,
	id INTEGER NOT NULL,
	name TEXT NOT NULL,
	gone INTEGER NOT NULL,
	PRIMARY KEY (kind, id),
	UNIQUE (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (
	database INTEGER PRIMARY KEY,
	system_identifier INTEGER NOT NULL,
	database_oid INTEGER NOT NULL,
	timeline INTEGER NOT NULL,
	install_id TEXT NOT NULL,
	snapshot TEXT NOT NULL,
	has_row INTEGER NOT NULL,
	row_id INTEGER NOT NULL,
	row_xid INTEGER NOT NULL,
	row_event_id TEXT NOT NULL
) STRICT;

-- One row. version: the same as user_version, which a damaged header may tell wrongly. reserved: no sequence up to it is given
-- again. clock, boot_id, boottime: the spool's clock, and CLOCK_BOOTTIME of that boot at the same moment.
CREATE TABLE meta (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	version INTEGER NOT NULL,
	reserved INTEGER NOT NULL,
	pruned_through INTEGER NOT NULL,
	clock INTEGER NOT NULL,
	boot_id TEXT NOT NULL,
	boottime INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 1, 0, 0, 0, '', 0);
