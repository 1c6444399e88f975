//! Translation of decoded blocks to host code: not built yet. See README.md.
