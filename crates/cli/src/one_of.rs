//! Arguments that are one of a few names.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::value::Error as ValueError;
use serde::de::{DeserializeOwned, IntoDeserializer};

/// Parses the name of a variant, which must be one of `names`.
pub(crate) fn one_of<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let named = |name: String| T::deserialize(name.into_deserializer());
    PossibleValuesParser::new(names).try_map(named as fn(String) -> Result<T, ValueError>)
}
