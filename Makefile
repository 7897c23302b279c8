# 'make' builds; 'make ci' is all that is asked of a change.

GO          ?= go
FUZZTIME    ?= 60s
DURATION    ?= 1h
SHORT_SEEDS ?= 300
ROUNDS      ?= 200
SPACE       ?= 20000000000

# Pinned, so that the same tree always gets the same answer. Raise them together
# with the Go version in go.mod.
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK ?= golang.org/x/vuln/cmd/govulncheck@v1.9.0

.DEFAULT_GOAL := build
.PHONY: build test race lint vuln fuzz sim sim-short crash soak-space interop bench demo ci clean

build: ## the program, in bin/holdfast
	$(GO) build -o bin/holdfast ./cmd/holdfast

test: ## all tests
	$(GO) test ./...

race: ## all tests with the race detector
	$(GO) test -race ./...

lint: ## vet, staticcheck, and go.mod in order (format and layers are tests)
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff

vuln: ## known vulnerabilities in what we call (needs the network)
	$(GO) run $(GOVULNCHECK) ./...

fuzz: ## every fuzz target for FUZZTIME each
	GO='$(GO)' .ci/fuzz $(FUZZTIME)

sim: ## the simulation with fresh seeds for DURATION, on all processors
	$(GO) test ./internal/sim -run 'TestSim$$' -count=1 -v -timeout 0 -duration $(DURATION)

# The same seeds every time: what fails here is the change's fault.
sim-short: ## the simulation with SHORT_SEEDS seeds, always the same
	$(GO) test ./internal/sim -run 'TestSim$$' -count=1 -v -timeout 0 -first 9000 -seeds $(SHORT_SEEDS)

crash: ## kill a real broker process ROUNDS times and look what is left
	$(GO) test -count=1 -timeout 0 -v ./test/crash -run '^TestCrash$$' -rounds $(ROUNDS)

soak-space: ## SPACE bytes through busy sessions, one forgotten session among them
	$(GO) test -count=1 -timeout 0 -v ./test/soak -run '^TestSpace$$' -space.bytes $(SPACE) -space.segment 67108864 -space.payload 8000 -space.every 4194304

interop: ## clients that others wrote; those that are missing fail it
	HOLDFAST_REQUIRE_INTEROP=1 $(GO) test -count=1 ./test/interop/...

bench: ## all benchmarks, with allocations
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...

demo: ## what is kept and what is not
	$(GO) run ./cmd/holdfast demo

ci: ## what CI runs, on this machine
	.ci/run

clean:
	rm -rf bin .ci/tmp
