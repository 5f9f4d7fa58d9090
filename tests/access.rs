//! Who may use what: tokens, hosts, origins, paths, file modes, control characters.
