# Build, check and show gcmedia.  Every target sets up what it needs; `make` alone lists them.
#
#   PYTHON=python3.12  the interpreter (default: the first of python3, python3.13, python3.12, ... that will do)
#   VENV=.venv-3.12    where its virtual environment lives; one for each interpreter
#   GCMEDIA_DEBUG=1    build the core with bounds checks
#   TEST_ARGS, BENCH_ARGS, DEMO_ARGS   handed on, e.g. make test TEST_ARGS="tests/core -x"
#   FUZZ_SECONDS=60    how long make fuzz runs
#   SPEECH=a.wav,b.wav what the two parties of the demo say

VENV ?= .venv
export GCMEDIA_DEBUG ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK = 1

BIN := $(VENV)/bin
RUN := $(BIN)/python
CORE := $(wildcard src/gcmedia/_core/*.pyx src/gcmedia/_core/*.pxd src/gcmedia/_core/*.h src/gcmedia/_core/kernels/*)
SANITIZE_CC ?= gcc
NEON_CC ?= aarch64-linux-gnu-gcc
NEON_RUN ?= qemu-aarch64
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build build-sanitized demo test test-all test-stalled test-baseline check-kernels check-neon bench bench-gate compressor concealment quality fuzz fuzz-sanitize lint format sanitize wheel check-wheel clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@sed -n '3,8s/^#  / /p' $(MAKEFILE_LIST)

# Set-up: the environment, made anew for another interpreter, and its packages.
$(VENV)/.python: FORCE
	@if [ -n "$(PYTHON)" ]; then python=$$(tools/pythons.sh --check "$(PYTHON)"); \
	elif [ -e $@ ]; then python=$$(cat $@); \
	else python=$$(tools/pythons.sh --default); fi || exit 1; \
	if [ ! -x $(RUN) ] || ! echo "$$python" | cmp -s - $@; then \
		echo "making $(VENV) with $$python"; \
		if [ -e $@ ]; then "$$python" -m venv --clear $(VENV); else "$$python" -m venv $(VENV); fi || exit 1; \
		echo "$$python" > $@; \
	fi

$(VENV)/.packages: $(VENV)/.python pyproject.toml setup.py
	@echo "installing packages into $(VENV)"
	@$(RUN) -m pip install -qq "setuptools>=77" "cython>=3.1"
	@GCMEDIA_CORE=0 $(RUN) -m pip install -qq --no-build-isolation -e ".[test,lint]"
	@touch $@

# The mode of the last build: rewritten only when it differs, so that a switch of GCMEDIA_DEBUG rebuilds all.
$(VENV)/.mode: $(VENV)/.packages FORCE
	@echo "$(GCMEDIA_DEBUG)" | cmp -s - $@ || echo "$(GCMEDIA_DEBUG)" > $@

$(VENV)/.core: $(VENV)/.packages $(VENV)/.mode $(CORE)
	@echo "compiling the core for $$($(RUN) -V)"
	@$(RUN) setup.py -q build_ext --inplace $(if $(filter %/.mode,$?),--force)
	@touch $@

build: $(VENV)/.core ## compile the core in place

demo: build ## capture a call over a bad network into out/demo/, with a report to look at
	$(BIN)/gcmedia demo --out out/demo $(if $(SPEECH),--speech $(SPEECH)) $(DEMO_ARGS)

test: build ## run the tests but the slow ones
	$(RUN) -m pytest -m "not slow" $(TEST_ARGS)

test-all: build ## run every test
	$(RUN) -m pytest $(TEST_ARGS)

test-stalled: export CI = true
test-stalled: build ## run tests while event loops stall now and then, as on a busy machine; TEST_ARGS="-n 4 tests/edge"
	$(RUN) -m pytest -p tests.stalls -m "not slow" $(TEST_ARGS)

test-baseline: build ## run the core's tests on the plainest kernels that this processor has
	GCMEDIA_CPU=baseline $(RUN) -m pytest -m "not slow" tests/core $(TEST_ARGS)

# Kernels against the portable ones, bit by bit, in C; each side compiled by itself, so that make -j takes both at once.
# NEON needs Debian's gcc-aarch64-linux-gnu and qemu-user.  The sanitizer's checks are calls: inline they check no more,
# and take longer to compile than everything else.
KERNELS = src/gcmedia/_core/kernels
COMPARE = -std=gnu11 -O3 -ffp-contract=off -Wall -Wextra -Werror -I$(KERNELS)
COMPARE_SANITIZED = -O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	--param asan-instrumentation-with-call-threshold=0
build/kernels/%-native.o: tests/kernels/%.c $(wildcard $(KERNELS)/*.h tests/kernels/*.h)
	@mkdir -p build/kernels && $(CC) $(COMPARE) -c $< -o $@
build/kernels/%-sanitized.o: tests/kernels/%.c $(wildcard $(KERNELS)/*.h tests/kernels/*.h)
	@mkdir -p build/kernels && $(SANITIZE_CC) $(COMPARE) $(COMPARE_SANITIZED) -c $< -o $@
build/kernels/%-neon.o: tests/kernels/%.c $(wildcard $(KERNELS)/*.h tests/kernels/*.h)
	@mkdir -p build/kernels && $(NEON_CC) $(COMPARE) -c $< -o $@
build/kernels-native: build/kernels/compare-native.o build/kernels/portable-native.o
	@$(CC) $^ -o $@ -lm
build/kernels-sanitized: build/kernels/compare-sanitized.o build/kernels/portable-sanitized.o
	@$(SANITIZE_CC) -fsanitize=address,undefined $^ -o $@ -lm
build/kernels-neon: build/kernels/compare-neon.o build/kernels/portable-neon.o
	@$(NEON_CC) -static $^ -o $@ -lm

check-kernels: build/kernels-native build/kernels-sanitized ## every kernel of this processor against the portable ones
	build/kernels-native
	build/kernels-sanitized

check-neon: build/kernels-neon ## the same for arm64, on an emulator
	$(NEON_RUN) build/kernels-neon

# The rivals, each by itself, so that one without a wheel for this interpreter is only absent from the comparison.
$(VENV)/.peers: $(VENV)/.packages
	@echo "installing what gcmedia is compared with"
	@$(RUN) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")' \
		| grep -v '^gcmedia' | while read -r peer; do \
			$(RUN) -m pip install -qq --only-binary=:all: "$$peer" </dev/null 2>$(VENV)/.peer.log \
				|| echo "absent: $$peer: $$(grep -m1 ERROR $(VENV)/.peer.log)"; \
		done
	@touch $@

bench: build $(VENV)/.peers ## run the benchmarks, write benchmarks/RESULTS.md; BENCH_ARGS="-k level" for some, unwritten
	$(RUN) benchmarks/run.py $(BENCH_ARGS)

bench-gate: build $(VENV)/.peers ## fail when gcmedia has lost its lead over a peer (benchmarks/floors.json)
	$(RUN) benchmarks/gate.py

concealment: build $(VENV)/.peers ## PESQ of repaired speech, into benchmarks/CONCEALMENT.md
	@$(RUN) -c 'import pesq' 2>/dev/null || $(RUN) -m pip install -qq pesq  # may have no wheel; it takes a C compiler
	$(RUN) benchmarks/concealment.py --write

compressor: build $(VENV)/.peers ## the compressor beside headless Chromium's, into benchmarks/COMPRESSOR.md
	$(RUN) benchmarks/compressor.py --write

# Judges and a peer that the other benchmarks do not take; espeak-ng, ffmpeg and asterisk-core-sounds-en-wav are Debian's.
$(VENV)/.judges: $(VENV)/.peers
	@$(RUN) -m pip install -qq "pesq>=0.0.4" "pystoi>=0.4" "scipy>=1.11" "noisereduce>=3"
	@touch $@

quality: build $(VENV)/.judges ## judge the noise gate and its peers, write benchmarks/QUALITY.md; QUALITY_ARGS=--short to show some
	$(RUN) benchmarks/quality/run.py $(QUALITY_ARGS)

fuzz: build ## push malformed packets and messages for FUZZ_SECONDS (60) each; findings go to out/fuzz/
	@$(RUN) -m pip install -qq --only-binary=:all: "atheris>=3" 2>/dev/null || echo "atheris is absent: plain mutation instead"
	@mkdir -p out/fuzz
	$(RUN) tests/fuzz/fuzz_packets.py $(FUZZ_SECONDS)
	$(RUN) -m tests.fuzz.fuzz_audiohook $(FUZZ_SECONDS)
	$(RUN) -m tests.fuzz.fuzz_stream $(FUZZ_SECONDS)

lint: build ## ruff, mypy --strict, stubtest, cython-lint, the import direction
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(RUN) -m mypy
	$(RUN) -m mypy.stubtest gcmedia._core --allowlist tools/stubtest-allowlist.txt
	PATH="$(abspath $(BIN)):$$PATH" cython-lint src  # it looks for pycodestyle on PATH
	$(RUN) -m pytest -q tests/test_import_graph.py

format: build ## let ruff lay out the Python files
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# A tree of its own, so the build in place is left alone.  Leaks are not looked for, as CPython keeps memory at exit;
# --capture=sys, or pytest would keep what the sanitizers have to say.
SANITIZED = LD_PRELOAD="$(foreach lib,libasan.so libubsan.so libstdc++.so.6,$(shell $(SANITIZE_CC) -print-file-name=$(lib)))" \
	ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	PYTHONMALLOC=malloc PYTHONPATH=build/sanitize/lib GCMEDIA_EXPECT=build/sanitize/lib
sanitize build-sanitized fuzz-sanitize: export GCMEDIA_DEBUG = 1
build-sanitized: build/sanitize/.core

sanitize: build/sanitize/.core ## run the core's tests under AddressSanitizer and UBSan, bounds checks on
	$(SANITIZED) \
		$(RUN) -m pytest --capture=sys -m "not slow" tests/core $(TEST_ARGS)

fuzz-sanitize: build/sanitize/.core ## make fuzz under the sanitizers, by plain mutation
	@mkdir -p out/fuzz
	$(SANITIZED) $(RUN) tests/fuzz/fuzz_packets.py --plain $(FUZZ_SECONDS)
	$(SANITIZED) $(RUN) -m tests.fuzz.fuzz_stream $(FUZZ_SECONDS)

build/sanitize/.core: $(VENV)/.packages $(CORE) $(shell find src/gcmedia -name '*.py')
	@echo "compiling the core with sanitizers"
	@mkdir -p build/sanitize/lib && find build/sanitize/lib -type f ! -name '*.so' -delete
	@CC=$(SANITIZE_CC) GCMEDIA_SANITIZE=1 $(RUN) setup.py -q \
		build --build-base build/sanitize --build-lib build/sanitize/lib
	@touch $@

wheel: $(VENV)/.packages ## sdist and a manylinux wheel for each interpreter found, into dist/
	@tools/wheels.sh $(RUN)

check-wheel: ## run the tests against each wheel of dist/, installed away from the source tree
	@tools/check_wheels.sh $(TEST_ARGS)

clean: ## remove what was built (environments stay: rm -r .venv*)
	rm -rf build dist out src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .venv*/.core
	find src -name '*.so' -delete
	find src tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +
