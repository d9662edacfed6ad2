# The front: each target is one thing a person wants. `make help` lists them. Everything is built by CMake with the
# presets of CMakePresets.json; `make` needs git, make and a Debian system only.
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
SHELL := /bin/bash
.NOTPARALLEL:
.DEFAULT_GOAL := build

.PHONY: help build demo test times check bench bench-peers test-peers test-browser install clean format tidy coverage asan tsan
.PHONY: deps deps-test deps-peers deps-browser deps-mpi mpi test-mpi test-mpi-all deps-examples example benches

build: deps          ## build/gradiometer (the default)
	@cmake --preset release
	@cmake --build --preset release -j $(JOBS) --target gm gradiometer man

deps:                ## install the Debian packages that the build lacks
	@scripts/deps.sh build
deps-test:           ## and those that the tests need
	@scripts/deps.sh build test

deps-mpi:            ## and those of gradiometer-mpi
	@scripts/deps.sh build mpi

demo: build          ## train, decompose, report: demo/index.html
	@scripts/demo.sh

mpi: deps-mpi        ## build-mpi/gradiometer-mpi, for many machines
	@cmake --preset mpi
	@cmake --build --preset mpi -j $(JOBS) --target gradiometer gradiometer-mpi
test-mpi: deps-test mpi ## its tests, with one to four ranks here
	@cmake --build --preset mpi -j $(JOBS) --target mpi_tests
	@ctest --preset mpi -L mpi --no-tests=error
test-mpi-all: test-mpi ## and every command and option, with one to four ranks: some minutes
	@cmake --build --preset mpi -j $(JOBS) --target mpi_walk
	@build-mpi/mpi_walk

test: deps-test deps-mpi ## everything that CI runs
	@scripts/test.sh
times:               ## where the time of the last `make test` went
	@scripts/times.sh
check: deps-test     ## the tests of build/ alone, for the time between edits
	@cmake --preset release
	@cmake --build --preset release -j $(JOBS)
	@ctest --preset release -j $(JOBS)

asan: deps-test      ## tests under the address and undefined-behaviour sanitizers
	@scripts/test.sh asan-ubsan
tsan: deps-test      ## tests under the thread sanitizer
	@scripts/test.sh tsan
coverage: deps-test  ## tests with coverage: build-coverage/coverage.html
	@scripts/deps.sh coverage
	@scripts/coverage.sh
tidy: deps-test      ## static analysis of src/
	@cmake --preset tsan >/dev/null
	@tests/sources.sh tidy build-tsan
format: deps-test    ## lay out the sources
	@tests/sources.sh list | xargs clang-format -i

benches: build
	@cmake --build --preset release -j $(JOBS) --target benches
deps-peers:
	@scripts/deps.sh peers
deps-browser:
	@scripts/deps.sh browser
bench: benches       ## time the products and solvers on this machine
	@scripts/bench.sh
bench-peers: deps-peers benches ## the same work in PyTorch beside ours
	@bench/peers.sh
test-peers: deps-peers build ## our numbers against PyTorch's
	@tests/peers.sh
test-browser: deps-browser build ## the pages of `report` in a browser: build/browser has pictures of them
	@tests/browser.sh build/browser

deps-examples:
	@scripts/deps.sh examples
example: deps-examples build ## a run file in pandas and NumPy: examples/analyse_run.py
	@GRADIOMETER=build/gradiometer python3 examples/analyse_run.py

install: build       ## to PREFIX (/usr/local), below DESTDIR
	@cmake --install build --prefix $(PREFIX)
clean:               ## remove what was built
	@rm -rf build build-* demo

help:                ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 14
