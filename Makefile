# `make` prints what there is to run. CI runs these very targets (.ci/run).

SHELL := bash
.DEFAULT_GOAL := help

# The JSON client of Cloud Storage is all we use. Without its gRPC half the binaries are a third smaller and build in half the
# time. Without what a debugger needs, the compiler is a fifth faster; stack traces and profiles do not need it. Plain
# `go build ./...` works too, only slower.
export GOFLAGS := $(strip $(shell go env GOFLAGS) -tags=disable_grpc_modules -gcflags=all=-dwarf=false -ldflags=-w)

# The tools are pinned in a module of their own, so that they choose no versions for the product.
TOOL := go tool -modfile=tools/go.mod

# The server that test, demo, chaos and the others start: mariadb, or mysql for Oracle's MySQL. The machine's own or a private
# copy, see docs/design.md.
SERVER ?= $(or $(CERTPURGE_TEST_SERVER),mariadb)
export CERTPURGE_TEST_SERVER := $(SERVER)

# Runs what follows beside a private MySQL server and Redis, which it installs where they are missing.
TESTENV := go run ./internal/sandbox/cmd/testenv --

# What lint, vet, test and bench look at.
PACKAGES ?= ./...
# Whether make test uses the race detector; empty: it does not.
RACE ?= -race
# Arguments of the demo: make demo ARGS="--users 100 -o json".
ARGS ?=
# Where make browser puts pictures of what it sees, an absolute path; nowhere if empty.
SCREENSHOTS ?=
# What make dist-verify checks: the directory of a release, and the minisign key that it must be signed with.
RELEASE ?= dist
KEY ?=
# Arguments of the fault-injection suite, see docs/chaos.md. CI's form: make chaos CHAOS="--users 300 --bound 3m".
CHAOS ?=
# Which shapes make shapes runs: a pattern of tests, such as TestSentinel/valkey.
SHAPES ?= TestCachesOfUnstable|TestOneRedis|TestSentinel|TestCluster|TestMySQL$$|TestReadOnly|TestGalera|TestProxySQL
# How long make fuzz spends on each target.
FUZZTIME ?= 1m
# Which benchmarks make bench runs, and how often. For benchstat, use COUNT=10 and keep the output of each side.
BENCH ?= .
COUNT ?= 1

.PHONY: help
help: ## print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 24

.PHONY: setup
setup: compiler curl ## download the modules, build the tools, install MariaDB (or MySQL: SERVER=mysql) and Redis
	go mod download
	$(TOOL) golangci-lint version
	$(TESTENV) true

.PHONY: build
build: ## build bin/worker and bin/enqueuer
	@mkdir -p bin
	go build -o bin/ ./worker ./enqueuer

# What is shipped is static, and the same bytes wherever it is built from the same commit by the same Go.
OUT ?= bin
LDFLAGS := -s -w -buildid=
# What binaries builds. The image of the demo has its own.
PROGRAMS ?= ./worker ./enqueuer
.PHONY: binaries
binaries: ## build the static binaries that are shipped into OUT (GOOS=linux GOARCH=arm64)
	@mkdir -p '$(OUT)'
	GOFLAGS='$(filter-out -gcflags=% -ldflags=%,$(GOFLAGS))' CGO_ENABLED=0 go build -trimpath -buildvcs=true -ldflags='$(LDFLAGS)' -o '$(OUT)/' $(PROGRAMS)

.PHONY: dist
dist: ## build a release into dist/: archives, bills of materials, checksums (DIST_SIGNING_KEY=minisign.key)
	@.ci/dist

.PHONY: dist-verify
dist-verify: ## check a release, build its commit again, compare (RELEASE=dir KEY=minisign.pub)
	@.ci/dist-verify '$(RELEASE)' '$(KEY)'

.PHONY: pin
pin: ## look up the digests of all images and write them beside their tags
	@go run -C tools/release ./pin "$$PWD"

.PHONY: releases
releases: ## test what releases are made with: make dist, dist-verify, vuln and pin
	cd tools/release && go vet ./... && go test -count=1 ./...

.PHONY: demo
demo: ## purge 1,000 users on private servers and check the result (ARGS="--users 100 -o json", SERVER=mysql)
	@.ci/build-demo && bin/demo $(ARGS)

.PHONY: test
test: compiler curl ## run all tests with the race detector, on private servers (SERVER=mysql: Oracle's MySQL)
	$(TESTENV) go test $(RACE) -shuffle=on -timeout=30m $(PACKAGES)

.PHONY: browser
browser: chromium ## look at the admin pages through a headless Chromium, with axe-core (SCREENSHOTS=dir keeps pictures)
	axe=$$(.ci/axe) && CERTPURGE_TEST_AXE=$$axe CERTPURGE_TEST_SCREENSHOTS=$(SCREENSHOTS) $(TESTENV) go test -tags=disable_grpc_modules,browser -run='^TestBrowser' -timeout=20m ./worker ./internal/admin/console ./internal/certificate

.PHONY: rules
rules: ## check alert rules, dashboard and real metrics with Prometheus's promtool, and test the rules
	promtool=$$(.ci/unpacked 'make rules' promtool prometheus) && CERTPURGE_TEST_PROMTOOL=$$promtool $(TESTENV) go test -tags=disable_grpc_modules,promtool -run='^TestPromtool' -timeout=30m ./configs ./worker ./enqueuer

.PHONY: manifests
manifests: ## check compose, Kubernetes and Tutor with the libraries that read them
	python=$$(.ci/python) && rendered=$$(mktemp -d) && trap 'rm -rf "$$rendered"' EXIT && \
	"$$python" configs/tutor/tests/test_plugin.py && "$$python" configs/tutor/tests/test_plugin.py "$$rendered" && \
	cd tools/manifests && go vet ./... && CERTPURGE_TEST_TUTOR=$$rendered go test -count=1 ./...

.PHONY: kubernetes-test
kubernetes-test: ## apply Kubernetes, Helm and Tutor to a real kube-apiserver, built the first time (15 minutes)
	python=$$(.ci/python) && rendered=$$(mktemp -d) && trap 'rm -rf "$$rendered"' EXIT && \
	"$$python" configs/tutor/tests/test_plugin.py "$$rendered" && helm=$$(.ci/helm) && apiserver=$$(.ci/kube-apiserver) && \
	etcd=$$(.ci/unpacked 'make kubernetes-test' etcd etcd-server) && cd tools/kubernetes && go vet . && \
	CERTPURGE_TEST_TUTOR=$$rendered CERTPURGE_TEST_HELM=$$helm CERTPURGE_TEST_ETCD=$$etcd \
		CERTPURGE_TEST_KUBE_APISERVER=$$apiserver go test -count=1 .

.PHONY: compose-test
compose-test: ## run docker-compose.yml on a private Docker engine: build, kill, restart, upgrade (needs root)
	@.ci/compose-test

.PHONY: chaos
chaos: build ## purge 10,000 users while everything breaks (CHAOS="--seed 7", "--scenario dead-letters"; SERVER=mysql)
	@go run ./internal/sandbox/cmd/chaos $(CHAOS)

# One at a time: each runs up to a dozen servers.
.PHONY: shapes
shapes: ## purge on Redis (Sentinel, Cluster; 7, 8, Valkey) and MySQL as they are run, with fail-overs (SHAPES=TestCluster)
	go test -tags=disable_grpc_modules,shapes -run='$(SHAPES)' -count=1 -parallel=1 -v -timeout=60m ./internal/sandbox ./internal/sandbox/shapes

.PHONY: lint
lint: ## run the linters and check the formatting
	$(TOOL) golangci-lint run $(PACKAGES)

.PHONY: fmt
fmt: ## format the code as lint wants it
	$(TOOL) golangci-lint fmt

.PHONY: vet
vet: ## run go vet
	go vet $(PACKAGES)

.PHONY: vuln
vuln: ## look for known vulnerabilities in what we call, and in what is linked
	@.ci/vuln $(PACKAGES)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME
	$(TESTENV) .ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## run the benchmarks (BENCH=Name COUNT=10)
	$(TESTENV) go test -run='^$$' -bench='$(BENCH)' -count=$(COUNT) -benchmem $(PACKAGES)

.PHONY: bench-river
bench-river: ## compare with River on PostgreSQL, both private, in four minutes (BENCH=Purge BENCH_ROUNDS=5)
	$(TESTENV) go test -C tools/river -run='^$$' -bench='$(BENCH)' -benchtime=1x -timeout=20m

.PHONY: benchstat
benchstat: ## compare two outputs of make bench (OLD=old.txt NEW=new.txt)
	$(TOOL) benchstat $(OLD) $(NEW)

.PHONY: generate
generate: ## make what is generated: docs/configuration.md and others
	go generate ./...

.PHONY: generate-check
generate-check: ## fail if make generate would change anything
	@.ci/generate-check

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist coverage.out

# The race detector needs a C compiler, which a machine with only Go does not have.
.PHONY: compiler
compiler:
	@set -- $${CC:-gcc}; command -v "$$1" >/dev/null || .ci/install "go test -race needs a C compiler (gcc, or CC)" gcc libc6-dev

# The examples of the pages are run as they stand there.
.PHONY: curl
curl:
	@command -v curl >/dev/null || .ci/install "a test of the examples needs curl" curl

.PHONY: chromium
chromium:
	@command -v chromium google-chrome google-chrome-stable chrome >/dev/null || .ci/install "make browser needs Chromium (chromium, google-chrome or chrome)" chromium fonts-dejavu-core
