//! libFuzzer around the targets: one binary, the target named by MOCKD_FUZZ_TARGET. What a target checks stands in `targets/`.
#![no_main]

// The tests use more of it than this binary.
#[allow(dead_code, unused_imports)]
mod targets;

use std::sync::OnceLock;

/// The variable that names the target.
const TARGET: &str = "MOCKD_FUZZ_TARGET";

static CHECK: OnceLock<targets::Check> = OnceLock::new();

/// Finds the target, and gives the signal handler a stack of its own: scripts/fuzz makes the main stack as small as those of mockd's
/// threads, and a handler that has none left could not say which input it was.
fn prepare() {
    let name = std::env::var(TARGET).unwrap_or_default();
    let Some(target) = targets::TARGETS.iter().find(|target| target.name == name) else {
        let names: Vec<&str> = targets::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("{TARGET} must name a target: {}", names.join(" "));
        std::process::exit(2);
    };
    CHECK.get_or_init(|| target.check);
    let stack = Box::leak(vec![0u8; 256 * 1024].into_boxed_slice());
    let handler_stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
    // SAFETY: the memory is never freed, and a zeroed action is the default one. libFuzzer keeps the flag when it sets its handler.
    unsafe {
        libc::sigaltstack(&handler_stack, std::ptr::null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_flags = libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
    }
}

libfuzzer_sys::fuzz_target!(init: prepare(), |data: &[u8]| {
    if let Some(check) = CHECK.get() {
        check(data);
    }
});
