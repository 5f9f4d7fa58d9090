//! WebSocket peers that break every rule of RFC 6455, stall, vanish or flood.
//!
//! The stage has a server with each of the ways in which it meets a WebSocket; each file below is a way to misbehave on it.

// A server, its upstream in the test's own hands, mocks and replay mocks.
mod stage;

// Frames that the standard forbids: what each side gets, and what the recording says.
mod violations;
// Handshakes that are none, either side's.
mod handshakes;
// Peers that read nothing, or next to nothing.
mod stalls;
// Sides of a relay that leave while the other takes nothing, for a while or for ever.
mod leaving;
// Floods of what is allowed: pings, empty fragments, messages that nobody waits for.
mod floods;
// Ends in the middle of something.
mod vanishing;
// Valid conversations, changed by chance.
mod mutations;
