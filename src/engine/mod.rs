//! floor 5 (skeleton)
