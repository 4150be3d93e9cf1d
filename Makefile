# Every target does the set-up and the build it needs; nothing is done twice.
.DEFAULT_GOAL := help
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
PYTHON := .venv/bin/python
# Compiles take up to 1.5 GB each: as many at once as cores and memory allow.
JOBS ?= $(shell cores=$$(nproc); memory=$$(awk '/MemTotal/ {print int($$2 / 2e6)}' /proc/meminfo); \
          echo $$(( cores < memory ? cores : (memory > 0 ? memory : 1) )))
FUZZ_SECONDS ?= 20
# Of the demo: from the command line or the environment.
export FULL FRESH SEED OUT
.PHONY: help setup build program test demo bench asan tsan headers clang fuzz lint format docs clean

help: ## this list
	@echo "Parapet. Start with: make demo   or: make test"
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## system packages, .venv, npm assets; TORCH=/path/to/libtorch to build against your own
	@tools/setup/setup.sh $(if $(TORCH),--torch "$(TORCH)")

build: setup ## the program, the tests and the benchmarks in build/release
	@tools/build.sh release $(JOBS)

program: setup ## build/release/parapet alone
	@tools/build.sh release $(JOBS) parapet

test: setup ## set-up, program and tests built, all tests; ONLY=name for a part, SLOW=1 for the slow ones too, DEVICE=cuda for those of a device
	@tools/build.sh release $(JOBS) parapet tests
	@$(PYTHON) tools/run_tests.py $(if $(ONLY),--only "$(ONLY)") $(if $(SLOW),--slow) $(if $(DEVICE),--device "$(DEVICE)")

demo: ## harden, guard and measure a small CLIP: out/demo/report.html; FULL=1 trains it from scratch too
	@tools/demo.sh --plan
	@$(MAKE) program
	@tools/demo.sh

bench: setup ## speed and memory beside the peers
	@tools/build.sh release $(JOBS) parapet benches
	@$(PYTHON) bench/run.py

asan: ## the rooms without torch under address and undefined-behaviour sanitizers
	@tools/setup/setup.sh --clang
	@tools/sanitize.sh asan $(JOBS)

tsan: ## the same under the thread sanitizer
	@tools/setup/setup.sh --clang
	@tools/sanitize.sh tsan $(JOBS)

headers: setup ## compiles every header by itself, without the precompiled ones
	@tools/build.sh release $(JOBS) all_verify_interface_header_sets

clang: ## the rooms up to nn built with clang, warnings as errors, and their tests
	@tools/setup/setup.sh --clang
	@tools/clang.sh $(JOBS)

fuzz: ## libFuzzer on every reader of outside bytes; FUZZ_SECONDS=20 each
	@tools/setup/setup.sh --clang
	@tools/fuzz.sh $(FUZZ_SECONDS) $(JOBS)

lint: setup ## ladder of rooms, sizes, clang-format, clang-tidy
	@tools/lint.sh $(JOBS)

format: ## clang-format every source
	@find src tests bench fuzz -name '*.h' -o -name '*.cpp' 2>/dev/null | xargs clang-format -i

docs: program ## docs/commands.md from the commands' own help
	@$(PYTHON) tools/gen_commands.py

clean: ## remove build trees; .venv, assets and out/ stay
	@rm -rf build
