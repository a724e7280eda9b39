//! The catalogue, the command and the reports, as their users see them.

#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod command;
#[cfg(test)]
mod defects;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod reports;
