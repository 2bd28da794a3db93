"""The Tutor plugin of certpurge: settings, services, accounts.

The templates know Tutor's variables and those below, as CERTPURGE_NAME.
"""

from importlib import resources

from tutor import hooks

from .__about__ import __version__

DEFAULTS = {
    "VERSION": __version__,
    # No image is published: build one from certpurge's Dockerfile, push it where your hosts find it, and name it here.
    "DOCKER_IMAGE": "{{ DOCKER_REGISTRY }}certpurge:v{{ CERTPURGE_VERSION }}",
    # Where the files are: the entries of `locations` in worker.yaml. Without one, the worker does not start.
    "LOCATIONS": [],
    "ACCEPT_SOFT_DELETE": False,
    # Path, on the host, of a service account's key. Empty where the machine or the pod has credentials of its own.
    "GCS_CREDENTIALS_FILE": "",
    # Of GKE's Workload Identity: the Google service account.
    "GCP_SERVICE_ACCOUNT": "",
    "WORKERS": 1,
    # Requests a second to each bucket, of all workers together.
    "DELETE_RATE": 1000,
    "READ_RATE": 5000,
    # Ask by itself for retired users: needs no change of the retirement pipeline.
    "WATCH": True,
    "COOL_OFF_DAYS": 7,
    # Two states for a stage of the retirement pipeline, see README.md.
    "RETIREMENT_STATES": False,
    # Tutor's own Redis evicts keys when its memory is full (allkeys-lru), so certpurge has one of its own.
    "RUN_REDIS": True,
    "REDIS_WORKER_URL": "redis://certpurge_worker:{{ CERTPURGE_REDIS_WORKER_PASSWORD }}@certpurge-redis:6379/0",
    "REDIS_ENQUEUER_URL": "redis://certpurge_enqueuer:{{ CERTPURGE_REDIS_ENQUEUER_PASSWORD }}@certpurge-redis:6379/0",
    "REDIS_DOCKER_IMAGE": "docker.io/redis:7.4.5",
    "MYSQL_DATABASE": "certpurge",
    "LOG_LEVEL": "info",
}

# Made once for each site.
UNIQUE = {
    "MYSQL_ENQUEUER_PASSWORD": "{{ 24|random_string }}",
    "MYSQL_WORKER_PASSWORD": "{{ 24|random_string }}",
    "MYSQL_MIGRATE_PASSWORD": "{{ 24|random_string }}",
    "REDIS_WORKER_PASSWORD": "{{ 24|random_string }}",
    "REDIS_ENQUEUER_PASSWORD": "{{ 24|random_string }}",
}

_files = resources.files("tutorcertpurge")

hooks.Filters.CONFIG_DEFAULTS.add_items([("CERTPURGE_" + key, value) for key, value in DEFAULTS.items()])
hooks.Filters.CONFIG_UNIQUE.add_items([("CERTPURGE_" + key, value) for key, value in UNIQUE.items()])

# After the LMS's own migrations: rights on columns need the columns.
hooks.Filters.CLI_DO_INIT_TASKS.add_item(
    ("mysql", (_files / "templates" / "certpurge" / "tasks" / "mysql" / "init").read_text(encoding="utf-8")),
    priority=hooks.priorities.LOW,
)

hooks.Filters.IMAGES_PULL.add_item(("certpurge", "{{ CERTPURGE_DOCKER_IMAGE }}"))

hooks.Filters.ENV_TEMPLATE_ROOTS.add_item(str(_files / "templates"))
hooks.Filters.ENV_TEMPLATE_TARGETS.add_item(("certpurge/apps", "plugins"))
for _patch in (_files / "patches").iterdir():
    hooks.Filters.ENV_PATCHES.add_item((_patch.name, _patch.read_text(encoding="utf-8")))
