# The everyday commands. What a change must pass is in .ci/run; most targets here are steps of it.
.DEFAULT_GOAL := help
.PHONY: help build test race lint fmt generate fuzz demo bench stores run ci clean

CONFIG ?= configs/worker.yaml
BENCH ?=

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/worker; Go stamps it with the version of the git tag or commit.
	go build -trimpath -o bin/worker ./cmd/worker

test: ## Run the tests.
	go test ./...

race: ## Run the tests under the race detector.
	bash .ci/run test

lint: ## Check the format, go vet, the linters and the module files.
	bash .ci/run format modules vet lint

fmt: ## Format the code.
	go tool -modfile=tools/go.mod gofumpt -l -w .

generate: ## Write the files that are made from others.
	go -C checks run ./generate

fuzz: ## Fuzz every target for FUZZTIME (10s).
	bash .ci/run fuzz

demo: ## Watch the whole way on embedded parts.
	go run ./cmd/worker demo

bench: build ## Measure the worker; BENCH holds the arguments, --help among them.
	go -C bench build -trimpath -o ../bin/bench .
	./bin/bench $(BENCH)

stores: ## Have rotations deliver to a real Vault and Kubernetes API server; the first time builds them.
	go -C checks/stores test -count=1 ./...
	go -C checks/stores/kubernetes test -count=1 ./...

run: build ## Run the worker with CONFIG (configs/worker.yaml).
	./bin/worker run -c $(CONFIG)

ci: ## Everything that a change must pass.
	bash .ci/run

clean: ## Remove what was built.
	rm -rf bin
