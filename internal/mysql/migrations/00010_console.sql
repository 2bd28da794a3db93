-- What operators do in the console that is not about one request.

-- +goose Up
ALTER TABLE events
  ADD COLUMN subject VARCHAR(64) CHARACTER SET utf8mb4 NOT NULL DEFAULT ''; -- of an event with request 0: what it was done to

-- +goose Down
ALTER TABLE events DROP COLUMN subject;
