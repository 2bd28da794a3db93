-- Directories in which files were expected and never seen are told apart from those in which nothing was expected, and
-- attempts are counted apart from the number that fences them.

-- +goose Up
ALTER TABLE requests
  ADD COLUMN directories_missing INT NOT NULL DEFAULT 0,                          -- expected, empty, never seen; accepted or not
  ADD COLUMN references_kept INT NOT NULL DEFAULT 0,                              -- external links that stay by configuration
  ADD COLUMN accept_missing_by VARCHAR(128) CHARACTER SET utf8mb4 NOT NULL DEFAULT '', -- who accepts missing files, for this run
  ADD COLUMN reopened INT NOT NULL DEFAULT 0,                                     -- how often it was opened again; attempts grew each time
  ADD COLUMN attempts_made INT GENERATED ALWAYS AS (attempts - reopened) VIRTUAL; -- what people see; attempts only fences

ALTER TABLE evidence_objects
  ADD COLUMN accepted_by VARCHAR(128) CHARACTER SET utf8mb4 NOT NULL DEFAULT '';  -- of outcome missing_accepted

-- done: files_absent was said of requests that cleared links and had seen none of the files. No operator was asked.
UPDATE evidence_objects o JOIN requests r ON r.id = o.request_id
  SET o.outcome = 'missing_accepted', o.accepted_by = 'a version that did not ask'
  WHERE r.state = 'done' AND r.reason = 'files_absent' AND o.outcome = 'absent';
UPDATE requests SET reason = 'files_missing', directories_missing = objects_absent, objects_absent = 0
  WHERE state = 'done' AND reason = 'files_absent';

-- +goose Down
UPDATE requests SET reason = 'files_absent', objects_absent = directories_missing WHERE state = 'done' AND reason = 'files_missing';
UPDATE evidence_objects SET outcome = 'absent' WHERE outcome IN ('missing', 'missing_accepted');
DELETE FROM evidence_objects WHERE outcome = 'external';
ALTER TABLE evidence_objects DROP COLUMN accepted_by;
ALTER TABLE requests DROP COLUMN attempts_made, DROP COLUMN reopened, DROP COLUMN accept_missing_by, DROP COLUMN references_kept, DROP COLUMN directories_missing;
