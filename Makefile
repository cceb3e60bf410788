# Quoin's few commands. `make help` lists them; all of them install what they need on Debian 12.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
JOBS ?= $(shell nproc)
PRESET ?= release
BUILD := build/$(PRESET)
DATA ?= default.etcd
CLUSTER_DATA ?= cluster.etcd
TIMED := ^interop\.(logs|own_checks)$$

.PHONY: deb help packages configure build test serve cluster check bench sim fuzz asan tsan interop mutants build-failpoints failpoints

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

packages: ## install what the build needs (Debian packages; asks nothing)
	@tools/install_packages.sh

configure: packages
	@[ -f $(BUILD)/build.ninja ] || cmake --preset $(PRESET) >/dev/null

build: configure ## the release programs, into bin/
	@ninja -C $(BUILD) -j $(JOBS) programs
	@tools/copy_programs.sh $(BUILD)/bin bin

build-failpoints: ## the program with gofail's failpoints in it, for fault tests alone, into bin-failpoints/
	@PRESET=failpoints $(MAKE) --no-print-directory configure
	@ninja -C build/failpoints -j $(JOBS) etcd
	@mkdir -p bin-failpoints && cmp -s build/failpoints/bin/etcd bin-failpoints/etcd || cp build/failpoints/bin/etcd bin-failpoints/

deb: build ## build/deb/quoin.deb: the programs and their service in the place of Debian's etcd-server and etcd-client
	@tools/make_deb.sh bin build/deb

serve: build ## build, then run a member on 127.0.0.1:2379 with data in ./default.etcd
	@tools/serve.sh $(DATA)

cluster: build ## build, then run three members on loopback with data in ./cluster.etcd
	@tools/run_cluster.sh $(CLUSTER_DATA)

test: configure ## packages, build, every test (short sets of the long ones)
	@ninja -C $(BUILD) -j $(JOBS)
	@tools/copy_programs.sh $(BUILD)/bin bin
	@tools/prepare_tests.sh $(BUILD)
	@cd $(BUILD) && ctest -j $(JOBS) --output-on-failure --timeout 900 -E '$(TIMED)'
	@# Two drivers compare which lines a life leaves, and the real member's timers decide, too: a second try, both
	@# shown. Nothing else gets one: a write that is lost now and then is lost.
	@cd $(BUILD) && ctest -j $(JOBS) --output-on-failure --timeout 900 -R '$(TIMED)' --repeat until-pass:2

check: build ## format, include order, properties of the sources, headers that stand alone
	@tools/check_format.sh
	@python3 tools/check_includes.py .
	@python3 tools/check_sources.py . --headers

bench: build ## server CPU per request against a real etcd in the same run, the longest tasks, floods (needs Go)
	@tools/prepare_tests.sh $(BUILD)
	@python3 tests/bench/compare.py --quoin bin/etcd --oracle $(BUILD)/oracle
	@failed=0; for b in tls stalls floods; do \
	  python3 tests/bench/$$b.py --quoin bin/etcd --oracle $(BUILD)/oracle || failed=1; done; exit $$failed

# A run of a cluster is 10 to 40 s of virtual time under faults and about as much to recover; it costs about 0.13 s of
# one core, so that RUNS=10000 takes half an hour of an idle one.
sim: configure ## 200 simulated crashes of a whole member and RUNS=300 runs of clusters; every edge met; SEED=n, HOURS=n
	@ninja -C $(BUILD) -j $(JOBS) scenarios_crash scenarios_cluster
	@$(BUILD)/scenarios/scenarios_crash --runs 200 --keep-cache --edges
	@$(BUILD)/scenarios/scenarios_cluster --runs $${RUNS:-300} --seed $${SEED:-1} --hours $${HOURS:-0} --edges

interop: build ## 20,000 random requests to Quoin and a real etcd, and 20 hand-overs of a data directory (needs Go)
	@tools/prepare_tests.sh $(BUILD)
	@python3 tests/interop/run.py --build $(BUILD) --long

failpoints: build build-failpoints ## a death and a restart at every failpoint, alone and in a cluster of three (needs Go)
	@tools/prepare_tests.sh $(BUILD)
	@python3 tests/interop/failpoints.py --etcd bin-failpoints/etcd --release bin/etcd --oracle $(BUILD)/oracle

fuzz: ## every fuzz target for FUZZ_SECONDS (60) each, with libFuzzer
	@tools/install_packages.sh clang-14 libclang-rt-14-dev
	@PRESET=fuzz $(MAKE) --no-print-directory configure
	@ninja -C build/fuzz -j $(JOBS) && tools/run_fuzz.sh build/fuzz $${FUZZ_SECONDS:-60}

asan: ## every test under AddressSanitizer and UBSan
	@PRESET=asan $(MAKE) --no-print-directory configure
	@ninja -C build/asan -j $(JOBS) && tools/prepare_tests.sh build/asan && cd build/asan && ctest -j $(JOBS) --output-on-failure

tsan: ## the tests that run real threads under ThreadSanitizer
	@PRESET=tsan $(MAKE) --no-print-directory configure
	@ninja -C build/tsan -j $(JOBS) && tools/prepare_tests.sh build/tsan && cd build/tsan && ctest -j $(JOBS) --output-on-failure -E 'fuzz|bench'

mutants: configure ## plants some 250 faults, one at a time; at least 95 of 100 must be seen by the test named with each (an hour)
	@python3 tools/mutants.py
