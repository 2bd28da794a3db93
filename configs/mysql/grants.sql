-- Accounts and rights of certpurge. Run it as an administrator on the LMS's MySQL server, after replacing, in all places,
--   `openedx`           by the LMS database,
--   change-me-enqueuer  by a password of your own,
--   change-me-worker    by another one, and
--   change-me-migrate   by a third:
--
--   sed 's/`openedx`/`edxapp`/; s/change-me-enqueuer/.../; s/change-me-worker/.../; s/change-me-migrate/.../' \
--     grants.sql | mysql -u root -p
--
-- It may be run again, also with other passwords. What the first two may write in the ledger is granted by `enqueuer migrate`,
-- table by table, once the tables are there: `enqueuer migrate --print-grants` shows it. The tests run under exactly these
-- rights.

-- Fails, before anything is made, if this is not the LMS's server or database.
SELECT COUNT(*) AS `the LMS is here` FROM `openedx`.`certificates_generatedcertificate` WHERE 1 = 0;

CREATE DATABASE IF NOT EXISTS `certpurge` CHARACTER SET utf8mb4;

-- The enqueuer: its commands, `enqueuer serve` and `enqueuer watch`. It changes nothing of the LMS, and no evidence.
CREATE USER IF NOT EXISTS 'certpurge_enqueuer'@'%' IDENTIFIED BY 'change-me-enqueuer';
ALTER USER 'certpurge_enqueuer'@'%' IDENTIFIED BY 'change-me-enqueuer';

-- Eligibility: who is retiring, since when, and in which state.
GRANT SELECT (`id`) ON `openedx`.`auth_user` TO 'certpurge_enqueuer'@'%';
GRANT SELECT (`id`, `created`, `user_id`) ON `openedx`.`user_api_userretirementrequest` TO 'certpurge_enqueuer'@'%';
GRANT SELECT (`id`, `created`, `user_id`, `current_state_id`) ON `openedx`.`user_api_userretirementstatus` TO 'certpurge_enqueuer'@'%';
GRANT SELECT (`id`, `state_name`) ON `openedx`.`user_api_retirementstate` TO 'certpurge_enqueuer'@'%';
-- References: to see whether some are left.
GRANT SELECT (`id`, `user_id`, `verify_uuid`, `download_uuid`, `download_url`)
  ON `openedx`.`certificates_generatedcertificate` TO 'certpurge_enqueuer'@'%';
GRANT SELECT (`id`, `history_id`, `user_id`, `verify_uuid`, `download_uuid`, `download_url`)
  ON `openedx`.`certificates_historicalgeneratedcertificate` TO 'certpurge_enqueuer'@'%';
-- Only where users are looked up by name: for the retirement driver, which sends names, and for `enqueuer enqueue --username`.
GRANT SELECT (`original_username`) ON `openedx`.`user_api_userretirementstatus` TO 'certpurge_enqueuer'@'%';
-- Only for `enqueuer backfill --args-from-database`, and only where Open edX has this table: remove the dashes.
-- GRANT SELECT (`id`, `change_date`, `enabled`, `arguments`)
--   ON `openedx`.`certificates_purgereferencestopdfcertificatescommandconfigur95fa` TO 'certpurge_enqueuer'@'%';
GRANT SELECT ON `certpurge`.* TO 'certpurge_enqueuer'@'%';

-- The worker: it clears two columns, and no other column can be written, whatever the program tries.
CREATE USER IF NOT EXISTS 'certpurge_worker'@'%' IDENTIFIED BY 'change-me-worker';
ALTER USER 'certpurge_worker'@'%' IDENTIFIED BY 'change-me-worker';
GRANT SELECT (`id`) ON `openedx`.`auth_user` TO 'certpurge_worker'@'%';
GRANT SELECT (`id`, `created`, `user_id`) ON `openedx`.`user_api_userretirementrequest` TO 'certpurge_worker'@'%';
GRANT SELECT (`id`, `created`, `user_id`, `current_state_id`) ON `openedx`.`user_api_userretirementstatus` TO 'certpurge_worker'@'%';
GRANT SELECT (`id`, `state_name`) ON `openedx`.`user_api_retirementstate` TO 'certpurge_worker'@'%';
GRANT SELECT (`id`, `user_id`, `verify_uuid`, `download_uuid`, `download_url`), UPDATE (`download_uuid`, `download_url`)
  ON `openedx`.`certificates_generatedcertificate` TO 'certpurge_worker'@'%';
GRANT SELECT (`id`, `history_id`, `user_id`, `verify_uuid`, `download_uuid`, `download_url`), UPDATE (`download_uuid`, `download_url`)
  ON `openedx`.`certificates_historicalgeneratedcertificate` TO 'certpurge_worker'@'%';
GRANT SELECT ON `certpurge`.* TO 'certpurge_worker'@'%';

-- `enqueuer migrate` only: it makes and alters the ledger's tables, grants the other two their rights on them, and needs
-- nothing of the LMS.
CREATE USER IF NOT EXISTS 'certpurge_migrate'@'%' IDENTIFIED BY 'change-me-migrate';
ALTER USER 'certpurge_migrate'@'%' IDENTIFIED BY 'change-me-migrate';
GRANT ALL PRIVILEGES ON `certpurge`.* TO 'certpurge_migrate'@'%' WITH GRANT OPTION;
