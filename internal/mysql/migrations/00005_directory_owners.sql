-- Which users' rows hold, or held, the id of a directory: download_uuid has no index in the LMS, and a row that is changed
-- later must not make certpurge forget whose directory it was. Rows are added and never changed.

-- +goose Up
CREATE TABLE directory_owners (
  id BINARY(16) NOT NULL,                     -- of download_uuid, verify_uuid or download_url: 32 hexadecimal digits in the LMS
  user_id INT NOT NULL,
  PRIMARY KEY (id, user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- How far the LMS's tables have been read into it.
CREATE TABLE owner_walks (
  source_table VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  position BIGINT NOT NULL,                   -- all rows up to this primary key are in
  again BIGINT NOT NULL,                      -- a repeated walk, for rows that were changed, has come to here; 0: none is under way
  walked_at DATETIME(6) NULL,                 -- when the latest walk came to its end, by the server's clock; null: none has yet
  PRIMARY KEY (source_table)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- +goose Down
DROP TABLE owner_walks;
DROP TABLE directory_owners;
