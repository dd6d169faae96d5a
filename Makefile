# tarn's build. `make` leaves build/tarn, build/libtarn.a, build/libtarn.so.
#
#   make                     release: -O3, LTO
#   make SAN=address         also thread, undefined; built in build-address/ ...
#   make DEBUG=1             -O1 -g, no LTO, in build-debug/
#   make WERROR=1            warnings are errors (CI)
#   make unit                build and run the unit tests
#
# One archive per folder of src/, in the order of the layers: an archive is linked only with lower
# ones, so that an upward call does not link.

CC      ?= gcc
AR      := gcc-ar
PREFIX  ?= /usr/local
MAKEFLAGS += --no-builtin-rules

LAYERS  := core os pack resp store server cli
VERSION := $(shell sed -n 's/^.define TARN_VERSION "\(.*\)"/\1/p' include/tarn.h)

ifneq ($(SAN),)
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
  MODE := -O3 -g -flto=auto -fno-semantic-interposition
endif

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wnull-dereference \
            -Wno-missing-field-initializers
ifneq ($(WERROR),)
  WARNINGS += -Werror
endif

CPPFLAGS += -Isrc -Iinclude -D_GNU_SOURCE
CFLAGS   += -std=gnu17 $(MODE) $(WARNINGS) -fPIC -fvisibility=hidden -MMD -MP -pthread
LDFLAGS  += $(MODE) -pthread -Wl,-z,relro -Wl,--as-needed
LIBS     := -lurcu-qsbr -lm
LIBS_SERVER := -lmicrohttpd -ljansson

folder_objects = $(patsubst src/%.c,$(B)/obj/%.o,$(wildcard src/$(1)/*.c))
ARCHIVES := $(foreach l,$(LAYERS),$(B)/$(l).a)
LIBRARY_LAYERS := core os pack store
LIBRARY_OBJECTS = $(foreach l,$(LIBRARY_LAYERS),$(call folder_objects,$(l)))

all: $(B)/tarn $(B)/libtarn.a $(B)/libtarn.so

# archives, lowest layer last on the link line
reverse = $(if $(1),$(call reverse,$(wordlist 2,$(words $(1)),$(1))) $(firstword $(1)))
ARCHIVES_LINK := $(strip $(call reverse,$(ARCHIVES)))

$(B)/tarn: $(ARCHIVES)
	$(CC) $(LDFLAGS) -o $@ $(ARCHIVES_LINK) $(LIBS_SERVER) $(LIBS)

$(B)/libtarn.a: $(LIBRARY_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/libtarn.so: $(LIBRARY_OBJECTS)
	$(CC) $(LDFLAGS) -shared -Wl,-soname,libtarn.so.0 -o $@ $^ $(LIBS)

define archive_rule
$(B)/$(1).a: $(call folder_objects,$(1))
	@rm -f $$@
	$(AR) rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call archive_rule,$(l))))

$(B)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# --- unit tests: test/unit/test_<folder>_<file>.c, linked with that folder and lower ones only ---
TESTS := $(patsubst test/unit/%.c,%,$(wildcard test/unit/test_*.c))
layers_upto = $(if $(filter $(1),$(firstword $(2))),$(1),$(firstword $(2)) $(call layers_upto,$(1),$(wordlist 2,99,$(2))))
test_folder = $(word 2,$(subst _, ,$(1)))
test_archives = $(call reverse,$(foreach l,$(call layers_upto,$(call test_folder,$(1)),$(LAYERS)),$(B)/$(l).a))
TESTLIB := $(patsubst test/lib/%.c,$(B)/testlib/%.o,$(wildcard test/lib/*.c))

$(B)/testlib/%.o: test/lib/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itest $(CFLAGS) -c -o $@ $<

define unit_rule
$(B)/unit/$(1): test/unit/$(1).c $(TESTLIB) $(call test_archives,$(1))
	@mkdir -p $$(@D)
	$(CC) $(CPPFLAGS) -Itest $(CFLAGS) $(LDFLAGS) -o $$@ $$< $(TESTLIB) \
	    $(call test_archives,$(1)) -lcmocka $(LIBS_SERVER) $(LIBS)
endef
$(foreach t,$(TESTS),$(eval $(call unit_rule,$(t))))

unit-build: $(addprefix $(B)/unit/,$(TESTS))

unit: unit-build
	@for t in $(TESTS); do $(B)/unit/$$t || exit 1; done

clean:
	rm -rf build build-address build-thread build-undefined build-debug

.PHONY: all unit unit-build clean
-include $(shell find $(B) -name '*.d' 2>/dev/null)
