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
SRC_UNIT := $(wildcard tests/unit/test-*.c)
SRC_EXAMPLES := $(wildcard examples/*.c)
SRC_BENCH := $(wildcard bench/*.c)
SRC_TESTPROGS := $(wildcard tests/integration/*.c)
SRC_PRELOADS := $(wildcard tests/faults/preload-*.c)
SRC_FAULTPROGS := $(filter-out $(SRC_PRELOADS),$(wildcard tests/faults/*.c))

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))

OBJ_PB := $(BUILD)/proto/pmbroker.pb-c.o
OBJ_SHARED := $(call obj,$(SRC_BASE) $(SRC_PROTO)) $(OBJ_PB)
OBJ_DAEMON := $(call obj,$(SRC_CORE) $(SRC_IPC) $(SRC_PROVISIONER) $(SRC_DAEMON))
OBJ_CLIENT := $(call obj,$(SRC_CLIENT))

DAEMON := $(BUILD)/pmbrokerd
CTL := $(BUILD)/pmbrokerctl
LIB_REAL := $(BUILD)/libpmbroker.so.$(VERSION)
LIB_SO := $(BUILD)/libpmbroker.so.$(SOVERSION)
LIB_LINK := $(BUILD)/libpmbroker.so
JEMALLOC := $(BUILD)/jemalloc/lib/libpmb_jemalloc.a
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(SRC_UNIT))
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(SRC_EXAMPLES))
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(SRC_BENCH))
TESTPROGS := $(patsubst tests/integration/%.c,$(BUILD)/tests/integration/%,$(SRC_TESTPROGS))
SRC_FUZZ := $(wildcard tests/fuzz/fuzz-*.c)
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz-%.c,%,$(SRC_FUZZ))
FAULTPROGS := $(patsubst %.c,$(BUILD)/%,$(SRC_FAULTPROGS)) $(patsubst %.c,$(BUILD)/%.so,$(SRC_PRELOADS))

.PHONY: help deps all demo check check-unit check-integration check-faults check-full check-fuzz fuzz fuzzers soak check-layers check-clang check-format check-install \
	check-vm vm-shell asan bench format install uninstall clean testprogs

help: ## this list
	@echo 'pmbroker $(VERSION)'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 28
	@echo
	@echo 'Variables: CC BUILD DESTDIR PREFIX SYSCONFDIR UNITDIR CFLAGS LDFLAGS JEMALLOC_SOURCE V=1'

all: $(DAEMON) $(CTL) $(LIB_LINK) $(EXAMPLES) ## build everything

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
$(call obj,$(SRC_CLIENT) $(SRC_UNIT) $(SRC_FUZZ)): | $(JEMALLOC)

$(JEMALLOC): tools/build-jemalloc.sh
	$(call say,GEN )tools/build-jemalloc.sh $(BUILD)/jemalloc

$(DAEMON): $(BUILD)/daemon/main.o $(OBJ_DAEMON) $(OBJ_SHARED)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_SYSTEMD) $(LIBS_PROTOBUF) $(LIBS_INIH) $(LIBS_NDCTL)

$(LIB_REAL): $(OBJ_CLIENT) $(OBJ_SHARED) $(JEMALLOC) client/libpmbroker.sym
	$(call say,LD  )$(CC) -shared $(LDFLAGS_ALL) -Wl,-soname,libpmbroker.so.$(SOVERSION) \
		-Wl,--version-script=client/libpmbroker.sym -Wl,--exclude-libs,ALL -Wl,-z,nodelete \
		-o $@ $(OBJ_CLIENT) $(OBJ_SHARED) $(JEMALLOC) $(LIBS_PROTOBUF) -lm

$(LIB_SO): $(LIB_REAL)
	$(Q)ln -sf $(notdir $<) $@

$(LIB_LINK): $(LIB_SO)
	$(Q)ln -sf $(notdir $<) $@

# The CLI speaks the protocol itself: it wants tables of rows, not pools.
$(CTL): $(call obj,$(SRC_CTL)) $(OBJ_SHARED)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_PROTOBUF) $(LIBS_SMARTCOLS)

$(BUILD)/examples/%: $(BUILD)/examples/%.o $(LIB_LINK)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $< -L$(BUILD) -lpmbroker -Wl,-rpath,'$$ORIGIN/..'

$(BUILD)/bench/%: $(BUILD)/bench/%.o $(LIB_LINK)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $< -L$(BUILD) -lpmbroker -lmemkind -Wl,-rpath,'$$ORIGIN/..'

$(BUILD)/tests/integration/%: $(BUILD)/tests/integration/%.o $(LIB_LINK)
	@mkdir -p $(@D)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $< -L$(BUILD) -lpmbroker -Wl,-rpath,'$$ORIGIN/../..'

$(BUILD)/tests/faults/%.so: $(BUILD)/tests/faults/%.o
	$(call say,LD  )$(CC) -shared $(LDFLAGS_ALL) -o $@ $<

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

# A unit test takes from this archive what it needs.
$(BUILD)/libunits.a: $(OBJ_DAEMON) $(OBJ_CLIENT) $(OBJ_SHARED) $(filter-out $(BUILD)/ctl/main.o,$(call obj,$(SRC_CTL)))
	@rm -f $@
	$(call say,AR  )ar rcs $@ $^

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libunits.a $(JEMALLOC)
	$(call say,LD  )$(CC) $(LDFLAGS_ALL) -o $@ $< $(BUILD)/libunits.a $(JEMALLOC) \
		$(LIBS_CMOCKA) $(LIBS_SYSTEMD) $(LIBS_PROTOBUF) $(LIBS_INIH) $(LIBS_NDCTL) $(LIBS_SMARTCOLS) -lm

-include $(shell find $(BUILD) -name '*.d' -type f 2>/dev/null)

# ------------------------------------------------------------------------------------------------------------- tests

PYTEST := $(PYTHON) -m pytest -q -p no:cacheprovider --durations=5

testprogs: $(TESTPROGS) $(FAULTPROGS) $(EXAMPLES)

# First what is missing, then everything in order; each runner ends with a line of its own.
check: ## all tests that need no hardware (as root: all of them)
	@tools/install-deps.sh check
	@$(MAKE) --no-print-directory all testprogs $(UNIT_TESTS)
	@$(MAKE) --no-print-directory check-format
	@$(MAKE) --no-print-directory check-layers
	@$(MAKE) --no-print-directory check-clang
	@$(MAKE) --no-print-directory check-unit
	@$(MAKE) --no-print-directory check-fuzz
	@$(MAKE) --no-print-directory check-integration
	@$(MAKE) --no-print-directory check-faults
	@$(MAKE) --no-print-directory check-install
	@echo 'check: everything passed'

check-unit: $(UNIT_TESTS) ## unit tests
	@tests/run-unit.sh $(UNIT_TESTS)

check-integration: all testprogs ## black-box tests against the real daemon
	BUILD=$(abspath $(BUILD)) PMBROKERCTL=$(abspath $(CTL)) $(PYTEST) tests/integration

check-faults: all testprogs ## kills and failing system calls: a sample (as root)
	BUILD=$(abspath $(BUILD)) $(PYTEST) tests/faults

check-full: all testprogs ## kills and failures at every system call, random kills under load: an hour (as root)
	PMBROKER_FULL=1 BUILD=$(abspath $(BUILD)) $(PYTEST) tests/faults

check-fuzz: $(FUZZ_NAMES:%=$(BUILD)/tests/fuzz/replay-%) ## run what the fuzzers have found, once
	@for name in $(FUZZ_NAMES); do printf 'fuzz: %s: ' $$name; \
		$(BUILD)/tests/fuzz/replay-$$name tests/fuzz/corpus/$$name || exit 1; done

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

check-vm: all testprogs ## the same daemon under systemd, with NVDIMMs, in an emulated machine
	@tools/install-deps.sh vm
	@MAKE='$(MAKE)' tests/vm/run.sh $(BUILD) $(ARGS)

vm-shell: all testprogs ## a root shell in that machine, on this terminal
	@tools/install-deps.sh vm
	@MAKE='$(MAKE)' tests/vm/run.sh --shell $(BUILD)

asan: ## build with ASan and UBSan, run the unit and black-box tests
	@tools/install-deps.sh check
	$(MAKE) BUILD=$(BUILD)-asan SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' \
		CFLAGS='-O1 -g -fno-omit-frame-pointer' all testprogs check-unit check-integration

FORMATTED = $(shell git ls-files '*.c' '*.h' 2>/dev/null || find . -name '*.[ch]' -not -path './build*')

format: ## rewrite the sources as .clang-format says
	clang-format -i $(FORMATTED)

check-format: ## fail if `make format` would change something
	@clang-format --dry-run -Werror $(FORMATTED)
	@echo 'format: 1 passed, 0 failed'

demo: ## install what is missing, build, and show the main job
	@tools/install-deps.sh build
	@$(MAKE) --no-print-directory all testprogs
	@BUILD=$(abspath $(BUILD)) tools/demo.sh

bench: ## measure, beside memkind in the same run
	@tools/install-deps.sh check
	@$(MAKE) --no-print-directory all $(BENCHES)
	@BUILD=$(abspath $(BUILD)) tools/bench.sh

# ----------------------------------------------------------------------------------------------------------- install

MAN_PAGES := $(wildcard man/*.[1-9])
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
INSTALLED := $(SBINDIR)/pmbrokerd $(BINDIR)/pmbrokerctl \
	$(LIBDIR)/libpmbroker.so.$(VERSION) $(LIBDIR)/libpmbroker.so.$(SOVERSION) $(LIBDIR)/libpmbroker.so \
	$(INCLUDEDIR)/pmbroker.h $(PKGCONFIGDIR)/libpmbroker.pc \
	$(SYSCONFDIR)/pmbroker/pmbrokerd.conf \
	$(SYSUSERSDIR)/pmbroker.conf $(TMPFILESDIR)/pmbroker.conf \
	$(BASHCOMPDIR)/pmbrokerctl $(ZSHCOMPDIR)/_pmbrokerctl \
	$(addprefix $(UNITDIR)/,$(notdir $(UNITS:.in=))) $(UNITDIR)/pmbroker-provisioner.service.d/10-fdstore.conf \
	$(foreach m,$(MAN_PAGES),$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m)))

install: all ## install below DESTDIR, PREFIX, SYSCONFDIR and UNITDIR
	$(call put,$(DAEMON),$(SBINDIR),pmbrokerd,755)
	$(call put,$(CTL),$(BINDIR),pmbrokerctl,755)
	$(call put,$(LIB_REAL),$(LIBDIR),libpmbroker.so.$(VERSION),755)
	ln -sf libpmbroker.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libpmbroker.so.$(SOVERSION)
	ln -sf libpmbroker.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libpmbroker.so
	$(call put,client/pmbroker.h,$(INCLUDEDIR),pmbroker.h,644)
	$(call put_subst,client/libpmbroker.pc.in,$(PKGCONFIGDIR),libpmbroker.pc,644)
	$(call put,conf/pmbrokerd.conf,$(SYSCONFDIR)/pmbroker,pmbrokerd.conf,644)
	$(call put,systemd/sysusers.d/pmbroker.conf,$(SYSUSERSDIR),pmbroker.conf,644)
	$(call put,systemd/tmpfiles.d/pmbroker.conf,$(TMPFILESDIR),pmbroker.conf,644)
	$(call put,ctl/completions/bash/pmbrokerctl,$(BASHCOMPDIR),pmbrokerctl,644)
	$(call put,ctl/completions/zsh/_pmbrokerctl,$(ZSHCOMPDIR),_pmbrokerctl,644)
	$(foreach u,$(UNITS),$(call put_subst,$(u),$(UNITDIR),$(notdir $(u:.in=)),644))
	$(if $(HAS_FDSTORE),$(call put,$(FDSTORE),$(UNITDIR)/pmbroker-provisioner.service.d,10-fdstore.conf,644))
	$(foreach m,$(MAN_PAGES),$(call put,$(m),$(MANDIR)/man$(subst .,,$(suffix $(m))),$(notdir $(m)),644))

uninstall: ## remove what install put there (the configuration too)
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	-rmdir $(DESTDIR)$(SYSCONFDIR)/pmbroker $(DESTDIR)$(UNITDIR)/pmbroker-provisioner.service.d 2>/dev/null

clean: ## remove what was built
	rm -rf $(BUILD) $(BUILD)-clang $(BUILD)-asan $(BUILD)-fuzz
