.DEFAULT_GOAL := help
export GOTOOLCHAIN := local

# The race detector needs a C compiler; without one the tests run all the same.
RACE := $(shell command -v gcc >/dev/null && echo -race)
TESTFLAGS ?=
# What a build calls itself, and its place in the order of releases: that of its commit.
VERSION ?= 0.1.0
SEQUENCE ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1)
# The time that everything in a release bears.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1)
TOOL := go tool -modfile=.ci/tools.mod

# What is tested as a Windows program.
WINDOWS := ./agent/... ./tunnel/keys/... ./tunnel/token ./tunnel/wg ./cmd/borealis-agent

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## run the main job on this machine: engine, agent and terminal in one process, without root
	CGO_ENABLED=0 go run ./cmd/borealis demo

dev: ## run the demo with live reload: a change of a .templ or .go file restarts it
	go tool templ generate --watch --proxy=https://127.0.0.1:8443 --cmd="go run ./cmd/borealis demo --data .ci/out/dev"

build: agents ## build bin/borealis, with the agents for Windows and Linux inside, and the agents themselves
	.ci/dist/engine "$$(go env GOARCH)" bin/borealis
	cp static/downloads/files/borealis-agent-* bin/
	cp static/downloads/files/borealis-agent-linux-amd64 bin/borealis-agent

agents: ## build the agents that the engine hands out
	@mkdir -p .ci/out
	VERSION=$(VERSION) SEQUENCE=$(SEQUENCE) .ci/dist/agents

release: agents ## what is published, in dist/: RELEASE_KEY=FILE signs updates, CODESIGN_CERT and CODESIGN_KEY sign programs
	VERSION=$(VERSION) .ci/dist/release

reproducible: ## make the release in dist/ again elsewhere, and compare every byte
	.ci/dist/reproducible VERSION=$(VERSION) $(if $(RELEASE_KEY),RELEASE_KEY=$(abspath $(RELEASE_KEY)))

test-package: ## install the release in dist/ into a clean Debian, and take it off again (root)
	.ci/package/test

test-systemd: ## run the release's package under a real systemd, in a virtual machine (root)
	.ci/systemd/run

test: ## run every test; what this machine lacks is skipped with a reason
	go test $(RACE) -timeout 20m $(TESTFLAGS) ./...
	go test $(TESTFLAGS) ./.ci/sbom
	cd .ci/browser && go test -count=1 $(TESTFLAGS) ./...

test-kernel: ## run the kernel backend, and the port table and the whole job on it, in Debian's kernel under QEMU
	@mkdir -p .ci/out
	CGO_ENABLED=0 go test -c -tags kernel -o .ci/out/wg.test ./tunnel/wg
	CGO_ENABLED=0 go test -c -tags kernel -o .ci/out/job.test ./cmd/borealis
	CGO_ENABLED=0 go test -c -tags kernel -o .ci/out/netfilter.test ./acl/netfilter
	.ci/kernel/run.sh ".ci/out/wg.test ^TestKernel" ".ci/out/netfilter.test ^TestKernelTable$$" ".ci/out/job.test ^TestKernelJob$$"

test-windows: ## run the agent's unit tests as Windows programs, under Wine
	.ci/wine/test -count=1 $(TESTFLAGS) $(WINDOWS)

bench: ## measure speed and memory; writes docs/benchmarks.md
	.ci/bench

soak: ## what takes an hour: more of the model, more kills, and 10,000 agents; figures go to docs/benchmarks.md
	.ci/soak

lint: ## format, generated code, linters for both systems, dead code
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"
	go tool templ generate -path views && git diff --exit-code -- views
	go mod tidy -diff
	$(TOOL) golangci-lint run --allow-parallel-runners ./...
	lint=$$($(TOOL) -n golangci-lint) && GOOS=windows $$lint run --allow-parallel-runners --tests=false ./agent/... ./tunnel/wg/... ./tunnel/keys/... ./tunnel/token/... ./cmd/borealis-agent/...
	for arch in amd64 arm64; do GOOS=windows GOARCH=$$arch go vet $(WINDOWS) || exit 1; done
	@dead=$$($(TOOL) deadcode -test ./...) && echo "$$dead" && test -z "$$dead"

check: lint test ## what has to be green before a commit

fuzz: ## fuzz whatever parses bytes from outside, 20 s a target
	.ci/fuzz

vendor-update: ## fetch the browser files again (maintainers only, needs npm)
	static/vendor-update.sh

.PHONY: help demo dev build agents release reproducible test test-package test-systemd test-kernel test-windows bench soak lint check fuzz vendor-update
