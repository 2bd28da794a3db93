-- One open request for each user and scope, with as many keys as callers gave it; who asked; leases of attempts; and an
-- end that only the account of the worker can write.

-- +goose Up
-- Idempotency keys that came while a request of the same scope was open: they lead to that request.
CREATE TABLE request_keys (
  idempotency_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  request_id BIGINT NOT NULL,
  requested_by VARCHAR(160) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',
  created_at DATETIME(6) NOT NULL,
  PRIMARY KEY (idempotency_key),
  KEY request_keys_request (request_id),
  KEY request_keys_created (created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

ALTER TABLE requests
  ADD COLUMN requested_by VARCHAR(160) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',     -- who made it, by which face, from where
  ADD COLUMN reopened_by VARCHAR(160) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',      -- who opened it again last
  ADD COLUMN accept_shared_by VARCHAR(128) CHARACTER SET utf8mb4 NOT NULL DEFAULT '', -- who accepts shared directories, for this run
  ADD COLUMN leased_until DATETIME(6) NULL,                                           -- of the newest attempt, by the server's clock
  ADD COLUMN ended_as VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT ''; -- state:reason, as a worker ended it

-- The oldest open request of a scope stays; the others were about the same, and it stands for them.
UPDATE requests r JOIN (
    SELECT user_id, certificate_id, MIN(id) AS oldest FROM requests WHERE state IN ('queued', 'running')
    GROUP BY user_id, certificate_id HAVING COUNT(*) > 1
  ) open ON open.user_id = r.user_id AND open.certificate_id = r.certificate_id AND r.id > open.oldest
  SET r.state = 'refused', r.reason = 'superseded', r.detail = CONCAT('request ', open.oldest, ' of the same user stands for it'),
    r.not_before = NULL, r.finished_at = UTC_TIMESTAMP(6), r.updated_at = UTC_TIMESTAMP(6)
  WHERE r.state IN ('queued', 'running');

UPDATE requests SET ended_as = CONCAT(state, ':', reason) WHERE state NOT IN ('queued', 'running');

ALTER TABLE requests
  ADD COLUMN open_scope BIGINT GENERATED ALWAYS AS
    (IF(state IN ('queued', 'running'), user_id * 4294967296 + certificate_id, NULL)) VIRTUAL,
  ADD UNIQUE KEY requests_open_scope (open_scope),
  -- The account of the enqueuer cannot write ended_as: what it may do with a request is to open it again.
  ADD CONSTRAINT requests_ended CHECK (state IN ('queued', 'running') OR ended_as = CONCAT(state, ':', reason));

ALTER TABLE request_bodies ADD KEY request_bodies_created (created_at);

-- +goose Down
ALTER TABLE request_bodies DROP KEY request_bodies_created;
ALTER TABLE requests DROP CONSTRAINT requests_ended;
ALTER TABLE requests DROP KEY requests_open_scope, DROP COLUMN open_scope;
ALTER TABLE requests DROP COLUMN ended_as, DROP COLUMN leased_until, DROP COLUMN accept_shared_by, DROP COLUMN reopened_by,
  DROP COLUMN requested_by;
DROP TABLE request_keys;
