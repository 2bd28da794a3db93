-- Evidence as documents that are only added, each chained to the one before it of its request, and anchored; what callers and
-- operators did to a request after it was made; and the ticket that a caller gave.

-- +goose Up
ALTER TABLE requests
  ADD COLUMN ticket VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL DEFAULT '';  -- the caller's own reference

-- One row for each document (docs/evidence.schema.json). No account of a running program may change or delete one.
CREATE TABLE evidence_documents (
  id BIGINT NOT NULL AUTO_INCREMENT,
  request_id BIGINT NOT NULL,
  number INT NOT NULL,                        -- of the request's documents, from 1
  user_id INT NOT NULL,
  attempt INT NOT NULL,
  part VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, -- intents, record, migrated
  at DATETIME(6) NOT NULL,
  hash BINARY(32) NOT NULL,                   -- SHA-256 of the hash of the request's document before it and of this document
  document MEDIUMBLOB NOT NULL,               -- canonical JSON (RFC 8785)
  PRIMARY KEY (id),
  UNIQUE KEY evidence_documents_request (request_id, number),
  KEY evidence_documents_user (user_id),
  KEY evidence_documents_at (at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Every few minutes, one row over the documents since the one before.
CREATE TABLE anchors (
  id BIGINT NOT NULL AUTO_INCREMENT,
  at DATETIME(6) NOT NULL,
  after_id BIGINT NOT NULL,                   -- documents with a greater id
  last_id BIGINT NOT NULL,                    -- up to this one
  hash BINARY(32) NOT NULL,                   -- SHA-256 of the hash of the anchor before it, and of the ids and hashes of the documents
  documents MEDIUMBLOB NOT NULL,              -- their ids and the beginnings of their hashes, to name what was changed
  PRIMARY KEY (id),
  UNIQUE KEY anchors_after (after_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- When old evidence was removed, up to which anchor, and by whom. Only `enqueuer prune` writes it, as the account that
-- migrates.
CREATE TABLE prunings (
  id BIGINT NOT NULL AUTO_INCREMENT,
  at DATETIME(6) NOT NULL,
  written_before DATETIME(6) NOT NULL,        -- what was written before this
  anchor_id BIGINT NOT NULL,                  -- the last anchor of what was removed
  last_id BIGINT NOT NULL,                    -- the last document that was
  actor VARCHAR(160) CHARACTER SET utf8mb4 NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- What callers and operators did to a request after it was made. Rows are added and never changed.
CREATE TABLE events (
  id BIGINT NOT NULL AUTO_INCREMENT,
  request_id BIGINT NOT NULL,
  at DATETIME(6) NOT NULL,
  kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, -- resubmitted, reopened, accepted_missing, accepted_shared
  actor VARCHAR(160) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',
  ticket VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',
  PRIMARY KEY (id),
  KEY events_request (request_id),
  KEY events_at (at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- +goose Down
DROP TABLE events;
DROP TABLE prunings;
DROP TABLE anchors;
DROP TABLE evidence_documents;
ALTER TABLE requests DROP COLUMN ticket;
