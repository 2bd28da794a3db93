-- What operators do in the console that is not about one request; and the results of `worker inventory`, which it shows.

-- +goose Up
ALTER TABLE events
  ADD COLUMN subject VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL DEFAULT ''; -- of an event with request 0: what it was done to

-- One row for each run of `worker inventory`. Rows are only added.
CREATE TABLE inventories (
  id BIGINT NOT NULL AUTO_INCREMENT,
  started_at DATETIME(6) NOT NULL,
  ended_at DATETIME(6) NOT NULL,
  software VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL,
  complete TINYINT NOT NULL,                  -- 0: it failed, and nothing can be said
  report MEDIUMBLOB NOT NULL,                 -- JSON: figures, names of directories, or why it failed
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- +goose Down
DROP TABLE inventories;
ALTER TABLE events DROP COLUMN subject;
