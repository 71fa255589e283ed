.DEFAULT_GOAL := help
export GOTOOLCHAIN := local

# The race detector needs a C compiler; without one the tests run all the same.
RACE := $(shell command -v gcc >/dev/null && echo -race)
TESTFLAGS ?=
LDFLAGS := -s -w
TOOL := go tool -modfile=.ci/tools.mod

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## run the main job on this machine: engine, agent and terminal in one process, without root
	CGO_ENABLED=0 go run ./cmd/borealis demo

dev: ## run the demo with live reload: a change of a .templ or .go file restarts it
	go tool templ generate --watch --proxy=https://127.0.0.1:8443 --cmd="go run ./cmd/borealis demo --data .ci/out/dev"

build: ## build bin/borealis and bin/borealis-agent, and the agent for Windows
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./cmd/borealis ./cmd/borealis-agent
	for arch in amd64 arm64; do \
	  CGO_ENABLED=0 GOOS=windows GOARCH=$$arch go build -trimpath -ldflags "$(LDFLAGS)" -o bin/borealis-agent-$$arch.exe ./cmd/borealis-agent || exit 1; \
	done

test: ## run every test; what this machine lacks is skipped with a reason
	go test $(RACE) $(TESTFLAGS) ./...
	cd .ci/browser && go test -count=1 $(TESTFLAGS) ./...

test-kernel: ## run the kernel backend, and the port table and the whole job on it, in Debian's kernel under QEMU
	@mkdir -p .ci/out
	CGO_ENABLED=0 go test -c -tags kernel -o .ci/out/wg.test ./tunnel/wg
	CGO_ENABLED=0 go test -c -tags kernel -o .ci/out/job.test ./cmd/borealis
	CGO_ENABLED=0 go test -c -tags kernel -o .ci/out/netfilter.test ./acl/netfilter
	.ci/kernel/run.sh ".ci/out/wg.test ^TestKernel" ".ci/out/netfilter.test ^TestKernelTable$$" ".ci/out/job.test ^TestKernelJob$$"

bench: ## measure speed and memory; writes docs/benchmarks.md
	.ci/bench

lint: ## format, generated code, linters for both systems, dead code
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"
	go tool templ generate -path views && git diff --exit-code -- views
	go mod tidy -diff
	$(TOOL) golangci-lint run --allow-parallel-runners ./...
	lint=$$($(TOOL) -n golangci-lint) && GOOS=windows $$lint run --allow-parallel-runners --tests=false ./agent/... ./tunnel/wg/... ./tunnel/keys/... ./tunnel/token/... ./cmd/borealis-agent/...
	GOOS=windows GOARCH=arm64 go vet ./agent/... ./tunnel/wg/... ./cmd/borealis-agent/...
	@dead=$$($(TOOL) deadcode -test ./...) && echo "$$dead" && test -z "$$dead"

check: lint test ## what has to be green before a commit

fuzz: ## fuzz whatever parses bytes from outside, 20 s a target
	.ci/fuzz

vendor-update: ## fetch the browser files again (maintainers only, needs npm)
	static/vendor-update.sh

.PHONY: help demo dev build test test-kernel bench lint check fuzz vendor-update
