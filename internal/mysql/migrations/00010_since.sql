-- Since when a request has been in its state: one column for two indexes, of when open requests were opened and of when
-- the others ended. The index is a migration of its own: each of the two is done whole or not at all.

-- +goose Up
ALTER TABLE requests
  ADD COLUMN since DATETIME(6) GENERATED ALWAYS AS
    (IF(state IN ('queued', 'running'), opened_at, finished_at)) VIRTUAL;

-- +goose Down
ALTER TABLE requests DROP COLUMN since;
