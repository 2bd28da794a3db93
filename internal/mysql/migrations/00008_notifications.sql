-- What is told to the receiver of notify.url, and how far telling has come. Only the enqueuer writes it: the worker ends
-- requests as before, and the enqueuer finds those that have ended.

-- +goose Up
-- One row for each event. A delivered one keeps its row, so that the same end is not told again, but not its body.
CREATE TABLE notifications (
  id BIGINT NOT NULL AUTO_INCREMENT,
  event_id CHAR(26) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,   -- by which the receiver knows a repetition
  kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,    -- request.ended, verdict.changed
  request_id BIGINT NOT NULL,                                         -- 0: about no request
  happened_at DATETIME(6) NOT NULL,                                   -- of a request its finished_at: each end is an event
  created_at DATETIME(6) NOT NULL,
  outcome VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '', -- waits; delivered, given_up
  tries INT NOT NULL DEFAULT 0,
  due_at DATETIME(6) NOT NULL,
  settled_at DATETIME(6) NULL,
  answer VARCHAR(160) CHARACTER SET utf8mb4 NOT NULL DEFAULT '',      -- to the latest try
  body BLOB NOT NULL,                                                 -- as it is sent: JSON
  PRIMARY KEY (id),
  UNIQUE KEY notifications_event (kind, request_id, happened_at),
  KEY notifications_due (outcome, tries, due_at),
  KEY notifications_created (outcome, created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- One row.
CREATE TABLE notify_state (
  id TINYINT NOT NULL,
  began_at DATETIME(6) NOT NULL,              -- ends before it are not told
  position DATETIME(6) NOT NULL,              -- ends up to here are told, except for transactions that were committed late
  looked_at DATETIME(6) NOT NULL,             -- when a process last looked, give or take a minute
  failures INT NOT NULL DEFAULT 0,            -- of deliveries in a row
  failing_since DATETIME(6) NULL,
  next_at DATETIME(6) NULL,                   -- nothing is sent before
  answer VARCHAR(160) CHARACTER SET utf8mb4 NOT NULL DEFAULT '', -- to the latest failure
  delivered_at DATETIME(6) NULL,
  verdict VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'ok', -- the one that was told last
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- +goose Down
DROP TABLE notify_state;
DROP TABLE notifications;
