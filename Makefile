# Needs Go, make and kubectl. Everything else is built from pinned source, once,
# but for Prometheus, which is Debian's.

# Where packages are pushed to, and their version.
REGISTRY ?=
VERSION ?= v0.1.0-dev

# Packages that aren't pushed have a registry that doesn't exist.
PACKAGE_REGISTRY = $(or $(REGISTRY),registry.example.com/aim-engine)
PACKAGE_FLAGS = --registry=$(PACKAGE_REGISTRY) --version=$(VERSION) --cli="$$($(TOOLS) path crossplane)"

# Tests that take a control plane from start to end are in there.
E2E = ./test/e2e/...
TESTED = $$(go list ./... | grep -v /test/e2e)

TOOLS = go run ./test/tools/cmd/tools
# Tests would build these, too, but without saying so.
TEST_TOOLS = etcd kube-apiserver kube-controller-manager kube-scheduler kwok \
	crossplane-core crossplane provider-kubernetes crank prometheus-adapter
CONTROLPLANE = go run ./test/controlplane/cmd/controlplane

export GOLANGCI_LINT_CACHE ?= $(CURDIR)/.cache/golangci-lint

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: ## Start a local control plane, and serve a first model on it.
	@$(CONTROLPLANE) up

.PHONY: down
down: ## Stop the local control plane.
	@$(CONTROLPLANE) down

.PHONY: status
status: ## Show what the local control plane consists of.
	@$(CONTROLPLANE) status

.PHONY: build
build: ## Build the function for this machine, into _output.
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o _output/function-aim ./fn

.PHONY: generate
generate: ## Generate code and schemas from the Go types.
	go run ./apis/generate

.PHONY: fmt
fmt: ## Format the code.
	@"$$($(TOOLS) path golangci-lint)" fmt

.PHONY: lint
lint: ## Check the code's style.
	@"$$($(TOOLS) path golangci-lint)" run

.PHONY: test
test: ## Run all tests but the end to end tests.
	@$(TOOLS) build $(TEST_TOOLS)
	go test -timeout 20m $(TESTED)

.PHONY: test-short
test-short: ## Run the tests that need no tools.
	go test -short $(TESTED)

.PHONY: e2e
e2e: ## Run the end to end tests, on local control planes of their own.
	@$(TOOLS) build $(TEST_TOOLS)
	go test $(E2E) -count=1 -parallel 8 -timeout 40m -v

.PHONY: bench
bench: ## Run the benchmarks.
	go test -run '^$$' -bench . -benchmem ./fn/...

.PHONY: xpkg
xpkg: ## Build the packages, into _output: make xpkg VERSION=v0.1.0
	@go run ./package/xpkg/cmd/xpkg build $(PACKAGE_FLAGS)

.PHONY: push
push: ## Build and push the packages: make push REGISTRY=registry.example.com/aim-engine
	$(if $(REGISTRY),,$(error Set REGISTRY, for example REGISTRY=registry.example.com/aim-engine))
	@go run ./package/xpkg/cmd/xpkg push $(PACKAGE_FLAGS)

.PHONY: tools
tools: ## Build all pinned tools, into .cache.
	@$(TOOLS) build

.PHONY: clean
clean: ## Remove what was built, except for tools.
	rm -rf _output .cache/golangci-lint
