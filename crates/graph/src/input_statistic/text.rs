//! The statistic as text, for files that have no tensors.

use super::InputStatistic;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use half::f16;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// For `#[serde(with)]`: an optional statistic with its numbers in half precision, little-endian, in Base64.
///
/// What is read is not checked: see [`InputStatistic::validate`].
pub mod input_statistic_text {
    use super::*;

    /// Writes a statistic.
    pub fn serialize<S: Serializer>(
        statistic: &Option<InputStatistic>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let text = statistic.as_ref().map(|statistic| Text {
            images: statistic.images,
            limits: statistic.limits.clone(),
            mean: encode(&statistic.mean),
            deviation: encode(&statistic.deviation),
            whitening: encode(&statistic.whitening),
        });
        text.serialize(to)
    }

    /// Reads a statistic.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<InputStatistic>, D::Error> {
        let Some(text) = Option::<Text>::deserialize(from)? else {
            return Ok(None);
        };
        let decode = |text: &str| decode(text).map_err(de::Error::custom);
        Ok(Some(InputStatistic {
            images: text.images,
            limits: text.limits,
            mean: decode(&text.mean)?,
            deviation: decode(&text.deviation)?,
            whitening: decode(&text.whitening)?,
        }))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    images: usize,
    limits: Vec<f64>,
    mean: String,
    deviation: String,
    whitening: String,
}

fn encode(values: &[f32]) -> String {
    let halves = values
        .iter()
        .flat_map(|&value| f16::from_f32(value).to_le_bytes());
    STANDARD.encode(halves.collect::<Vec<u8>>())
}

fn decode(text: &str) -> Result<Vec<f32>, String> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| format!("expected numbers in Base64: {error}"))?;
    let (halves, rest) = bytes.as_chunks::<2>();
    match rest.is_empty() {
        true => Ok(halves
            .iter()
            .map(|&bytes| f16::from_le_bytes(bytes).to_f32())
            .collect()),
        false => Err(format!(
            "expected numbers of 2 bytes, found {} bytes",
            bytes.len()
        )),
    }
}
