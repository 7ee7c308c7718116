//! Walking a plan over an engine, clear or encrypted
