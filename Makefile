# SPDX-License-Identifier: BSD-3-Clause
#
# One non-recursive file. `make help` tells what there is. Objects live in $(BUILD), one directory per flavour.

VERSION := 0.1.0
SOVERSION := 0

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
PYTHON ?= /usr/bin/python3
BUILD ?= build
DESTDIR ?=
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
SYSCONFDIR ?= /etc
UNITDIR ?= $(shell pkg-config --variable=systemdsystemunitdir systemd 2>/dev/null || echo /lib/systemd/system)
SYSUSERSDIR ?= /usr/lib/sysusers.d
TMPFILESDIR ?= /usr/lib/tmpfiles.d
CATALOGDIR ?= /usr/lib/systemd/catalog
BASHCOMPDIR ?= $(DATADIR)/bash-completion/completions
ZSHCOMPDIR ?= $(DATADIR)/zsh/site-functions
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

# ------------------------------------------------------------------------------------------------------------- flags

WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wformat=2 -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings -Wundef -Werror
CPPFLAGS_ALL = -D_GNU_SOURCE -DPMBROKER_VERSION='"$(VERSION)"' -DPMBROKER_SYSCONFDIR='"$(SYSCONFDIR)"' \
	-DPMBROKER_SBINDIR='"$(SBINDIR)"' \
	-I. -Idaemon -Iclient -I$(BUILD) $(CPPFLAGS)
CFLAGS ?= -O2 -g
CFLAGS_ALL = -std=gnu11 -fPIC -fvisibility=hidden -fstack-protector-strong -fno-strict-aliasing -pthread \
	$(WARN) $(SANITIZE) $(CFLAGS)
LDFLAGS_ALL = -pthread -Wl,-z,relro,-z,now $(SANITIZE) $(LDFLAGS)
ifeq ($(strip $(SANITIZE)),)
CPPFLAGS_ALL += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LDFLAGS_ALL += -Wl,-z,defs
endif

LIBS_SYSTEMD = $(shell pkg-config --libs libsystemd)
LIBS_PROTOBUF = $(shell pkg-config --libs libprotobuf-c)
LIBS_INIH = $(shell pkg-config --libs inih)
LIBS_NDCTL = $(shell pkg-config --libs libndctl libdaxctl blkid uuid)
LIBS_SMARTCOLS = $(shell pkg-config --libs smartcols)
LIBS_MICROHTTPD = $(shell pkg-config --libs libmicrohttpd)
LIBS_CMOCKA = $(shell pkg-config --libs cmocka)

# ----------------------------------------------------------------------------------------------------------- sources

PROTO_GEN := $(BUILD)/proto/pmbroker.pb-c.c $(BUILD)/proto/pmbroker.pb-c.h
SRC_BASE := $(wildcard base/*.c)
SRC_PROTO := $(wildcard proto/*.c)
SRC_CORE := $(wildcard daemon/core/*.c)
SRC_IPC := $(wildcard daemon/ipc/*.c)
SRC_PROVISIONER := $(wildcard daemon/provisioner/*.c)
SRC_DAEMON := $(filter-out daemon/main.c,$(wildcard daemon/*.c))
SRC_CLIENT := $(wildcard client/*.c)
SRC_CTL := $(wildcard ctl/*.c)
SRC_EXPORTER := $(wildcard exporter/*.c)
SRC_UNIT := $(wildcard tests/unit/test-*.c)
SRC_EXAMPLES := $(wildcard examples/*.c)
SRC_BENCH := $(wildcard bench/*.c)
SRC_BENCH_HEAP := $(addprefix bench/heap/,allocator.c fill.c pattern.c trim.c worker.c)
SRC_TESTPROGS := $(wildcard tests/integration/*.c)
SRC_PRELOADS := $(wildcard tests/faults/preload-*.c)
SRC_FAULTPROGS := $(filter-out $(SRC_PRELOADS),$(wildcard tests/faults/*.c))
SRC_VMPRELOADS := $(wildcard tests/vm/preload-*.c)
SRC_VMPROGS := $(filter-out $(SRC_VMPRELOADS),$(wildcard tests/vm/*.c))
SRC_STRESS := $(wildcard tests/stress/*.c)

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))

OBJ_PB := $(BUILD)/proto/pmbroker.pb-c.o
OBJ_SHARED := $(call obj,$(SRC_BASE) $(SRC_PROTO)) $(OBJ_PB)
OBJ_DAEMON := $(call obj,$(SRC_CORE) $(SRC_IPC) $(SRC_PROVISIONER) $(SRC_DAEMON))
OBJ_CLIENT := $(call obj,$(SRC_CLIENT))

DAEMON := $(BUILD)/pmbrokerd
CTL := $(BUILD)/pmbrokerctl
EXPORTER := $(BUILD)/pmbroker-metrics
LIB_REAL := $(BUILD)/libpmbroker.so.$(VERSION)
LIB_SO := $(BUILD)/libpmbroker.so.$(SOVERSION)
LIB_LINK := $(BUILD)/libpmbroker.so
JEMALLOC := $(BUILD)/jemalloc/lib/libpmb_jemalloc.a
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(SRC_UNIT))
STRESS_TESTS := $(patsubst tests/stress/%.c,$(BUILD)/tests/stress/%,$(SRC_STRESS))
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(SRC_EXAMPLES))
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(SRC_BENCH))
SRC_FUZZ := $(wildcard tests/fuzz/fuzz-*.c)
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz-%.c,%,$(SRC_FUZZ))
FAULTPROGS := $(patsubst %.c,$(BUILD)/%,$(SRC_FAULTPROGS)) $(patsubst %.c,$(BUILD)/%.so,$(SRC_PRELOADS))
BENCHES += $(addprefix $(BUILD)/bench/heap/,pmbroker memkind glibc jemalloc tcmalloc mimalloc bare)
PROTOCOL_PAGE := $(BUILD)/man/pmbroker-protocol.7
MAN_PAGES := $(wildcard man/*.[1-9]) $(PROTOCOL_PAGE)
TESTPROGS := $(patsubst tests/integration/%.c,$(BUILD)/tests/integration/%,$(SRC_TESTPROGS)) \
	$(BUILD)/tests/integration/isolation-jemalloc $(BUILD)/tests/integration/watched-asan
VMPROGS := $(patsubst %.c,$(BUILD)/%,$(SRC_VMPROGS)) $(patsubst %.c,$(BUILD)/%.so,$(SRC_VMPRELOADS))

.PHONY: help deps all demo check check-unit check-stress check-full check-integration check-faults check-fuzz \
	check-layers check-clang check-format check-install check-man check-library check-vm check-power-cut check-deb \
	fuzz fuzzers soak vm-shell asan tsan check-tsan memcheck analyze analyzer coverage valgrind \
	bench format install uninstall \
	deb clean testprogs cxxprogs

help: ## this list
	@echo 'pmbroker $(VERSION)'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 28
	@echo
	@echo 'Variables: CC BUILD DESTDIR PREFIX SYSCONFDIR UNITDIR CFLAGS LDFLAGS JEMALLOC_SOURCE V=1'
	@echo "           ARGS, of pytest, for check-integration and check-vm: ARGS='-k restart'"

all: $(DAEMON) $(CTL) $(EXPORTER) $(LIB_LINK) $(EXAMPLES) $(PROTOCOL_PAGE) ## build everything

deps: ## install the Debian packages that building needs (as root)
	@tools/install-deps.sh build

# ------------------------------------------------------------------------------------------------------------- rules

# V=1 shows the commands.
ifeq ($(V),1)
say =
Q :=
else
say = @echo '  $(1) $(patsubst $(BUILD)/%,%,$@)';
Q := @
endif

$(BUILD)/proto/pmbroker.pb-c.c $(BUILD)/proto/pmbroker.pb-c.h &: proto/pmbroker.proto
	@mkdir -p $(@D)
	$(Q)protoc-c --c_out=$(BUILD) proto/pmbroker.proto

$(OBJ_PB): $(BUILD)/proto/pmbroker.pb-c.c
	$(call say,CC  )$(CC) $(CPPFLAGS_ALL) $(filter-out -W%,$(CFLAGS_ALL)) -c -o $@ $<

$(BUILD)/%.o: %.c | $(BUILD)/proto/pmbroker.pb-c.h
	@mkdir -p $(@D)
	$(call say,CC  )$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(CFLAGS_$(firstword $(subst /, ,$<))) -MMD -MP -c -o $@ $<

CFLAGS_client = -I$(BUILD)/jemalloc/include
CFLAGS_tests = $(CFLAGS_client) -Wno-format-nonliteral
$(call obj,$(SRC_CLIENT) $(SRC_UNIT) $(SRC_STRESS) $(SRC_FUZZ)): | $(JEMALLOC)

$(JEMALLOC): tools/build-jemalloc.sh
	$(call say,GEN )tools/build-jemalloc.sh $(BUILD)/jemalloc

$(DAEMON): $(BUILD)/daemon/main.o $(OBJ_DAEMON) $(OBJ_SHARED)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_SYSTEMD) $(LIBS_PROTOBUF) $(LIBS_INIH) $(LIBS_NDCTL)

$(LIB_REAL): $(OBJ_CLIENT) $(OBJ_SHARED) $(JEMALLOC) client/libpmbroker.sym
	$(call say,LD  )$(CC) -shared $(LDFLAGS_ALL) -Wl,-soname,libpmbroker.so.$(SOVERSION) \
		-Wl,--version-script=client/libpmbroker.sym -Wl,--exclude-libs,ALL -Wl,-z,nodelete \
		-Wl,-Bsymbolic-functions -o $@ $(OBJ_CLIENT) $(OBJ_SHARED) $(JEMALLOC) $(LIBS_PROTOBUF) -lm

$(LIB_SO): $(LIB_REAL)
	$(Q)ln -sf $(notdir $<) $@

$(LIB_LINK): $(LIB_SO)
	$(Q)ln -sf $(notdir $<) $@

# The CLI speaks the protocol itself: it wants tables of rows, not pools.
$(CTL): $(call obj,$(SRC_CTL)) $(OBJ_SHARED)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_PROTOBUF) $(LIBS_SMARTCOLS)

# It takes of pmbrokerctl what it needs.
$(BUILD)/libctl.a: $(filter-out $(BUILD)/ctl/main.o,$(call obj,$(SRC_CTL))) $(OBJ_SHARED)
	@rm -f $@
	$(call say,AR  )ar rcs $@ $^

$(EXPORTER): $(call obj,$(SRC_EXPORTER)) $(BUILD)/libctl.a
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_PROTOBUF) $(LIBS_SMARTCOLS) $(LIBS_SYSTEMD) $(LIBS_MICROHTTPD)

$(BUILD)/examples/%: $(BUILD)/examples/%.o $(LIB_LINK)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $< -L$(BUILD) -lpmbroker -Wl,-rpath,'$$ORIGIN/..'

$(BUILD)/bench/%: $(BUILD)/bench/%.o $(LIB_LINK)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $< -L$(BUILD) -lpmbroker -lmemkind -Wl,-rpath,'$$ORIGIN/..'

# Three interfaces, compiled each for itself; the four that are malloc() differ only in the library.
heap_objs = $(patsubst bench/heap/%.c,$(BUILD)/bench/heap/$(1)/%.o,$(SRC_BENCH_HEAP))
HEAP_LIBS_pmbroker = -L$(BUILD) -lpmbroker -Wl,-rpath,'$$ORIGIN/../..'
HEAP_LIBS_memkind = -lmemkind
HEAP_LIBS_jemalloc = -Wl,--no-as-needed -l:libjemalloc.so.2
HEAP_LIBS_tcmalloc = -Wl,--no-as-needed -l:libtcmalloc_minimal.so.4
HEAP_LIBS_mimalloc = -Wl,--no-as-needed -l:libmimalloc.so.2

define heap_interface
$(BUILD)/bench/heap/with-$(1)/%.o: bench/heap/%.c
	@mkdir -p $$(@D)
	$$(call say,CC  )$$(CC) $$(CPPFLAGS_ALL) -DBENCH_$(2) $$(CFLAGS_ALL) -fno-builtin -MMD -MP -c -o $$@ $$<
endef
$(eval $(call heap_interface,pmbroker,PMBROKER))
$(eval $(call heap_interface,memkind,MEMKIND))
$(eval $(call heap_interface,malloc,MALLOC))

define heap_program
$(BUILD)/bench/heap/$(1): $(call heap_objs,with-$(2)) $(3)
	$$(call say,LD  )$$(CC) $$(LDFLAGS_ALL) -o $$@ $(call heap_objs,with-$(2)) $$(HEAP_LIBS_$(1)) -lm
endef
$(eval $(call heap_program,pmbroker,pmbroker,$(LIB_LINK)))
$(eval $(call heap_program,memkind,memkind))
$(foreach a,glibc jemalloc tcmalloc mimalloc,$(eval $(call heap_program,$(a),malloc)))

$(BUILD)/bench/heap/bare: $(BUILD)/bench/heap/bare.o $(BUILD)/libunits.a $(JEMALLOC)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $^ -lmemkind $(LIBS_PROTOBUF) -lm
CFLAGS_bench = $(CFLAGS_client)

# The C++ header is compiled by the program that uses it: with each compiler, as each C++.
CXX_COMPILERS ?= g++ clang++
CXX_TESTS := $(foreach c,$(CXX_COMPILERS),$(foreach s,14 17 20,$(BUILD)/tests/cxx/containers-$(c)-$(s)))
CXXFLAGS ?= -O1
define cxx_test
$(BUILD)/tests/cxx/containers-$(1)-$(2): tests/cxx/containers.cpp client/pmbroker.hpp client/pmbroker.h $(LIB_LINK)
	@mkdir -p $$(@D)
	$$(call say,CXX )$(1) -std=c++$(2) -Iclient -Wall -Wextra -Wshadow -Wconversion -pedantic -Werror -pthread \
		$$(SANITIZE) $$(CXXFLAGS) -o $$@ $$< -L$$(BUILD) -lpmbroker -Wl,-rpath,'$$$$ORIGIN/../..'
endef
$(foreach c,$(CXX_COMPILERS),$(foreach s,14 17 20,$(eval $(call cxx_test,$(c),$(s)))))

$(BUILD)/tests/integration/%: $(BUILD)/tests/integration/%.o $(LIB_LINK)
	@mkdir -p $(@D)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $< -L$(BUILD) -lpmbroker -Wl,-rpath,'$$ORIGIN/../..'

$(BUILD)/tests/faults/%.so: $(BUILD)/tests/faults/%.o
	$(call say,LD  )$(CC) -shared $(LDFLAGS_ALL) -o $@ $<

$(BUILD)/tests/vm/%.so: $(BUILD)/tests/vm/%.o
	$(call say,LD  )$(CC) -shared $(LDFLAGS_ALL) -o $@ $<

$(BUILD)/tests/vm/%: $(BUILD)/tests/vm/%.o $(LIB_LINK)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $< -L$(BUILD) -lpmbroker -lmemkind -Wl,-rpath,'$$ORIGIN/../..'

$(BUILD)/tests/integration/isolation-jemalloc: $(BUILD)/tests/integration/isolation.o $(LIB_LINK)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $< -L$(BUILD) -lpmbroker -Wl,-rpath,'$$ORIGIN/../..' \
		-Wl,--no-as-needed -l:libjemalloc.so.2

# Here the program has AddressSanitizer, and the library is as it is.
$(BUILD)/tests/integration/watched-asan: tests/integration/watched.c $(LIB_LINK)
	@mkdir -p $(@D)
	$(call say,LD  )$(CC) -Iclient -std=gnu11 -O1 -g -Wall -Wextra -Werror -pthread -fsanitize=address -o $@ $< \
		-L$(BUILD) -lpmbroker -Wl,-rpath,'$$ORIGIN/../..'

# Loads the library by itself.
$(BUILD)/tests/integration/dlopen: $(BUILD)/tests/integration/dlopen.o
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $<

$(BUILD)/tests/faults/%: $(BUILD)/tests/faults/%.o $(LIB_LINK)
	@mkdir -p $(@D)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -Wl,--as-needed -o $@ $< -L$(BUILD) -lpmbroker -Wl,-rpath,'$$ORIGIN/../..'

# The same target with a fuzzer behind it (clang alone has one), and with a program that runs what it has found.
LINK_UNITS = $(BUILD)/libunits.a $(JEMALLOC) $(LIBS_SYSTEMD) $(LIBS_PROTOBUF) $(LIBS_INIH) $(LIBS_NDCTL) \
	$(LIBS_SMARTCOLS) -lm

$(BUILD)/tests/fuzz/fuzz-%: $(BUILD)/tests/fuzz/fuzz-%.o $(BUILD)/libunits.a $(JEMALLOC)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< $(LINK_UNITS)

$(BUILD)/tests/fuzz/replay-%: $(BUILD)/tests/fuzz/fuzz-%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/libunits.a $(JEMALLOC)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $< $(BUILD)/tests/fuzz/replay.o $(LINK_UNITS)

# Its daemon has its turn where the library waits.
$(BUILD)/tests/fuzz/fuzz-reply $(BUILD)/tests/fuzz/replay-reply: \
	private LDFLAGS += -Wl,--wrap=ppoll,--wrap=pthread_cond_clockwait,--wrap=clock_gettime

$(BUILD)/tests/fuzz/fuzz-config $(BUILD)/tests/fuzz/replay-config: \
	private LDFLAGS += -Wl,--wrap=getpwnam_r,--wrap=getgrnam_r

# A unit test takes from this archive what it needs.
$(BUILD)/libunits.a: $(OBJ_DAEMON) $(OBJ_CLIENT) $(OBJ_SHARED) $(filter-out $(BUILD)/ctl/main.o,$(call obj,$(SRC_CTL)))
	@rm -f $@
	$(call say,AR  )ar rcs $@ $^

define test_program
$(BUILD)/tests/$(1)/%: $(BUILD)/tests/$(1)/%.o $(BUILD)/libunits.a $(JEMALLOC)
	$$(call say,LD  )$$(CC) $$(LDFLAGS_ALL) -o $$@ $$< $(BUILD)/libunits.a $(JEMALLOC) \
		$$(LIBS_CMOCKA) $$(LIBS_SYSTEMD) $$(LIBS_PROTOBUF) $$(LIBS_INIH) $$(LIBS_NDCTL) $$(LIBS_SMARTCOLS) -lm
endef
$(eval $(call test_program,unit))
$(eval $(call test_program,stress))

$(PROTOCOL_PAGE): tools/proto-page.awk proto/pmbroker.proto man/pmbroker-protocol.7.in
	@mkdir -p $(@D)
	$(call say,GEN )awk -v version=$(VERSION) -f $^ >$@

-include $(shell find $(BUILD) -name '*.d' -type f 2>/dev/null)

# ------------------------------------------------------------------------------------------------------------- tests

PYTEST := $(PYTHON) -m pytest -q -p no:cacheprovider --durations=5

testprogs: $(TESTPROGS) $(FAULTPROGS) $(EXAMPLES)
cxxprogs: $(CXX_TESTS)

# First what is missing, then everything in order; each runner ends with a line of its own.
check: ## all tests (as root; else without those that take privileges here)
	@tools/install-deps.sh check
	@$(MAKE) --no-print-directory all testprogs cxxprogs $(UNIT_TESTS) $(STRESS_TESTS)
	@$(MAKE) --no-print-directory check-format
	@$(MAKE) --no-print-directory check-layers
	@$(MAKE) --no-print-directory check-man
	@$(MAKE) --no-print-directory check-clang
	@$(MAKE) --no-print-directory check-unit
	@$(MAKE) --no-print-directory check-fuzz
	@$(MAKE) --no-print-directory check-stress
	@$(MAKE) --no-print-directory check-integration
	@$(MAKE) --no-print-directory check-faults
	@$(MAKE) --no-print-directory check-install
	@$(MAKE) --no-print-directory check-library
	@$(MAKE) --no-print-directory check-vm
	@echo 'check: everything passed'

check-unit: $(UNIT_TESTS) ## unit tests
	@tests/run-unit.sh $(UNIT_TESTS)

STRESS_OPS ?= 10000000
STRESS_ARGS ?=
check-stress: $(STRESS_TESTS) ## the heap under stress; STRESS_OPS=N operations, STRESS_ARGS='--seed N'
	@set -e; for t in $(STRESS_TESTS); do $$t --ops $(STRESS_OPS) $(STRESS_ARGS); done

check-integration: all testprogs cxxprogs ## black-box tests against the real daemon
	BUILD=$(abspath $(BUILD)) PMBROKERCTL=$(abspath $(CTL)) $(PYTEST) tests/integration $(ARGS)

check-faults: all testprogs ## kills and failing system calls: a sample (as root)
	BUILD=$(abspath $(BUILD)) $(PYTEST) tests/faults

check-full: all testprogs ## what takes hours: failures at every system call, kills under load, a thousand million operations of stress
	@tools/install-deps.sh check
	@$(MAKE) --no-print-directory check-stress STRESS_OPS=1000000000
	@$(MAKE) --no-print-directory check-power-cut
	@$(MAKE) --no-print-directory check-deb
	PMBROKER_FULL=1 BUILD=$(abspath $(BUILD)) $(PYTEST) tests/integration/test_hostile.py
	PMBROKER_FULL=1 BUILD=$(abspath $(BUILD)) $(PYTEST) tests/faults

check-fuzz: $(FUZZ_NAMES:%=$(BUILD)/tests/fuzz/replay-%) ## run what the fuzzers have found, once
	@for name in $(FUZZ_NAMES); do printf 'fuzz: %s: ' $$name; \
		$(BUILD)/tests/fuzz/replay-$$name tests/fuzz/corpus/$$name || exit 1; done
	@echo 'fuzz: $(words $(FUZZ_NAMES)) passed, 0 failed'

SECONDS ?= 60
FUZZ_FLAGS = CC=clang BUILD=$(BUILD)-fuzz SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' \
	CFLAGS='-O1 -g -fsanitize=fuzzer-no-link'

fuzz: ## run each fuzzer for SECONDS; what breaks one is left in tests/fuzz/crash-*, to be put into its corpus
	@$(MAKE) --no-print-directory $(FUZZ_FLAGS) fuzzers
	@for name in $(FUZZ_NAMES); do echo "fuzz: $$name"; \
		$(BUILD)-fuzz/tests/fuzz/fuzz-$$name -max_total_time=$(SECONDS) -print_final_stats=1 -verbosity=0 \
			-artifact_prefix=tests/fuzz/crash-$$name- -timeout=10 -rss_limit_mb=2048 \
			$(BUILD)-fuzz/corpus/$$name tests/fuzz/corpus/$$name || exit 1; done

fuzzers: $(FUZZ_NAMES:%=$(BUILD)/tests/fuzz/fuzz-%)
	@mkdir -p $(FUZZ_NAMES:%=$(BUILD)/corpus/%)

MINUTES ?= 10
soak: all testprogs ## clients come and are killed for MINUTES; nothing of the daemons' may grow (as root)
	PMBROKER_SOAK_MINUTES=$(MINUTES) BUILD=$(abspath $(BUILD)) $(PYTEST) -s tests/faults/test_soak.py

check-layers: $(OBJ_DAEMON) $(BUILD)/proto/result.o ## prove that includes point downwards and the core is pure
	@tests/check-layers.sh $(BUILD)

check-clang: ## clang builds everything without a warning
	@$(MAKE) --no-print-directory CC=clang BUILD=$(BUILD)-clang all
	@echo 'clang: 1 passed, 0 failed'

check-install: all ## install and uninstall leave what they should
	@tests/check-install.sh $(BUILD)

check-man: $(MAN_PAGES) ## man pages are well-formed, and the pages that they refer to exist
	@tests/check-man.sh $(MAN_PAGES)

check-library: all ## what the library exports is declared, is what it was, and has a page, and the examples of the pages compile and run
	@tests/check-library.sh $(BUILD)

check-vm: ## the same daemon under systemd, with NVDIMMs, in emulated machines
	@tools/install-deps.sh vm
	@$(MAKE) --no-print-directory all testprogs $(VMPROGS)
	@MAKE='$(MAKE)' tests/vm/run.py $(BUILD) $(ARGS)

check-power-cut: ## the power fails while a store is being made, at each of twelve moments, or with ARGS=--some at two
	@tools/install-deps.sh vm
	@$(MAKE) --no-print-directory all
	@MAKE='$(MAKE)' tests/vm/power-cut.py $(BUILD) $(ARGS)

check-deb: ## the Debian packages: installed, upgraded under clients, removed and purged in an emulated machine
	@tools/install-deps.sh vm
	@$(MAKE) --no-print-directory deb
	@$(MAKE) --no-print-directory all testprogs $(VMPROGS)
	@tests/vm/deb.py $(BUILD) $(ARGS)

vm-shell: ## a root shell in such a machine, on this terminal
	@tools/install-deps.sh vm
	@$(MAKE) --no-print-directory all testprogs $(VMPROGS)
	@MAKE='$(MAKE)' tests/vm/run.py --shell $(BUILD)

asan: ## build with ASan and UBSan, run the unit and black-box tests and the stress
	@tools/install-deps.sh check
	$(MAKE) BUILD=$(BUILD)-asan SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' \
		CFLAGS='-O1 -g -fno-omit-frame-pointer' CXX_COMPILERS=g++ STRESS_OPS=1000000 \
		all testprogs check-unit check-stress check-integration

# It does not know of the fence that is for kernels without membarrier(), and says so. A child of one of several threads
# may live on, but not start threads, as test-fork's do. More than 64 locks at a time, which jemalloc has around fork(),
# are too many for finding deadlocks.
HEAP_TESTS := $(addprefix $(BUILD)/tests/unit/test-,arena cache connection depot grow heap misuse prefault \
	registry stats)
tsan: ## build with TSan, run the unit tests of the library and the stress
	@tools/install-deps.sh check
	TSAN_OPTIONS='die_after_fork=0 detect_deadlocks=0 halt_on_error=1 suppressions=$(CURDIR)/tests/tsan.supp' \
		$(MAKE) BUILD=$(BUILD)-tsan SANITIZE='-fsanitize=thread -Wno-tsan' CFLAGS='-O1 -g -fno-omit-frame-pointer' \
		STRESS_OPS=300000 check-tsan
check-tsan: $(HEAP_TESTS) check-stress
	@tests/run-unit.sh $(HEAP_TESTS)

memcheck: $(STRESS_TESTS) ## the heap under stress in valgrind
	@tools/install-deps.sh check
	@for t in $(STRESS_TESTS); do valgrind -q --error-exitcode=99 $$t --ops 20000 || exit; done

# What is installed, and the examples.
ANALYZED = $(SRC_BASE) $(SRC_PROTO) $(SRC_CORE) $(SRC_IPC) $(SRC_PROVISIONER) $(SRC_DAEMON) daemon/main.c $(SRC_CLIENT) \
	$(SRC_CTL) $(SRC_EXPORTER) $(SRC_EXAMPLES)
# gcc's analyzer comes to no end in the hash function that uthash takes by itself. It does not see that what is linked into
# a list by a member is still there, nor what is behind the pointer in cleanup_free(): a leak, or no value, at every return.
# Both are looked for by valgrind, ASan and clang-tidy.
ANALYZER_FLAGS = -O2 -g -fanalyzer -DHASH_FUNCTION=HASH_BER -Wno-analyzer-malloc-leak \
	-Wno-analyzer-use-of-uninitialized-value

analyze: $(BUILD)/proto/pmbroker.pb-c.h $(JEMALLOC) ## gcc -fanalyzer, clang-tidy (.clang-tidy) and cppcheck find nothing
	@tools/install-deps.sh analyze
	@$(MAKE) --no-print-directory CC=gcc BUILD=$(BUILD)-analyze CFLAGS='$(ANALYZER_FLAGS)' analyzer
	@printf '%s\n' $(ANALYZED) | xargs -P $$(nproc) -I FILE clang-tidy --quiet FILE -- $(CPPFLAGS_ALL) \
		-I$(BUILD)/jemalloc/include -std=gnu11 -pthread -Wall 2>/dev/null
	@echo 'clang-tidy: $(words $(ANALYZED)) passed, 0 failed'
	@cppcheck -q --error-exitcode=1 --enable=warning,performance,portability --std=c11 -j $$(nproc) \
		--inline-suppr --suppressions-list=tools/cppcheck-suppressions --template=gcc $(CPPFLAGS_ALL) $(ANALYZED)
	@echo 'cppcheck: $(words $(ANALYZED)) passed, 0 failed'

analyzer: $(call obj,$(ANALYZED))
	@echo 'gcc -fanalyzer: $(words $^) passed, 0 failed'

# The broker is another user than who builds: it may write its figures everywhere. What a killed process did is not in them.
COVERAGE_FLAGS = BUILD=$(BUILD)-coverage SANITIZE='--coverage -fprofile-update=atomic' CFLAGS='-O0 -g' CXX_COMPILERS=g++
COVERED := base proto daemon/core daemon/ipc client
coverage: ## branches of core, proto, ipc and client that unit, fuzz and black-box tests take: at least 90 %, and which not
	@tools/install-deps.sh coverage
	@umask 0; $(MAKE) --no-print-directory $(COVERAGE_FLAGS) all testprogs
	@find $(BUILD)-coverage -name '*.gcda' -delete
	@chmod -R a+rwX $(BUILD)-coverage
	@umask 0; $(MAKE) --no-print-directory $(COVERAGE_FLAGS) check-unit check-fuzz $(COVERAGE_TESTS)
	@gcovr --root . --object-directory $(BUILD)-coverage $(COVERED:%=--filter %/) --exclude '.*pb-c.*' --branches \
		--exclude-unreachable-branches --exclude-branches-by-pattern '.*\bassert\(.*' --sort-percentage \
		--fail-under-branch 90 $(BUILD)-coverage
COVERAGE_TESTS ?= check-integration

valgrind: all $(UNIT_TESTS) ## unit tests and a sample of the black-box tests in valgrind: no error, no descriptor left
	@tools/install-deps.sh check
	@tests/run-valgrind.sh $(UNIT_TESTS)
	@rm -rf $(BUILD)/valgrind && mkdir -m 777 -p $(BUILD)/valgrind
	PMBROKERD_WRAPPER='valgrind -q --trace-children=yes --track-fds=yes --error-exitcode=99 \
		--log-file=$(abspath $(BUILD))/valgrind/%p' BUILD=$(abspath $(BUILD)) PMBROKERCTL=$(abspath $(CTL)) \
		$(PYTEST) tests/integration -k '$(VALGRIND_TESTS)'
	@tests/run-valgrind.sh --logs $(BUILD)/valgrind
VALGRIND_TESTS ?= test_library or test_once or (test_resize and dir)

FORMATTED = $(shell git ls-files '*.c' '*.h' '*.cpp' '*.hpp' 2>/dev/null || \
	find . '(' -name '*.[ch]' -o -name '*.[ch]pp' ')' -not -path './build*')

format: ## rewrite the sources as .clang-format says
	clang-format -i $(FORMATTED)

check-format: ## fail if `make format` would change something
	@clang-format --dry-run -Werror $(FORMATTED)
	@echo 'format: 1 passed, 0 failed'

demo: ## install what is missing, build, and show the main job
	@tools/install-deps.sh build
	@$(MAKE) --no-print-directory all testprogs
	@BUILD=$(abspath $(BUILD)) tools/demo.sh

bench: ## measure, beside others in the same run; ARGS='speed sized' for a part of it (see bench/README.md)
	@tools/install-deps.sh bench
	@$(MAKE) --no-print-directory all $(BENCHES)
	@BUILD=$(abspath $(BUILD)) PYTHON=$(PYTHON) tools/bench.sh $(ARGS)

# ----------------------------------------------------------------------------------------------------------- install

# Each function has a page of its name, if only one that refers to that of its group.
man_names = $(filter-out $(notdir $(basename $(1))),$(shell sed -n '/^\.SH NAME/{n;s/ .-.*//;s/,//g;p;}' $(1)))
MAN_LINKS = $(foreach m,$(filter %.3,$(MAN_PAGES)),$(call man_names,$(m)))
UNITS := $(wildcard systemd/*.socket systemd/*.service systemd/*.service.in)
subst_file = sed -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@PREFIX@|$(PREFIX)|g' \
	-e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' \
	-e 's|@VERSION@|$(VERSION)|g'

# systemd keeps the fd store of a stopped unit from 254 on; older ones complain about the setting.
FDSTORE := systemd/pmbroker-provisioner.service.d/10-fdstore.conf
SYSTEMD_VERSION ?= $(shell pkg-config --modversion libsystemd 2>/dev/null || echo 0)
HAS_FDSTORE = $(shell test $(SYSTEMD_VERSION) -ge 254 && echo yes)

# $(1): file below the source tree, $(2): directory, $(3): name, $(4): mode
define put
	install -D -m $(4) $(1) $(DESTDIR)$(2)/$(3)

endef
define put_subst
	install -d $(DESTDIR)$(2)
	$(subst_file) $(1) > $(DESTDIR)$(2)/$(3)
	chmod $(4) $(DESTDIR)$(2)/$(3)

endef
define put_link
	echo '.so man3/$(notdir $(1))' > $(DESTDIR)$(MANDIR)/man3/$(2).3

endef
INSTALLED = $(SBINDIR)/pmbrokerd $(BINDIR)/pmbrokerctl $(BINDIR)/pmbroker-metrics \
	$(LIBDIR)/libpmbroker.so.$(VERSION) $(LIBDIR)/libpmbroker.so.$(SOVERSION) $(LIBDIR)/libpmbroker.so \
	$(INCLUDEDIR)/pmbroker.h $(INCLUDEDIR)/pmbroker.hpp $(INCLUDEDIR)/pmbroker.proto $(PKGCONFIGDIR)/libpmbroker.pc \
	$(SYSCONFDIR)/pmbroker/pmbrokerd.conf \
	$(SYSUSERSDIR)/pmbroker.conf $(TMPFILESDIR)/pmbroker.conf $(CATALOGDIR)/pmbroker.catalog \
	$(BASHCOMPDIR)/pmbrokerctl $(ZSHCOMPDIR)/_pmbrokerctl \
	$(addprefix $(UNITDIR)/,$(notdir $(UNITS:.in=))) $(UNITDIR)/pmbroker-provisioner.service.d/10-fdstore.conf \
	$(foreach m,$(MAN_PAGES),$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) \
	$(foreach n,$(MAN_LINKS),$(MANDIR)/man3/$(n).3)

install: all ## install below DESTDIR, PREFIX, SYSCONFDIR and UNITDIR
	$(call put,$(DAEMON),$(SBINDIR),pmbrokerd,755)
	$(call put,$(CTL),$(BINDIR),pmbrokerctl,755)
	$(call put,$(EXPORTER),$(BINDIR),pmbroker-metrics,755)
	$(call put,$(LIB_REAL),$(LIBDIR),libpmbroker.so.$(VERSION),755)
	ln -sf libpmbroker.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libpmbroker.so.$(SOVERSION)
	ln -sf libpmbroker.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libpmbroker.so
	$(call put,client/pmbroker.h,$(INCLUDEDIR),pmbroker.h,644)
	$(call put,proto/pmbroker.proto,$(INCLUDEDIR),pmbroker.proto,644)
	$(call put,client/pmbroker.hpp,$(INCLUDEDIR),pmbroker.hpp,644)
	$(call put_subst,client/libpmbroker.pc.in,$(PKGCONFIGDIR),libpmbroker.pc,644)
	$(call put,conf/pmbrokerd.conf,$(SYSCONFDIR)/pmbroker,pmbrokerd.conf,644)
	$(call put,systemd/sysusers.d/pmbroker.conf,$(SYSUSERSDIR),pmbroker.conf,644)
	$(call put,systemd/tmpfiles.d/pmbroker.conf,$(TMPFILESDIR),pmbroker.conf,644)
	$(call put,systemd/pmbroker.catalog,$(CATALOGDIR),pmbroker.catalog,644)
	$(call put,ctl/completions/bash/pmbrokerctl,$(BASHCOMPDIR),pmbrokerctl,644)
	$(call put,ctl/completions/zsh/_pmbrokerctl,$(ZSHCOMPDIR),_pmbrokerctl,644)
	$(foreach u,$(UNITS),$(call put_subst,$(u),$(UNITDIR),$(notdir $(u:.in=)),644))
	$(if $(HAS_FDSTORE),$(call put,$(FDSTORE),$(UNITDIR)/pmbroker-provisioner.service.d,10-fdstore.conf,644))
	$(foreach m,$(MAN_PAGES),$(call put,$(m),$(MANDIR)/man$(subst .,,$(suffix $(m))),$(notdir $(m)),644))
	$(foreach m,$(filter %.3,$(MAN_PAGES)),$(foreach n,$(call man_names,$(m)),$(call put_link,$(m),$(n))))

uninstall: ## remove what install put there (the configuration too)
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	-rmdir $(DESTDIR)$(SYSCONFDIR)/pmbroker $(DESTDIR)$(UNITDIR)/pmbroker-provisioner.service.d 2>/dev/null

deb: ## build Debian packages, below $(BUILD)/deb
	@tools/install-deps.sh deb
	@tools/make-deb.sh $(BUILD)/deb

clean: ## remove what was built
	rm -rf $(BUILD) $(BUILD)-clang $(BUILD)-asan $(BUILD)-tsan $(BUILD)-fuzz \
		$(BUILD)-analyze $(BUILD)-coverage
