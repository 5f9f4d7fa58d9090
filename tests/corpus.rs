//! The corpus of the fuzz targets, each input through its target.
