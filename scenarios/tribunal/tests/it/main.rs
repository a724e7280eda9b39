//! The catalogue, the command and the reports, as their users see them.

#[cfg(test)]
mod campaign;
#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod command;
#[cfg(test)]
mod defects;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod marks;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod repros;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod shrinking;
