//! The same on the admin port.
