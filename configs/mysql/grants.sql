-- Accounts and rights of certpurge. Run it as an administrator on the LMS's MySQL server, after replacing, in all places,
--   `openedx`          by the LMS database,
--   change-me-runtime  by a password of your own, and
--   change-me-migrate  by another one:
--
--   sed 's/`openedx`/`edxapp`/; s/change-me-runtime/.../; s/change-me-migrate/.../' grants.sql | mysql -u root -p
--
-- It may be run again, also with other passwords. The tests of internal/mysql run under exactly these rights.

-- Fails, before anything is made, if this is not the LMS's server or database.
SELECT COUNT(*) AS `the LMS is here` FROM `openedx`.`certificates_generatedcertificate` WHERE 1 = 0;

CREATE DATABASE IF NOT EXISTS `certpurge` CHARACTER SET utf8mb4;

-- Worker and enqueuer.
CREATE USER IF NOT EXISTS 'certpurge'@'%' IDENTIFIED BY 'change-me-runtime';
ALTER USER 'certpurge'@'%' IDENTIFIED BY 'change-me-runtime';

-- Eligibility: who is retiring, since when, and in which state. Names only where a user is looked up by name.
GRANT SELECT (`id`) ON `openedx`.`auth_user` TO 'certpurge'@'%';
GRANT SELECT (`id`, `created`, `user_id`) ON `openedx`.`user_api_userretirementrequest` TO 'certpurge'@'%';
GRANT SELECT (`id`, `created`, `user_id`, `current_state_id`, `original_username`) ON `openedx`.`user_api_userretirementstatus` TO 'certpurge'@'%';
GRANT SELECT (`id`, `state_name`) ON `openedx`.`user_api_retirementstate` TO 'certpurge'@'%';

-- References: read the ids, clear two columns. No other column can be written, whatever the program tries.
GRANT SELECT (`id`, `user_id`, `verify_uuid`, `download_uuid`, `download_url`), UPDATE (`download_uuid`, `download_url`)
  ON `openedx`.`certificates_generatedcertificate` TO 'certpurge'@'%';
GRANT SELECT (`id`, `history_id`, `user_id`, `verify_uuid`, `download_uuid`, `download_url`), UPDATE (`download_uuid`, `download_url`)
  ON `openedx`.`certificates_historicalgeneratedcertificate` TO 'certpurge'@'%';

-- Only for `enqueuer backfill --args-from-database`, and only where Open edX has this table: remove the dashes.
-- GRANT SELECT (`id`, `change_date`, `enabled`, `arguments`)
--   ON `openedx`.`certificates_purgereferencestopdfcertificatescommandconfigur95fa` TO 'certpurge'@'%';

-- The ledger. No DELETE: evidence stays.
GRANT SELECT, INSERT, UPDATE ON `certpurge`.* TO 'certpurge'@'%';

-- `enqueuer migrate` only: it makes and alters the ledger's tables and needs nothing of the LMS.
CREATE USER IF NOT EXISTS 'certpurge_migrate'@'%' IDENTIFIED BY 'change-me-migrate';
ALTER USER 'certpurge_migrate'@'%' IDENTIFIED BY 'change-me-migrate';
GRANT ALL PRIVILEGES ON `certpurge`.* TO 'certpurge_migrate'@'%';
