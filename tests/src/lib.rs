//! What the tests of ostler share: the harness for real processes, and the programs they run.
