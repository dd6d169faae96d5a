# tarn's build. `make` leaves build/tarn, build/libtarn.a and build/libtarn.so.
#
#   make                     release: -O3, LTO, in build/
#   make DEBUG=1             -O1 -g, no LTO, in build-debug/
#   make SAN=address         address and undefined-behaviour sanitizers, in build-address/;
#                            also SAN=thread, SAN=undefined
#   make WERROR=1            warnings are errors (as script/test does)
#   make PLANTS=1            with the bug of src/core/plant.h that the environment names, for
#                            script/fault-plants: -O1 -g, no LTO, in build-plants/
#   make B=DIR               build in DIR instead
#   make V=1                 show every command
#
#   make unit                build and run the unit tests
#   make fault               the long form of all that kills, tears, damages and fails, and a table;
#                            SEEDS=, KILLS=, FIRST=, JOBS= (script/fault)
#   make fault-plants        are the planted bugs caught, and by whom?
#   make fuzz                run each fuzzer for FUZZ_SECONDS (600); fuzz-brief: for 5 s. clang
#   make soak                a day of a busy cache in some minutes: is memory flat? SOAK="--minutes 3"
#   make bench               build the benchmarks (bench/README.md)
#   make lint                formatting, layering and other rules that a program can check
#   make install             PREFIX=/usr/local DESTDIR=; uninstall takes it away
#   make compile_commands.json     for editors and clang tools
#
# One archive per folder of src/; an archive is linked only with those of lower layers, so that an
# upward call does not link. LOWER_<folder> is the same table as in script/lint-layers.

CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
AR      := gcc-ar
OBJCOPY ?= objcopy
CLANG   ?= clang
PREFIX  ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man
MAKEFLAGS += --no-builtin-rules
Q := $(if $(V),,@)
say = @$(if $(V),:,printf '  %-7s %s\n' $(1) $@)
.SUFFIXES:
comma := ,

VERSION := $(shell sed -n 's/^.define TARN_VERSION "\(.*\)"/\1/p' include/tarn.h)
SONAME  := libtarn.so.0

LAYERS  := core os table pack wal resp store server bench cli
LOWER_core   :=
LOWER_os     := core
LOWER_table  := os core
LOWER_wal    := os core
LOWER_pack   := os core
LOWER_resp   := os core
LOWER_store  := table pack wal os core
LOWER_server := store resp table pack wal os core
LOWER_bench  := store resp table pack wal os core
LOWER_cli    := bench server store resp table pack wal os core
LIBRARY_LAYERS := core os table pack wal store

# --- modes ---

ifneq ($(PLANTS),)
  B := build-plants
  MODE := -O1 -g
  CPPFLAGS += -DTARN_PLANTS
else ifneq ($(SAN),)
  B := build-$(SAN)
  ifeq ($(SAN),address)
    MODE := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
  else
    MODE := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
  endif
else ifneq ($(DEBUG),)
  B := build-debug
  MODE := -O1 -g
else
  B := build
  MODE := -O3 -g -flto=auto -ffat-lto-objects -fno-semantic-interposition \
          -D_FORTIFY_SOURCE=2 -fstack-protector-strong
  LTO := yes
endif

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wnull-dereference \
            -Wno-missing-field-initializers
# Warnings that follow values through optimised code are judged on the release build: the
# sanitizers' own code makes them see what is not there.
ifneq ($(SAN),)
  WARNINGS += -Wno-null-dereference -Wno-format-truncation -Wno-maybe-uninitialized \
              -Wno-stringop-overflow
endif
ifneq ($(WERROR),)
  WARNINGS += -Werror
endif

CPPFLAGS += -Isrc -Iinclude -D_GNU_SOURCE
CFLAGS   += -std=gnu17 $(MODE) $(WARNINGS) -fPIC -fvisibility=hidden -MMD -MP -pthread
LDFLAGS  += $(MODE) -pthread -Wl,-z,relro -Wl,-z,now -Wl,--as-needed
# Test programs link the archives' machine code as it is: LTO once per program takes too long, and
# -O3 of the tests themselves too, besides making gcc warn of what cannot happen.
LDFLAGS_TEST := $(filter-out -flto=auto -O3,$(LDFLAGS)) $(if $(LTO),-fno-lto)
CFLAGS_TEST  := $(filter-out -flto=auto -ffat-lto-objects -O3 -Wnull-dereference,$(CFLAGS)) $(if $(LTO),-O1)
LIBS     := -lurcu-qsbr -luring -lcbor -ljansson -lm
LIBS_SERVER := -lmicrohttpd

all: $(B)/tarn $(B)/libtarn.a $(B)/libtarn.so

# --- program and libraries ---

folder_objects = $(patsubst src/%.c,$(B)/obj/%.o,$(wildcard src/$(1)/*.c))
LIBRARY_OBJECTS = $(foreach l,$(LIBRARY_LAYERS),$(call folder_objects,$(l)))
# A folder's archive and those below it, highest first, as the linker wants them.
archives = $(foreach l,$(1) $(LOWER_$(1)),$(B)/$(l).a)

$(B)/tarn: $(call archives,cli)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(call archives,cli) $(LIBS_SERVER) $(LIBS)

# The static library is one relocatable object of finished machine code, so that any compiler's
# linker takes it, with every name but tarn.h's made local, so that none can clash.
$(B)/libtarn.o: $(LIBRARY_OBJECTS)
	$(call say,LINK)
	$(Q)$(if $(LTO),$(CC) $(MODE) -r -nostdlib -flinker-output=nolto-rel,ld -r) -o $@.all $^
	$(Q)$(OBJCOPY) --localize-hidden $@.all $@
	@rm -f $@.all

$(B)/libtarn.a: $(B)/libtarn.o
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/libtarn.so: $(LIBRARY_OBJECTS)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--exclude-libs,ALL -o $@ $^ $(LIBS)

define archive_rule
$(B)/$(1).a: $(call folder_objects,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$(Q)$(AR) rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call archive_rule,$(l))))

$(B)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# A test that asks for too much memory wants the answer that malloc gives, not an abort.
export ASAN_OPTIONS ?= allocator_may_return_null=1
# A flush holds 4096 locks; the deadlock detector can count to 64.
export TSAN_OPTIONS ?= allocator_may_return_null=1:detect_deadlocks=0

# --- unit and fault tests: test/{unit,fault}/test_<folder>_<what>.c, linked with that folder and
# lower ones only, and with what test/lib/ offers ---

UNIT_TESTS  := $(patsubst test/%.c,%,$(wildcard test/unit/test_*.c))
FAULT_TESTS := $(patsubst test/%.c,%,$(wildcard test/fault/test_*.c))
test_folder = $(word 2,$(subst _, ,$(notdir $(1))))
# test/lib/fault_malloc.c can fail these; so testlib.a comes once more behind what calls them.
TEST_WRAP := $(foreach f,malloc calloc realloc aligned_alloc strdup strndup,-Wl,--wrap=$(f))
# Programs whose threads take turns (test/lib/turns.h) have every way of waiting wrapped.
TURNS_TESTS := unit/test_core_turns unit/test_table_scan_steps fault/test_store_crash fault/test_wal_power
TURNS_WRAP := $(addprefix -Wl$(comma)--wrap=,clock_gettime lock_wait nanosleep sched_yield \
    urcu_qsbr_synchronize_rcu $(addprefix pthread_,create join mutex_lock mutex_trylock \
    mutex_unlock cond_wait cond_timedwait cond_signal cond_broadcast))
# A log that goes on when the test says so (test/lib/held_log.h).
HELD_TESTS := unit/test_server_gate fault/test_server_gate
HELD_WRAP := $(addprefix -Wl$(comma)--wrap=tarn_,reached session_sequence sequence hurry \
    await log_stats_get)
# A data file on disk whose reads come when the test says so (test/lib/late_disk.h).
LATE_TESTS := unit/test_server_fetch
LATE_WRAP := $(addprefix -Wl$(comma)--wrap=tarn_,fetch_begin fetch_status fetch_end fetch_submit fetch_fd \
    fetch_poll stream_open stream_from stream_next stream_piece stream_close get get_record get_expiry usage \
    get_many get_together)
test_wrap = $(TEST_WRAP) $(if $(filter $(1),$(TURNS_TESTS)),$(TURNS_WRAP)) \
            $(if $(filter $(1),$(HELD_TESTS)),$(HELD_WRAP)) \
            $(if $(filter $(1),$(LATE_TESTS)),$(LATE_WRAP))
TESTLIB_OBJECTS := $(patsubst test/lib/%.c,$(B)/testlib/%.o,$(wildcard test/lib/*.c))

$(B)/testlib/%.o: test/lib/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) -Itest $(CFLAGS_TEST) -c -o $@ $<

$(B)/testlib.a: $(TESTLIB_OBJECTS)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

define test_rule
$(B)/$(1): test/$(1).c $(B)/testlib.a $(call archives,$(call test_folder,$(1)))
	@mkdir -p $$(@D)
	@$(if $(V),:,printf '  %-7s %s\n' TEST $$@)
	$(Q)$(CC) $(CPPFLAGS) -Itest $(CFLAGS_TEST) $(LDFLAGS_TEST) $(call test_wrap,$(1)) -o $$@ $$< \
	    $(B)/testlib.a $(call archives,$(call test_folder,$(1))) $(B)/testlib.a \
	    -lcmocka $(LIBS_SERVER) $(LIBS)
endef
$(foreach t,$(UNIT_TESTS) $(FAULT_TESTS),$(eval $(call test_rule,$(t))))

unit-build: $(addprefix $(B)/,$(UNIT_TESTS))
fault-build: $(addprefix $(B)/,$(FAULT_TESTS))

unit: unit-build
	@for t in $(UNIT_TESTS); do $(B)/$$t || exit 1; done

fault: all fault-build
	@B=$(B) script/fault

fault-plants:
	@script/fault-plants

# --- fuzzers: test/fuzz/fuzz_<name>.c with a corpus in test/fuzz/corpus/<name>/ and perhaps a
# dictionary test/fuzz/<name>.dict. libFuzzer is clang's, so all is compiled once more ---

FUZZERS := $(patsubst test/fuzz/fuzz_%.c,%,$(wildcard test/fuzz/fuzz_*.c))
FUZZ_LAYERS := $(filter-out cli,$(LAYERS))
FUZZ_FLAGS := -std=gnu17 -O1 -g -fno-omit-frame-pointer -pthread -Wall -Wextra \
              -Wno-missing-field-initializers -fsanitize=address,undefined \
              -fno-sanitize-recover=all -MMD -MP
FUZZ_OBJECTS := $(foreach l,$(FUZZ_LAYERS),\
                  $(patsubst src/%.c,$(B)/fuzz/obj/%.o,$(wildcard src/$(l)/*.c)))
FUZZ_TESTLIB := $(patsubst test/lib/%.c,$(B)/fuzz/testlib/%.o,$(wildcard test/lib/*.c))
FUZZ_SECONDS ?= 600

$(B)/fuzz/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(call say,CLANG)
	$(Q)$(CLANG) $(CPPFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

$(B)/fuzz/testlib/%.o: test/lib/%.c
	@mkdir -p $(@D)
	$(call say,CLANG)
	$(Q)$(CLANG) $(CPPFLAGS) -Itest $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

$(B)/fuzz/all.a: $(FUZZ_TESTLIB) $(FUZZ_OBJECTS)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(B)/fuzz/fuzz_%: test/fuzz/fuzz_%.c $(B)/fuzz/all.a
	$(call say,CLANG)
	$(Q)$(CLANG) $(CPPFLAGS) -Itest $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $< $(B)/fuzz/all.a \
	    -lcmocka $(LIBS_SERVER) $(LIBS)

fuzz-build: $(addprefix $(B)/fuzz/fuzz_,$(FUZZERS))

# What is found goes to $(B)/fuzz/found/<name>/; a crash leaves $(B)/fuzz/<name>-crash-*.
fuzz: fuzz-build
	@for f in $(FUZZERS); do \
	    mkdir -p $(B)/fuzz/found/$$f && \
	    $(B)/fuzz/fuzz_$$f -max_total_time=$(FUZZ_SECONDS) -timeout=25 -rss_limit_mb=2048 \
	        -print_final_stats=1 -verbosity=0 -artifact_prefix=$(B)/fuzz/$$f- \
	        $$(test -f test/fuzz/$$f.dict && echo -dict=test/fuzz/$$f.dict) \
	        $(B)/fuzz/found/$$f $$(test -d test/fuzz/corpus/$$f && echo test/fuzz/corpus/$$f) \
	        || { echo "fuzzer $$f failed" >&2; exit 1; }; \
	done

fuzz-brief:
	@$(MAKE) --no-print-directory fuzz B=$(B) FUZZ_SECONDS=5

# --- soak ---

soak: $(B)/tarn
	@script/soak --program $(B)/tarn $(SOAK)

# --- benchmarks ---

include bench/bench.mk

# --- lint ---

FORMATTED := $(wildcard src/*/*.[ch] include/*.h test/*/*.[ch] bench/*.[ch] bench/*/*.[ch] examples/*.[ch])

lint:
	@script/lint-layers --self-test
	@script/lint-layers
	@if command -v clang-format >/dev/null; then \
	    clang-format --dry-run -Werror $(FORMATTED); \
	else \
	    echo "lint: clang-format is not installed: formatting not checked" >&2; \
	fi

compile_commands.json: $(wildcard src/*/*.c test/*/*.c bench/*.c examples/*.c) Makefile
	@{ echo '['; separator=''; for f in $(filter %.c,$^); do \
	    printf '%s{"directory": "%s", "file": "%s", "command": "%s"}' "$$separator" \
	        '$(CURDIR)' "$$f" "$(CC) $(CPPFLAGS) -Itest $(filter-out -MMD -MP,$(CFLAGS_TEST)) -c $$f"; \
	    separator=",$$(printf '\nx')"; separator="$${separator%x}"; \
	done; echo; echo ']'; } > $@.new && mv $@.new $@

# --- install ---

define TARN_PC
prefix=$(PREFIX)
libdir=$(patsubst $(PREFIX)/%,$${prefix}/%,$(LIBDIR))
includedir=$(patsubst $(PREFIX)/%,$${prefix}/%,$(INCLUDEDIR))

Name: tarn
Description: Key-value store as a library
Version: $(VERSION)
Requires.private: liburcu-qsbr liburing libcbor jansson
Libs: -L$${libdir} -ltarn
Libs.private: -pthread -lm
Cflags: -I$${includedir}
endef
export TARN_PC

install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR) \
	    $(DESTDIR)$(MANDIR)/man1
	install -m 755 $(B)/tarn $(DESTDIR)$(BINDIR)/tarn
	install -m 644 $(B)/libtarn.a $(DESTDIR)$(LIBDIR)/libtarn.a
	install -m 755 $(B)/libtarn.so $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libtarn.so
	install -m 644 include/tarn.h $(DESTDIR)$(INCLUDEDIR)/tarn.h
	printf '%s\n' "$$TARN_PC" > $(DESTDIR)$(LIBDIR)/pkgconfig/tarn.pc
	$(B)/tarn help --man > $(DESTDIR)$(MANDIR)/man1/tarn.1

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/tarn $(DESTDIR)$(LIBDIR)/libtarn.a \
	    $(DESTDIR)$(LIBDIR)/$(SONAME) $(DESTDIR)$(LIBDIR)/libtarn.so \
	    $(DESTDIR)$(INCLUDEDIR)/tarn.h $(DESTDIR)$(LIBDIR)/pkgconfig/tarn.pc \
	    $(DESTDIR)$(MANDIR)/man1/tarn.1

clean:
	rm -rf build build-address build-thread build-undefined build-debug build-plants compile_commands.json

.PHONY: all unit unit-build fault fault-build fault-plants fuzz fuzz-build fuzz-brief soak bench lint install \
        uninstall clean
-include $(shell find $(B) -type f -name '*.d' 2>/dev/null)
