//! Every route, as its description has it.

mod access;
mod contract;
mod lifetime;
mod quotas;
mod stop;
mod tls;
mod walk;
