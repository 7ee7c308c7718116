//! Small pictures as PNG in data addresses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What the data address of a picture starts with.
pub(crate) const PICTURE: &str = "data:image/png;base64,";

/// Gray (1 value a pixel) or RGB (3 values) of 8 bits as a data address.
///
/// # Shapes
/// `pixels` is `[height, width, channels]`, none of them 0.
pub(crate) fn data_address(width: u32, height: u32, channels: usize, pixels: &[u8]) -> String {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(match channels {
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Grayscale,
    });
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .and_then(|mut writer| {
            writer.write_image_data(pixels)?;
            writer.finish()
        })
        .expect("memory takes every picture of the right size");
    format!("{PICTURE}{}", STANDARD.encode(file))
}

/// Width, height and values of a data address.
#[cfg(test)]
pub(crate) fn read_back(address: &str) -> (u32, u32, Vec<u8>) {
    let file = STANDARD
        .decode(address.strip_prefix(PICTURE).unwrap())
        .unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(file))
        .read_info()
        .unwrap();
    let mut values = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut values).unwrap();
    values.truncate(info.buffer_size());
    (info.width, info.height, values)
}
