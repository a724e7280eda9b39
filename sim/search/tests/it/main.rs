//! Campaigns and comparisons of worlds that know no protocol.

#[cfg(test)]
mod loss;
#[cfg(test)]
mod planted;
#[cfg(test)]
#[path = "../../../engine/tests/it/toy.rs"]
#[expect(dead_code, reason = "the engine's own test machines; these tests need a part of them")]
mod toy;
