# make check: what CI runs. make torture: the tests that try many times, with many more rounds; it takes an hour or more.
# make bench: what mockd costs against the limits of the machine, in ten minutes once it is built (the static binaries too, where all rows run);
# ROWS=pacing,relay picks rows, QUICK=1 takes a minute. Its peers are Debian's: apt-get install nginx haproxy; rows are left out without them.
# make counts: instructions of the hot paths, by valgrind.
# make demo: record and replay a stream on this machine. make static: one binary without libraries.
CARGO ?= cargo
HOST := $(shell rustc -vV | sed -n 's/^host: //p')

.PHONY: check test lint torture bench counts static static-without-tls demo clean

check: lint test

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --no-default-features --all-targets -- -D warnings

test:
	$(CARGO) test

# One after another, so that each has the machine; what each tried is printed. At last the fuzz targets, two minutes each, as
# many at once as there are cores.
torture:
	MOCKD_TEST_EFFORT=torture $(CARGO) test --release --test main -- --test-threads=1 --nocapture \
		crash:: power_loss:: disk:: crowd:: peers_ws:: peers_http:: peers_admin:: shutdown:: access secrets:: corpus::
	scripts/fuzz --seconds 120

bench: $(if $(ROWS)$(QUICK),,static static-without-tls)
	$(CARGO) bench --bench load -- $(if $(QUICK),--quick) $(if $(JSON),--json $(JSON)) $(ROWS)

counts:
	$(CARGO) bench --bench load -- --counts $(if $(KEEP),--keep)

# The C library is linked in; --target keeps the flags away from build scripts and macros. Packed, the 6,000 places that are relocated at start
# take 2 KB instead of 147; a C library older than glibc 2.36 would not unpack them, so the binary is tried.
STATIC := -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs

static:
	RUSTFLAGS="$(STATIC)" $(CARGO) build --release --target $(HOST)
	@target/$(HOST)/release/mockd --version && ls -l target/$(HOST)/release/mockd

# The same without wss and https upstreams.
static-without-tls:
	RUSTFLAGS="$(STATIC)" $(CARGO) build --release --no-default-features --target $(HOST) --target-dir target/without-tls
	@target/without-tls/$(HOST)/release/mockd --version && ls -l target/without-tls/$(HOST)/release/mockd

demo:
	$(CARGO) build --release
	scripts/demo target/release/mockd

clean:
	$(CARGO) clean
