//! Two servers and many commands on one directory: the index never disagrees with the files.
