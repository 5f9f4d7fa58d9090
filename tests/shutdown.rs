//! SIGTERM under load, the second signal, and what ten thousand clients leave behind: nothing.
