//! WebSocket peers that break every rule of RFC 6455, stall, vanish or flood.
