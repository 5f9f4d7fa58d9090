# make check: what CI runs. make torture: the tests that try many times, with many more rounds; it takes an hour or more.
# make demo: record and replay a stream on this machine. make static: one binary without libraries.
CARGO ?= cargo
HOST := $(shell rustc -vV | sed -n 's/^host: //p')

.PHONY: check test lint torture static demo clean

check: lint test

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings

test:
	$(CARGO) test

# One after another, so that each has the machine; what each tried is printed. At last the fuzz targets, two minutes each.
torture:
	MOCKD_TEST_EFFORT=torture $(CARGO) test --release --test main -- --test-threads=1 --nocapture \
		crash:: power_loss:: disk:: crowd:: peers_ws:: peers_http:: peers_admin:: shutdown:: access:: secrets:: corpus::
	scripts/fuzz --seconds 120

# The C library is linked in; --target keeps the flag away from build scripts and macros.
static:
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --release --target $(HOST)
	@ls -l target/$(HOST)/release/mockd

demo:
	$(CARGO) build --release
	scripts/demo target/release/mockd

clean:
	$(CARGO) clean
