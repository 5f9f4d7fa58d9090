//! Disks that are full, read-only, broken, slow or gone: traffic never notices, and everybody is told once.
