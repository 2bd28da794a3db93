-- Directories that no link leads to, which an operator has reviewed and has erased. A request about a set of them has user 0
-- and the set's number in the place of the certificate.

-- +goose Up
CREATE TABLE orphan_sets (
  id INT NOT NULL AUTO_INCREMENT,
  idempotency_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, -- with the fingerprint of the list
  created_before DATETIME(6) NOT NULL,        -- a directory with an object that was written later is left
  PRIMARY KEY (id),
  UNIQUE KEY orphan_sets_idempotency_key (idempotency_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE orphan_directories (
  set_id INT NOT NULL,
  number INT NOT NULL,                        -- in the list, from 0
  bucket VARCHAR(222) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  directory VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (set_id, number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- +goose Down
DROP TABLE orphan_directories;
DROP TABLE orphan_sets;
