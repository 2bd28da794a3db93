-- The ledger: what was asked for, and what became of it. Ids, states and names only; no user names, no URLs.

-- +goose Up
CREATE TABLE requests (
  id BIGINT NOT NULL AUTO_INCREMENT,
  idempotency_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  user_id INT NOT NULL,
  source VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  reason VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  detail VARCHAR(512) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',
  attempts INT NOT NULL DEFAULT 0,            -- claims by workers; numbers attempts, never reset
  failures INT NOT NULL DEFAULT 0,            -- counted failures since the request was last opened
  unfinished INT NOT NULL DEFAULT 0,          -- claims in a row that recorded nothing: the worker died or could not write
  certificates INT NOT NULL DEFAULT 0,
  objects_erased INT NOT NULL DEFAULT 0,
  objects_absent INT NOT NULL DEFAULT 0,
  objects_soft_deleted INT NOT NULL DEFAULT 0,
  references_cleared INT NOT NULL DEFAULT 0,
  recoverable_until DATETIME(6) NULL,
  not_before DATETIME(6) NULL,
  requested_at DATETIME(6) NOT NULL,
  opened_at DATETIME(6) NOT NULL,             -- requested, or opened again after an end
  started_at DATETIME(6) NULL,
  finished_at DATETIME(6) NULL,
  updated_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY requests_idempotency_key (idempotency_key),
  KEY requests_user (user_id, state),
  KEY requests_state (state, reason, id),
  KEY requests_open (state, id),
  -- For those who watch: what ended lately, how old the oldest open request is, what can still be restored. With them these
  -- questions cost a look, not a walk through millions of requests.
  KEY requests_finished (state, finished_at),
  KEY requests_opened (state, reason, opened_at),
  KEY requests_recoverable (recoverable_until)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One row for each certificate whose references were cleared, in the live table or in the history table.
CREATE TABLE evidence (
  id BIGINT NOT NULL AUTO_INCREMENT,
  request_id BIGINT NOT NULL,
  user_id INT NOT NULL,
  certificate_id INT NOT NULL,
  source_table VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  attempt INT NOT NULL,
  references_cleared INT NOT NULL,
  cleared_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY evidence_certificate (request_id, certificate_id, source_table),
  KEY evidence_user (user_id),
  KEY evidence_cleared (cleared_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One row for each object generation. It is written before the first delete (outcome listed) and settled afterwards.
CREATE TABLE evidence_objects (
  id BIGINT NOT NULL AUTO_INCREMENT,
  request_id BIGINT NOT NULL,
  user_id INT NOT NULL,
  certificate_id INT NOT NULL,
  source_table VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  attempt INT NOT NULL,
  bucket VARCHAR(222) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  directory VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  name VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  generation BIGINT NOT NULL,                 -- 0: the directory held nothing
  size BIGINT NOT NULL,                       -- bytes
  cache_control VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',
  outcome VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  until DATETIME(6) NULL,                     -- of outcomes soft_deleted and retained
  listed_at DATETIME(6) NOT NULL,
  settled_at DATETIME(6) NULL,
  object_key BINARY(32) NOT NULL,             -- SHA-256 of bucket, name and generation: the names are too long for an index
  PRIMARY KEY (id),
  UNIQUE KEY evidence_objects_object (request_id, object_key),
  KEY evidence_objects_outcome (request_id, outcome),
  KEY evidence_objects_user (user_id),
  KEY evidence_objects_settled (settled_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Where `enqueuer watch` goes on, and when its latest round ended, so that several watchers keep one pace. One row.
CREATE TABLE watch_position (
  id TINYINT NOT NULL,
  after_user_id INT NOT NULL,
  ended_at DATETIME(6) NULL,                  -- by the server's clock, which all watchers share
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- What came with an idempotency key over HTTP: the same key with another body is a mistake of the caller.
CREATE TABLE request_bodies (
  idempotency_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  fingerprint BINARY(32) NOT NULL,            -- SHA-256 of the body
  created_at DATETIME(6) NOT NULL,
  accepted_at DATETIME(6) NULL,               -- from then on, the same call again is a replay
  PRIMARY KEY (idempotency_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- +goose Down
DROP TABLE request_bodies;
DROP TABLE watch_position;
DROP TABLE evidence_objects;
DROP TABLE evidence;
DROP TABLE requests;
