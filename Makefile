# Everything that is done with this repository. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.ONESHELL:
.PHONY: help build deps fmt lint test test-long bench bench-ipam bench-pool bench-agent bench-scale bench-vpp demo demo-pool demo-kubenet demo-vpp demo-calico demo-shared demo-multus demo-blocks fuzz deny install multi release deb image clean

CARGO ?= cargo
DESTDIR ?=
PREFIX ?= /usr/local
BINDIR ?= /opt/cni/bin
# Where packages are put.
DIST ?= target/dist
PACKAGING := plugins/plat-cni/packaging
# For all fuzz targets together: five minutes for each, as many at a time as there are processors.
FUZZ_SECONDS ?= 2400
# The tests try the same inputs in each run of the same code: a number of them, from one seed, nothing
# kept from earlier runs. New ones are looked for by `make fuzz` and `make test-long`. Trying a
# reservation takes milliseconds: it has files.
FUZZ_CORPUS ?= fuzz/target/corpus
FUZZ_LIMITS ?=
FUZZ_SAME := -seed=1 -runs=100000 reservation:-runs=5000
# The same for what proptest makes up: a seed, any number.
PROPTEST_SEED ?= 1

# In the order of the page. A quick run is for looking at it. Options are those of a benchmark: BENCH_OPTIONS=--help.
BENCHES := ipam pool vpp agent
BENCH_DIR := target/bench
BENCH_QUICK ?=
BENCH_OPTIONS ?= $(if $(BENCH_QUICK),--quick)
# A reference other than Debian's host-local.
BENCH_REFERENCE ?=

BINARIES := host-local node-local etcd-pool vpp chain plat-agent plat
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
BUILD_DIR := $(or $(CARGO_TARGET_DIR),target)
TEST_LOG := $(BUILD_DIR)/test.log

# Static binaries. The flag is given for the target, and the target is named, because procedural
# macros are loaded by the compiler and cannot be static: flags for a named target leave them alone.
# RUSTFLAGS from outside would silently replace it. Where linker and C library can (glibc 2.36), relocations are
# packed: 0.14 MB less of etcd-pool, and less to do at each start.
unexport RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
PACKED := $(shell ld --help 2>/dev/null | grep -e pack-relative-relocs >/dev/null \
	&& printf '%s\n' 'glibc 2.36' "$$(getconf GNU_LIBC_VERSION)" | sort -VC \
	&& echo ' -C link-arg=-Wl,-z,pack-relative-relocs')
STATIC := CARGO_TARGET_$(shell tr a-z- A-Z_ <<<'$(HOST)')_RUSTFLAGS='-C target-feature=+crt-static$(PACKED)'

# plat speaks CRI, etcd-pool etcd: their messages are compiled from their descriptions.
BUILD_PACKAGES := gcc libc6-dev protobuf-compiler libprotobuf-dev
BENCH_PACKAGES := containernetworking-plugins iproute2 util-linux strace etcd-server
DEMO_PACKAGES := containernetworking-plugins iproute2 iputils-ping jq util-linux
TEST_PACKAGES := $(DEMO_PACKAGES) podman containerd runc crun conmon busybox-static conntrack \
	nftables iptables strace xz-utils e2fsprogs etcd-server etcd-client openssl

# A binary that is running cannot be written to, but its name can be given to another file.
# $(call put,FROM,TO)
put = install -m 755 $(1) $(2).new; mv -f $(2).new $(2)

# Tests are built for the development profile: they drive the release binaries of `make build`, so
# that what is tested is what is installed, and their own speed matters less than building them.
# $(call run-tests,ARGUMENTS)
define run-tests
status=0
PROPTEST_RNG_SEED=$(PROPTEST_SEED) $(CARGO) test --workspace --no-fail-fast $(1) 2>&1 | tee $(TEST_LOG) || status=$$?
skipped=$$(grep -o 'SKIPPED .*' $(TEST_LOG) | sort -u || true)
printf '\nSkipped: %s\n' "$$(grep -c . <<<"$$skipped" || true)"
[[ -z $$skipped ]] || printf '  %s\n' "$${skipped//$$'\n'/$$'\n  '}"
[[ $$status == 0 ]] || tests/scripts/failures.sh $(TEST_LOG)
exit $$status
endef

# A program of this repository for developers, linked as the plugins are: a process of it is what a plugin's is compared with.
RUN = $(STATIC) $(CARGO) run --profile bench --target $(HOST)
# $(call run-bench,NAME), and options
run-bench = $(RUN) --package plat-tests --bin bench-$(1) --

# Builds, and runs the script of the target's name. $(call run-demo,FURTHER-PACKAGES)
define run-demo
tests/scripts/deps.sh $(DEMO_PACKAGES) $(1)
$(MAKE) --no-print-directory build
tests/scripts/$@.sh
endef

help: ## Says what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do
		printf '  make %-12s %s\n' "$$target" "$$text"
	done

build: ## Builds static release binaries into target/release
	@tests/scripts/deps.sh $(BUILD_PACKAGES)
	echo 'Building $(BINARIES) for $(HOST)'
	$(STATIC) $(CARGO) build --release --target $(HOST) $(addprefix --package=,$(BINARIES))
	mkdir -p target/release
	for name in $(BINARIES); do
		$(call put,$(BUILD_DIR)/$(HOST)/release/$$name,target/release/$$name)
	done

# All programs in one file. Its dependencies are theirs, so that nothing is compiled again but the last step.
multi: build ## Builds plat-cni, all programs in one file, for images
	@$(STATIC) $(CARGO) build --release --target $(HOST) --package=plat-cni
	$(call put,$(BUILD_DIR)/$(HOST)/release/plat-cni,target/release/plat-cni)

deps: ## Installs what the tests need (Debian, as root; else says what is missing)
	@tests/scripts/deps.sh $(BUILD_PACKAGES) $(TEST_PACKAGES)
	tests/scripts/promtool.sh target/tools

fmt: ## Formats the sources
	$(CARGO) fmt --all

lint: ## Looks at formatting, clippy's lints and, where they are there, shellcheck's and cargo-deny's
	@echo 'Linting'
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	if [[ -n $$(type -P shellcheck) ]]; then shellcheck -x tests/scripts/*.sh conf-examples/monitoring/*.sh $(PACKAGING)/*.sh $(PACKAGING)/deb/* .ci/run; fi
	if [[ -n $$(type -P cargo-deny) ]]; then $(CARGO) deny --offline check bans licenses sources; fi

test: deps lint build multi ## Everything: lint, build, documentation, fuzzing where nightly Rust is there, tests
	@echo 'Documenting'
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps
	rm -rf fuzz/target/same
	$(MAKE) --no-print-directory fuzz FUZZ_OPTIONAL=1 FUZZ_LIMITS='$(FUZZ_SAME)' FUZZ_CORPUS=fuzz/target/same
	echo 'Testing'
	$(call run-tests,)

test-long: test deny release ## The same, then what takes minutes
	@$(MAKE) --no-print-directory fuzz FUZZ_OPTIONAL=1
	# A seed that is said: what it finds is found again with it.
	seed=$$(date +%s)
	echo "Testing with other inputs: PROPTEST_SEED=$$seed"
	PROPTEST_CASES=2000 PROPTEST_RNG_SEED=$$seed $(CARGO) test --workspace --lib --bins --test simulation
	PROPTEST_CASES=2000 PROPTEST_RNG_SEED=$$seed $(CARGO) test --package plat-tests --test suite stores::
	echo 'Testing what takes minutes'
	$(call run-tests,-- --ignored)

bench: build ## Measures everything beside the reference and writes docs/benchmarks.md (as root; BENCH_QUICK=1: a few minutes)
	@tests/scripts/deps.sh $(BENCH_PACKAGES)
	rm -rf $(BENCH_DIR)
	for name in $(BENCHES); do
		if [[ $$name == @(agent|vpp) && $$(id -u) != 0 ]]; then
			echo "bench-$$name needs root: it is left out"
			continue
		fi
		options=($(BENCH_OPTIONS) --json $(BENCH_DIR)/$$name.json)
		if [[ $$name == ipam && -n '$(BENCH_REFERENCE)' ]]; then options+=(--reference '$(BENCH_REFERENCE)'); fi
		$(call run-bench,$$name) "$${options[@]}"
	done
	$(RUN) --package bench-report --bin bench-page -- --command '$(strip make bench $(if $(BENCH_QUICK),BENCH_QUICK=1))' \
		$(BENCHES:%=$(BENCH_DIR)/%.json)

bench-ipam: build ## Measures host-local and node-local beside the reference (BENCH_OPTIONS=--help)
	@tests/scripts/deps.sh containernetworking-plugins strace
	$(call run-bench,ipam) $(BENCH_OPTIONS)

bench-pool: build ## Measures etcd-pool beside node-local and beside a bare transaction of etcd
	@tests/scripts/deps.sh etcd-server strace
	$(call run-bench,pool) $(BENCH_OPTIONS)

bench-scale: ## Simulates 5,000 nodes of 110 pods on one etcd: some minutes
	@tests/scripts/deps.sh $(BUILD_PACKAGES) etcd-server
	$(call run-bench,scale) $(BENCH_OPTIONS)

# With VPP_API_SOCK on that VPP, else on one in miniature.
bench-vpp: build ## Measures vpp beside the bare requests to VPP and the kernel (as root)
	@tests/scripts/deps.sh iproute2 util-linux strace
	$(call run-bench,vpp) $(BENCH_OPTIONS)

bench-agent: build ## Measures plat-agent: 5,000 routes, changes among them, memory (as root)
	@tests/scripts/deps.sh etcd-server iproute2 util-linux
	$(call run-bench,agent) $(BENCH_OPTIONS)

demo: ## Two nodes, four pods, one configuration: shows it all and removes it again (as root)
	@tests/scripts/deps.sh $(DEMO_PACKAGES)
	$(MAKE) --no-print-directory build
	tests/scripts/demo.sh

demo-pool: ## Three nodes, one pool in etcd, pods with it and without it: likewise
	@tests/scripts/deps.sh $(DEMO_PACKAGES) etcd-server
	$(MAKE) --no-print-directory build
	tests/scripts/demo-pool.sh

demo-kubenet: ## Three nodes, a subnet for each, routes that keep themselves: likewise
	@$(call run-demo,etcd-server)

demo-vpp: ## Two nodes with a VPP each, one configuration (needs a VPP: VPP_BIN, VPP_PLUGIN_PATH): likewise
	@$(call run-demo)

demo-calico: ## Routes that follow Calico's blocks in etcd: likewise
	@$(call run-demo,etcd-server etcd-client)

demo-shared: ## Two nodes with one directory of reservations: likewise
	@$(call run-demo)

demo-multus: ## Three networks for each pod on two nodes: likewise
	@$(call run-demo)

demo-blocks: ## Blocks that come with the pods, and routes that follow: likewise
	@$(call run-demo,etcd-server)

fuzz: ## Fuzzes each target for its share of FUZZ_SECONDS (nightly Rust and cargo-fuzz)
	@if ! $(CARGO) +nightly --version >/dev/null 2>&1; then
		echo 'Fuzzing needs a nightly toolchain: rustup toolchain install nightly'
		exit $(if $(FUZZ_OPTIONAL),0,1)
	fi
	if ! $(CARGO) +nightly fuzz --version >/dev/null 2>&1; then
		$(CARGO) install cargo-fuzz --locked
	fi
	mapfile -t targets < <($(CARGO) +nightly fuzz list)
	echo "Fuzzing $${targets[*]}"
	mkdir -p fuzz/target
	$(CARGO) +nightly fuzz build --sanitizer none >fuzz/target/build.log 2>&1 || { cat fuzz/target/build.log; exit 1; }
	limits=($(or $(FUZZ_LIMITS),-max_total_time=$$(($(FUZZ_SECONDS) / $${#targets[@]}))))
	printf '%s\n' "$${targets[@]}" | CARGO='$(CARGO)' FUZZ_CORPUS='$(FUZZ_CORPUS)' \
		xargs --max-procs="$$(nproc)" -I TARGET tests/scripts/fuzz.sh TARGET "$${limits[@]}"

# In `make test` a test keeps the same rules by itself: the tool takes longer to compile than all of Plat.
deny: ## Holds licences, sources and duplicates of the dependencies against deny.toml, with cargo-deny
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then
		$(CARGO) install cargo-deny --locked
	fi
	$(CARGO) deny --offline check bans licenses sources

install: ## Installs what was built below DESTDIR: plugins into BINDIR (/opt/cni/bin), the rest below PREFIX
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' BINDIR='$(BINDIR)' $(PACKAGING)/stage.sh target/release

release: build ## Makes the release archive in DIST (target/dist)
	@tests/scripts/deps.sh jq xz-utils
	CARGO='$(CARGO)' $(PACKAGING)/release.sh target/release '$(DIST)'

deb: build ## Makes the Debian package in DIST
	@tests/scripts/deps.sh jq
	CARGO='$(CARGO)' $(PACKAGING)/deb.sh target/release '$(DIST)'

image: multi ## Lays out the container image in DIST/image, and builds it as `plat` if podman is there
	@tests/scripts/deps.sh jq
	CARGO='$(CARGO)' $(PACKAGING)/image.sh target/release '$(DIST)/image'
	if [[ -n $$(type -P podman) ]]; then podman build --tag plat '$(DIST)/image'; fi

clean: ## Removes what was built
	@$(CARGO) clean
	rm -rf fuzz/target target/release target/tools '$(DIST)'
