-- Fewer entries of indexes to change with each move of a request. requests_open, requests_finished and requests_opened are
-- superseded: programs of the version before name them, so `enqueuer migrate --revoke-superseded` drops them later.
-- Nothing waits while this runs, however large the table is.

-- +goose Up
ALTER TABLE requests
  ADD KEY requests_since (state, reason, since),
  DROP KEY requests_user,
  ADD KEY requests_user (user_id), -- a user has few requests, and their states change
  ALGORITHM = INPLACE, LOCK = NONE;

-- +goose Down
ALTER TABLE requests
  DROP KEY requests_since,
  DROP KEY requests_user,
  ADD KEY requests_user (user_id, state);
