//! floor 7 (skeleton)
