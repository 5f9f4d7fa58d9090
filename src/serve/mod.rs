//! floor 6 (skeleton)
