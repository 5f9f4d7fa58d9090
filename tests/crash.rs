//! kill -9 at any moment of any work, over and over: what was told is there, once, in order.
