# What can be done here. `make` alone prints this list, from the comments behind the targets.

GO_TOOL   := go tool -modfile=tools/go.mod
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X main.version=$(VERSION)
STEP      := scripts/step.sh
BENCH     ?= .
COUNT     ?= 6
N         ?= 500
ARGS      ?=
PEER      ?=

CHAOS_SECONDS ?= 300
ABUSE_SECONDS ?= 10
SEED          ?=

# What the page is built from: everything in web/ but what is made there or tests it.
PAGE_FROM := $(shell find web \( -name node_modules -o -name dist -o -name e2e -o -name test-results \
	-o -name playwright-report \) -prune -o -type f ! -name '*.go' ! -name '*.test.ts*' -print 2>/dev/null)
PAGE      := web/dist/index.html
PACKAGES  := web/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run build page binary signload test check chaos bench bench-peers loadtest geo geo-test release clean

help: ## this list
	@echo 'make <target>:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build, start on http://localhost:8080 with an embedded database in data/
	@scripts/run.sh

build: page binary ## bin/signald with the page inside

page: $(PAGE)

# After the page, which it embeds, when both are asked for. Go itself knows what there is to compile.
binary: $(PAGE)
	@$(STEP) 'Compiling bin/signald ($(VERSION))' \
		env CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/signald ./cmd/signald

$(PAGE): $(PACKAGES) $(PAGE_FROM)
	@$(STEP) 'Building the page' npm --prefix web run --silent build
	@touch $@

$(PACKAGES): web/package.json web/package-lock.json
	@$(STEP) 'Installing the npm packages of the page' npm --prefix web ci --no-fund --no-audit --loglevel=error
	@touch $@

test: ## everything: Go with -race, TypeScript, real browsers; installs what it needs when root
	@scripts/test.sh

check: $(PACKAGES) ## format, lint, vet, types, import directions
	@scripts/check.sh

chaos: ## members come and go at random while servers die: CHAOS_SECONDS=300, SEED= of a run to repeat
	@CHAOS_SECONDS='$(CHAOS_SECONDS)' SEED='$(SEED)' go test -race -count=1 -timeout 0 -run '^TestChaos$$' ./internal/e2e -v -args -test.v=false

abuse: ## attacks on a server of its own beside an honest pair, as a table: ABUSE_SECONDS=10 each
	@ABUSE_SECONDS='$(ABUSE_SECONDS)' go test -count=1 -timeout 0 -run '^TestAbuse$$' ./internal/e2e -v -args -test.v=false

bench: ## benchmarks into bench/new.txt, compared with docs/bench/baseline.txt (BENCH=regexp COUNT=6)
	@BENCH='$(BENCH)' COUNT='$(COUNT)' scripts/bench.sh

signload: ## bin/signload, the load tool
	@$(STEP) 'Compiling bin/signload' \
		env CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/signload ./cmd/signload

loadtest: build signload ## load on a server of its own: N=500 sockets (ARGS='--scenario churn --html report.html')
	@scripts/loadtest.sh '$(N)' $(ARGS)

bench-peers: build signload ## our ratios to another server: PEER=http://127.0.0.1:PORT; into bench/peers.md
	@scripts/bench-peers.sh '$(PEER)' $(ARGS)

geo: ## fetch the DB-IP Lite city files (CC BY 4.0) into data/geo/
	@scripts/geo.sh

geo-test: ## look well-known addresses up in the files of make geo
	@SIGNALD_TEST_GEOIP_DB="$$(ls -d "$$PWD"/data/geo/*.mmdb | paste -sd, -)" \
		go test -count=1 -v -run Fetched ./internal/geo

release: page ## archives for each platform into release/, reproducible, with checksums and SBOM (VERSION=1.2.3)
	@VERSION='$(VERSION)' scripts/release.sh

clean: ## remove what was built; data/ stays
	rm -rf bin bench release web/node_modules web/test-results web/playwright-report
	find web/dist -mindepth 1 ! -name .gitkeep -delete
