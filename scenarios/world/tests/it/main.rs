//! Small clusters in the real engine, faults placed by hand.

#[cfg(test)]
mod ensemble;
