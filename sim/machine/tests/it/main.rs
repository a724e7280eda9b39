//! What a machine may rely on.

#[cfg(test)]
mod disk_against_model;
#[cfg(test)]
mod disk_durability;
