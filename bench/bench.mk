# The benchmarks' programs; `make bench` builds them, bench/README.md says how to run them.
# They need the packages of script/dependencies' section [bench] (script/setup bench).

BENCHES := echo load embedded

$(B)/bench/echo $(B)/bench/load: $(B)/bench/%: bench/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

# As an embedder would: the static library and its header, nothing of src/.
$(B)/bench/embedded: bench/embedded.c $(wildcard bench/peers/*.c) $(B)/libtarn.a
	@mkdir -p $(@D)
	$(CC) -Iinclude -Ibench -D_GNU_SOURCE $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.a,$^) \
	    -llmdb -lcdb $(LIBS)

$(B)/bench/embedded: bench/peers/peer.h include/tarn.h

bench: $(B)/tarn $(addprefix $(B)/bench/,$(BENCHES))
