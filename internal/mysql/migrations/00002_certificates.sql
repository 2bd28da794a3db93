-- Requests that are about one certificate, not about all of a user's.

-- +goose Up
ALTER TABLE requests ADD COLUMN certificate_id INT NOT NULL DEFAULT 0; -- 0: all certificates of the user

-- +goose Down
ALTER TABLE requests DROP COLUMN certificate_id;
