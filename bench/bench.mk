# The benchmarks' programs; `make bench` builds them, bench/README.md says how to run them.
# They need the packages of script/dependencies' section [bench] (script/setup bench).

$(B)/bench/echo: bench/echo.c
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

# tarn bench and the drivers of other stores, linked as tarn itself is.
PEERS := $(patsubst bench/%.c,$(B)/bench/obj/%.o,bench/embedded.c $(wildcard bench/peers/*.c))
PEER_LIBS := -llmdb -lrocksdb -lleveldb -ltkrzw -lcdb

$(B)/bench/obj/%.o: bench/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) -Ibench $(CFLAGS) -c -o $@ $<

$(B)/bench/embedded: $(PEERS) $(call archives,cli)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(PEERS) $(call archives,cli) \
	    $(PEER_LIBS) $(LIBS_SERVER) $(LIBS)

# The writable store in process and over RESP while it grows, is flushed and expires.
$(B)/bench/growth: $(B)/bench/obj/grow/growth.o $(B)/bench/obj/grow/growth_resp.o $(call archives,store)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# Caches over traces of requests.
TRACE := $(patsubst bench/%.c,$(B)/bench/obj/%.o,$(wildcard bench/trace/*.c))

$(B)/bench/cache: $(TRACE) $(call archives,bench)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# A file whose reads take a fixed time.
$(B)/bench/slow: bench/slow/slow.c
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CPPFLAGS) -D_FILE_OFFSET_BITS=64 $(CFLAGS) $(LDFLAGS) -o $@ $< -lfuse3

bench: $(B)/tarn $(B)/bench/echo $(B)/bench/embedded $(B)/bench/growth $(B)/bench/cache $(B)/bench/slow
