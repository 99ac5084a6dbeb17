# The project's commands. `make up` builds and starts a cluster on this machine; `make test` is everything that CI runs.

BIN     := build/hyperkube
VERSION := v1.37.2
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DIRTY   := $(shell git status --porcelain 2>/dev/null | head -c1)
# The date of the commit, not of the build, so that one commit gives one binary.
DATE    := $(shell git log -1 --format=%cd --date=format:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
V       := k8s.io/component-base/version
LDFLAGS := -s -w -X $(V).gitVersion=$(VERSION) -X $(V).gitMajor=1 -X $(V).gitMinor=37 -X $(V).gitCommit=$(COMMIT) \
	-X $(V).gitTreeState=$(if $(DIRTY),dirty,clean) -X $(V).buildDate=$(DATE)

export CGO_ENABLED := 0
# The same for building, vetting and testing: other flags would compile all dependencies once more.
export GOFLAGS := -trimpath -buildvcs=false

.PHONY: conformance programs all build helpers setup up down image upstream test lint fix bench herd clean

all: build

build: helpers
	go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN) .

up: build
	$(BIN) up --detach
	$(BIN) kubectl --kubeconfig /var/lib/hyperkube/admin.kubeconfig get cs,nodes

down:
	$(BIN) down

image: build
	go run ./scripts/image $(BIN) build/hyperkube-image.tar docker.io/library/hyperkube:$(VERSION)

setup:
	scripts/setup

helpers: setup
	scripts/build-helpers

lint:
	scripts/verify-format
	go vet ./...
	go tool staticcheck ./...
	cd e2e/conformance && go vet ./...
	cd e2e/bench && go vet ./...

fix:
	scripts/fix-format

# The end-to-end tests talk to clusters with upstream's own kubectl, and move datastores between upstream's API server and ours.
upstream:
	scripts/build-upstream kubectl kube-apiserver

# Whole clusters are tested after everything else, so that they have the machine for themselves.
test: build upstream lint
	scripts/setup-docker
	go test -timeout 8m $$(go list ./... | grep -v '/e2e$$')
	go test -timeout 15m ./e2e
	scripts/build-upstream kubectl-previous helm
	cd e2e/programs && go test -count=1 -timeout 8m -skip '^TestPrograms$$/^parts$$' .
	cd e2e/conformance && go test ./...
	cd e2e/bench && go test ./...
	$(MAKE) conformance QUICK=1

# SCENARIO=regex picks (SCENARIO=list shows them), ROUNDS=n repeats, SYSTEMS=hyperkube leaves upstream out, SAVE=1 writes the
# committed table.
bench: build
	cd e2e/bench && go build -trimpath -o ../../build/bench/bench .
	build/bench/bench -root . -scenario '$(SCENARIO)' -rounds $(or $(ROUNDS),3) $(if $(SYSTEMS),-systems $(SYSTEMS)) $(if $(SAVE),-save)

# Hollow nodes for any cluster, until interrupted.
#   make herd KUBECONFIG=F [NODES=n]
herd:
	cd e2e/bench && go run -trimpath . herd -kubeconfig '$(abspath $(KUBECONFIG))' -nodes $(or $(NODES),1000)

# Upstream's own suite against a cluster of two nodes on this machine: all of it, or the specs whose name or area matches.
#   make conformance [FOCUS=regex] [SKIP=regex] [PROCS=n] [KEEP=1] [QUICK=1]
conformance: build
	scripts/build-upstream
	cd e2e/conformance && go build -trimpath -buildvcs=false -o ../../build/conformance/run .
	build/conformance/run $(if $(QUICK),-quick) $(if $(KEEP),-keep) $(if $(PROCS),-procs $(PROCS)) -focus '$(FOCUS)' -skip '$(SKIP)'

# Programs of others on a cluster: kubectl, Helm, client-go, an operator, and upstream's scheduler and controller manager in the
# place of hyperkube's, which `make test` leaves out since they take minutes to build.
programs: build
	scripts/build-upstream kubectl kubectl-previous helm kube-scheduler kube-controller-manager
	cd e2e/programs && go test -count=1 -timeout 8m -v .

clean:
	rm -rf build
