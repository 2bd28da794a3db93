"""Renders the plugin as Tutor does, and looks at what comes out. Tutor itself is not needed: a stand-in takes what the plugin gives."""

import pathlib
import re
import sys
import types
import unittest

import jinja2
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIGS = ROOT.parent

# What Tutor knows, with values of the kind that a site has.
TUTOR = {
    "DOCKER_REGISTRY": "docker.io/", "LMS_HOST": "lms.example.org", "OPENEDX_MYSQL_DATABASE": "openedx", "RUN_MYSQL": True,
    "MYSQL_HOST": "mysql", "MYSQL_PORT": 3306, "MYSQL_ROOT_USERNAME": "root", "MYSQL_ROOT_PASSWORD": "rootpass",
    "JWT_COMMON_ISSUER": "https://lms.example.org/oauth2", "JWT_COMMON_AUDIENCE": "openedx", "JWT_COMMON_SECRET_KEY": "abcdefghijklmnopqrstuvwx",
}
LOCATION = {"name": "main", "bucket": "example-certificates", "url_prefixes": ["https://certs.example.org/"]}


class Filter:
    """Collects what is added, as tutor.hooks.Filters.NAME does."""

    def __init__(self):
        self.items, self.priorities = [], []

    def add_item(self, item, priority=None):
        self.items.append(item)
        self.priorities.append(priority)

    def add_items(self, items, priority=None):
        for item in items:
            self.add_item(item, priority)


class Filters:
    """Creates a filter for each of the names that Tutor has; any other is an AttributeError, as there."""

    NAMES = ["CONFIG_DEFAULTS", "CONFIG_UNIQUE", "CLI_DO_INIT_TASKS", "IMAGES_PULL", "ENV_TEMPLATE_ROOTS", "ENV_TEMPLATE_TARGETS", "ENV_PATCHES"]

    def __init__(self):
        for name in self.NAMES:
            setattr(self, name, Filter())


def load():
    """Imports the plugin anew, and returns the filters that it has filled."""
    hooks = types.SimpleNamespace(Filters=Filters(), priorities=types.SimpleNamespace(HIGH=5, DEFAULT=10, LOW=50))
    tutor = types.ModuleType("tutor")
    tutor.hooks = hooks
    sys.modules["tutor"] = tutor
    sys.path.insert(0, str(ROOT))
    for name in [name for name in sys.modules if name.startswith("tutorcertpurge")]:
        del sys.modules[name]
    import tutorcertpurge.plugin  # noqa: F401

    sys.path.remove(str(ROOT))
    return hooks


class Site:
    """One Tutor site with the plugin."""

    def __init__(self, **settings):
        self.hooks = load()
        self.filters = self.hooks.Filters
        self.env = jinja2.Environment(undefined=jinja2.StrictUndefined)
        self.env.filters["random_string"] = lambda length: "R" * length
        self.config = dict(TUTOR)
        # Tutor saves the unique values, so they are there when the defaults are rendered.
        for key, value in self.filters.CONFIG_UNIQUE.items + self.filters.CONFIG_DEFAULTS.items:
            self.config[key] = settings.get(key, value)
        for key, value in self.config.items():
            if isinstance(value, str):
                self.config[key] = self.render(value)

    def render(self, text):
        return self.env.from_string(text).render(**self.config)

    def patch(self, name):
        return self.render(dict(self.filters.ENV_PATCHES.items)[name])

    def template(self, *path):
        (root,) = self.filters.ENV_TEMPLATE_ROOTS.items
        return self.render(pathlib.Path(root, "certpurge", *path).read_text())

    def compose(self):
        return yaml.safe_load(self.patch("local-docker-compose-services"))

    def kubernetes(self):
        return [d for d in yaml.safe_load_all(self.patch("k8s-deployments") + "\n" + self.patch("k8s-services")) if d]


VARIANTS = {
    "defaults": {},
    "no redis, no watch": {"CERTPURGE_RUN_REDIS": False, "CERTPURGE_WATCH": False, "CERTPURGE_REDIS_WORKER_URL": "redis://redis.example.org/5"},
    "everything": {
        "CERTPURGE_LOCATIONS": [LOCATION], "CERTPURGE_GCS_CREDENTIALS_FILE": "/etc/gcs.json", "CERTPURGE_GCP_SERVICE_ACCOUNT": "a@b.iam",
        "CERTPURGE_RETIREMENT_STATES": True, "CERTPURGE_WORKERS": 3, "CERTPURGE_ACCEPT_SOFT_DELETE": True,
    },
}


class Plugin(unittest.TestCase):
    def test_entry_point(self):
        text = (ROOT / "pyproject.toml").read_text()
        self.assertIn('[project.entry-points."tutor.plugin.v1"]\ncertpurge = "tutorcertpurge.plugin"', text)

    def test_every_setting_begins_with_the_name_of_the_plugin(self):
        filters = load().Filters
        for key, _ in filters.CONFIG_DEFAULTS.items + filters.CONFIG_UNIQUE.items:
            self.assertTrue(key.startswith("CERTPURGE_"), key)

    def test_settings_are_explained(self):
        text = (ROOT / "README.md").read_text()
        for key, _ in load().Filters.CONFIG_DEFAULTS.items:
            self.assertIn("`" + key + "`", text)

    def test_everything_renders_in_every_variant(self):
        for name, settings in VARIANTS.items():
            with self.subTest(name):
                site = Site(**settings)
                for patch, _ in site.filters.ENV_PATCHES.items:
                    site.patch(patch)
                for service in site.compose().values():
                    self.assertIn("image", service)
                for path in ("settings/worker.yaml", "settings/enqueuer.yaml"):
                    yaml.safe_load(site.template("apps", *path.split("/")))

    def test_services(self):
        self.assertEqual(
            set(Site().compose()), {"certpurge-migrate", "certpurge-worker", "certpurge-enqueuer", "certpurge-watch", "certpurge-redis"})
        self.assertEqual(set(Site(**VARIANTS["no redis, no watch"]).compose()), {"certpurge-migrate", "certpurge-worker", "certpurge-enqueuer"})
        worker = Site(**VARIANTS["everything"]).compose()["certpurge-worker"]
        self.assertEqual(worker["deploy"]["replicas"], 3)
        self.assertIn("/etc/gcs.json:/run/secrets/certpurge-gcs.json:ro", worker["volumes"])

    def test_redis_throws_nothing_away(self):
        site = Site()
        (pod,) = [d for d in site.kubernetes() if d["kind"] == "Deployment" and d["metadata"]["name"] == "certpurge-redis"]
        for arguments in (site.compose()["certpurge-redis"]["command"], pod["spec"]["template"]["spec"]["containers"][0]["args"]):
            self.assertEqual(arguments[arguments.index("--maxmemory-policy") + 1], "noeviction")

    def test_mounted_files_exist(self):
        site = Site(**VARIANTS["everything"])
        (target,) = site.filters.ENV_TEMPLATE_TARGETS.items
        self.assertEqual(target, ("certpurge/apps", "plugins"))
        for name, service in site.compose().items():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("../plugins/"):
                    path = ROOT / "tutorcertpurge" / "templates" / source.removeprefix("../plugins/")
                    self.assertTrue(path.exists(), f"{name}: {source}")
        generated = yaml.safe_load(site.patch("kustomization-configmapgenerator"))
        for path in generated[0]["files"]:
            self.assertTrue((ROOT / "tutorcertpurge" / "templates" / path.removeprefix("plugins/")).exists(), path)

    def test_secrets_in_kubernetes_are_those_of_compose(self):
        site = Site()
        secrets = [d for d in site.kubernetes() if d["kind"] == "Secret"]
        self.assertEqual(len(secrets), 2)
        for key, value in {key: value for s in secrets for key, value in s["stringData"].items()}.items():
            self.assertEqual(value.strip(), site.template("apps", "secrets", key).strip(), key)

    def test_locations_and_shares_of_the_rate(self):
        worker = yaml.safe_load(Site(**VARIANTS["everything"]).template("apps", "settings", "worker.yaml"))
        self.assertEqual(worker["locations"], [LOCATION])
        self.assertEqual(worker["gcs"]["delete_rate"], {"start": 333, "ceiling": 1333})
        self.assertIs(worker["gcs"]["accept_soft_delete"], True)

    def test_grants_are_those_of_certpurge(self):
        site = Site()
        ((service, script),) = site.filters.CLI_DO_INIT_TASKS.items
        self.assertEqual(service, "mysql")
        self.assertEqual(site.filters.CLI_DO_INIT_TASKS.priorities, [site.hooks.priorities.LOW])  # after the LMS's migrations
        body = site.render(script).split("<<'SQL'\n", 1)[1].rsplit("\nSQL", 1)[0]
        original = (CONFIGS / "mysql" / "grants.sql").read_text()
        for placeholder, value in ((f"change-me-{role}", "R" * 24) for role in ("enqueuer", "worker", "migrate")):
            original = original.replace(placeholder, value)
        self.assertEqual(statements(body), statements(original))

    def test_accounts_of_redis_are_those_of_certpurge(self):
        site = Site()
        lines = (CONFIGS / "redis" / "users.acl").read_text().splitlines()
        original = [line for line in lines if re.match("user (default|certpurge_worker|certpurge_enqueuer) ", line)]
        self.assertEqual(
            site.template("apps", "secrets", "redis-users").splitlines(),
            [re.sub("change-me-(worker|enqueuer)", "R" * 24, line) for line in original])
        for program in ("worker", "enqueuer"):
            url = site.template("apps", "secrets", "redis-url-" + program).strip()
            self.assertEqual(url, f"redis://certpurge_{program}:{'R' * 24}@certpurge-redis:6379/0")

    def test_retirement_states_come_before_the_dead_ends(self):
        before = ["PENDING", "RETIRING_LMS", "LMS_COMPLETE", "ERRORED", "ABORTED", "COMPLETE"]
        for settings, want in (
            ({}, before),
            (VARIANTS["everything"], before[:3] + ["RETIRING_PDF_CERTIFICATES", "PDF_CERTIFICATES_COMPLETE"] + before[3:]),
        ):
            names = {"RETIREMENT_STATES": list(before)}
            patch = Site(**settings).patch("openedx-lms-common-settings")
            for _ in range(2):  # the settings of a site may be read in more than one file
                exec(patch, names)  # noqa: S102: that is what Django does with it
            self.assertEqual(names["RETIREMENT_STATES"], want)
            self.assertTrue(all(len(state) <= 30 for state in names["RETIREMENT_STATES"]))


def statements(script):
    """The SQL without comments and blanks."""
    script = re.sub(r"(?m)^--.*$", "", script)
    return [" ".join(s.split()) for s in script.split(";") if s.strip()]


if __name__ == "__main__":
    # With a directory, it writes there what the checks in Go look at.
    if len(sys.argv) == 2:
        for name, settings in VARIANTS.items():
            site = Site(**{"CERTPURGE_LOCATIONS": [LOCATION], **settings})
            directory = pathlib.Path(sys.argv[1], name.replace(" ", "-").replace(",", ""))
            for path in ("settings/worker.yaml", "settings/enqueuer.yaml", *("secrets/" + s for s in ("mysql-dsn-enqueuer", "mysql-dsn-worker", "mysql-migrate-dsn", "redis-url-worker", "redis-url-enqueuer", "jwt-secret"))):
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
                (directory / path).write_text(site.template("apps", *path.split("/")))
            (directory / "compose.yaml").write_text(yaml.safe_dump({"services": {**site.compose(), "mysql": {"image": "mysql:8.4"}}}))
            (directory / "kubernetes.yaml").write_text(yaml.safe_dump_all(site.kubernetes()))
    else:
        unittest.main()
