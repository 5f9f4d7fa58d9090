# make check: what CI runs. make demo: record and replay a stream on this machine. make static: one binary without libraries.
CARGO ?= cargo
HOST := $(shell rustc -vV | sed -n 's/^host: //p')

.PHONY: check test lint static demo clean

check: lint test

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings

test:
	$(CARGO) test

# The C library is linked in; --target keeps the flag away from build scripts and macros.
static:
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --release --target $(HOST)
	@ls -l target/$(HOST)/release/mockd

demo:
	$(CARGO) build --release
	scripts/demo target/release/mockd

clean:
	$(CARGO) clean
