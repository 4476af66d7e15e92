-- batches.sqlite as version 1 made it: a batch of three lines, one done, one placed, one not.
PRAGMA application_id = 1131365698;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    endpoint TEXT NOT NULL,
    input_file_id TEXT NOT NULL,
    completion_window TEXT NOT NULL,
    metadata TEXT,
    status TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    in_progress_at REAL,
    finalizing_at REAL,
    completed_at REAL,
    failed_at REAL,
    expired_at REAL,
    cancelling_at REAL,
    cancelled_at REAL,
    output_file_id TEXT,
    error_file_id TEXT,
    total INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    placed_by TEXT NOT NULL DEFAULT '',
    ran_s REAL NOT NULL DEFAULT 0,
    mistakes TEXT NOT NULL DEFAULT '[]',
    owner TEXT,
    lease_until REAL NOT NULL DEFAULT 0
);
INSERT INTO "batches" VALUES(1,'batch_0','/v1/chat/completions','file-in','24h',NULL,'in_progress',1.0,100.0,2.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,3,1,0,0,0,'',0.0,'[]','x',11.0);
CREATE TABLE files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE TABLE groups (
    batch INTEGER NOT NULL,
    expert TEXT NOT NULL,
    backend TEXT NOT NULL,
    base TEXT NOT NULL,
    lines INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,
    took_s REAL NOT NULL DEFAULT 0,
    seen_at REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, expert)
) WITHOUT ROWID;
INSERT INTO "groups" VALUES(1,'a','up','x',2,1,0.0,5.0);
CREATE TABLE lines (
    batch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    length INTEGER NOT NULL,
    custom_id TEXT NOT NULL,
    expert TEXT,
    experts TEXT,
    category TEXT,
    probability REAL,
    reason TEXT NOT NULL DEFAULT '',
    done INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, number)
) WITHOUT ROWID;
INSERT INTO "lines" VALUES(1,1,10,10,'id-1','a','["a","b"]',NULL,NULL,'',1);
INSERT INTO "lines" VALUES(1,2,20,10,'id-2','a','["a","b"]',NULL,NULL,'',0);
INSERT INTO "lines" VALUES(1,3,30,10,'id-3',NULL,NULL,NULL,NULL,'',0);
CREATE TABLE results (
    batch INTEGER NOT NULL,
    number INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    text BLOB NOT NULL
);
INSERT INTO "results" VALUES(1,1,1,X'310A');
CREATE INDEX batches_by_status ON batches (status);
CREATE UNIQUE INDEX lines_by_custom_id ON lines (batch, custom_id);
CREATE INDEX lines_to_do ON lines (batch, expert, number) WHERE done = 0;
CREATE UNIQUE INDEX results_by_line ON results (batch, succeeded, number);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('batches',1);
COMMIT;
