# Everything but the two front doors, ./quickstart and ./run-tests.
#
#   make release       the program, at build/release/holdfast
#   make quick         after a change in one room: format, layers, and the room's unit tests
#                      (ROOM=..., else the rooms that differ from HEAD)
#   make check         all that a change must pass; its parts, each a target of its own:
#                      format-check layers headers lint unit tsan
#   make integration   the program on real servers (LONG=1: every major, every crash point)
#   make fuzz-smoke    every fuzz target for FUZZ_SECONDS
#   make fuzz ROOM=pg  the fuzz targets of one room until they find something
#   make bench         the figures of docs/benchmarks.md, beside other tools (root; an idle machine;
#                      half an hour)
#   make format        formats src/ and tests/
#   make clean
#
# "make unit ROOM=pg" builds and runs the tests of one room only. Keeps results for tools/sum_results
# in RESULTS.

.SUFFIXES:
MAKEFLAGS += --no-print-directory

RESULTS ?= build/results
FUZZ_SECONDS ?= 3
# Rooms whose tests run under ThreadSanitizer too.
THREADED_ROOMS := base store contract backup archive restore
ROOM ?=
LONG ?=
# What the results of "make integration" are called; else "integration".
RESULT_NAME ?=

sources = $(wildcard bench/*.cc src/*/*.h src/*/*.cc tests/*/*.h tests/*/*.cc tests/unit/*/*.h tests/unit/*/*.cc)
# Of the given rooms those that have tests, as names of binaries.
test_names = $(foreach room,$(1),$(if $(wildcard tests/unit/$(room)/*.cc tests/$(room)/*.cc),test_$(room)))
unit_tests = $(call test_names,$(or $(ROOM),$(notdir $(wildcard tests/unit/*)) contract fault))
threaded_tests = $(call test_names,$(THREADED_ROOMS))

# The rooms with changes that are not committed, of those that have unit tests.
changed_rooms = $(filter $(notdir $(wildcard tests/unit/*)), \
  $(sort $(shell git status --porcelain -uall | sed -En 's,^...(src|tests/unit)/([a-z]+)/.*,\2,p')))

.PHONY: bench quick release check build-check build-tsan build-integration build-fuzz format format-check \
  layers headers lint unit tsan integration fuzz-smoke fuzz clean

configure-%:
	@cmake --preset $* >build/$*.configure.log 2>&1 || { cat build/$*.configure.log; exit 1; }

build/:
	@mkdir -p build
configure-release configure-check configure-tsan format-check: | build/

release: configure-release
	@cmake --build build/release --target holdfast -- --quiet
	@echo "built build/release/holdfast"

quick: format-check layers
	@$(if $(or $(ROOM),$(changed_rooms)),$(MAKE) unit ROOM="$(or $(ROOM),$(changed_rooms))",echo "quick: no room differs from HEAD; name one: make quick ROOM=pg")

check: format-check layers build-check headers lint unit tsan

build-check: configure-check
	@cmake --build build/check --target unit_tests -- --quiet

build-tsan: configure-tsan
	@cmake --build build/tsan --target $(threaded_tests) -- --quiet

build-integration: configure-release
	@cmake --build build/release --target holdfast integration_tests -- --quiet

build-fuzz: configure-check
	@cmake --build build/check --target fuzzers -- --quiet

format:
	@clang-format-19 -i $(sources)

# grep finds nothing when all is well; the file that it writes is what counts.
format-check:
	@clang-format-19 --dry-run $(sources) 2>&1 | grep 'clang-format-violations' >build/format.log || true
	@if [ -s build/format.log ]; then \
	  echo "lines that \"make format\" would change, by file:"; \
	  cut -d: -f1 build/format.log | sort | uniq -c; exit 1; fi

layers:
	@tools/check_layers --self-test
	@tools/sum_results --self-test
	@tools/check_layers src

headers: configure-release
	@tools/check_headers $(if $(LONG),--long) build/release

lint: configure-check
	@tools/lint $(if $(LONG),--long) build/check

unit: configure-check
	@cmake --build build/check --target $(unit_tests) -- --quiet
	@$(if $(LONG),HOLDFAST_LONG=1 HOLDFAST_BINARY_SECONDS=3600) tools/run_binaries unit $(RESULTS) $(addprefix build/check/,$(unit_tests))

tsan: build-tsan
	@tools/run_binaries tsan $(RESULTS) $(addprefix build/tsan/,$(threaded_tests))

integration: build-integration
	@tools/run_integration $(RESULTS) $(if $(LONG),--long) $(if $(RESULT_NAME),--name=$(RESULT_NAME)) $(INTEGRATION_OPTIONS)

fuzz-smoke: build-fuzz
	@tools/run_fuzzers $(RESULTS) $(FUZZ_SECONDS) build/check

fuzz: build-fuzz
	@test -n "$(ROOM)" || { echo "usage: make fuzz ROOM=pg" >&2; exit 2; }
	@tools/run_fuzzers $(RESULTS) 0 build/check $(ROOM)

bench: release
	@tools/setup bench
	@cmake --build build/release --target rebuild_cache -- --quiet >/dev/null
	@cmake --build build/release --target bench_micro bench_limit bench_scale -- --quiet
	@build/release/bench_micro
	@bench/compare $(BENCH_OPTIONS)

clean:
	@rm -rf build
